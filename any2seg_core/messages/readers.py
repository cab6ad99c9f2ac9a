"""Which decoder reads a message is told by its fields, not by its class: rclpy, rosbags and fakes alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from any2seg_core.base.errors import MessageError
from any2seg_core.messages.clouds import cloud_to_points
from any2seg_core.messages.compressed import compressed_to_depth_m, compressed_to_rgb
from any2seg_core.messages.event_clouds import cloud_to_events
from any2seg_core.messages.event_images import rgb_to_events
from any2seg_core.messages.event_stream import Events
from any2seg_core.messages.images import image_to_depth_m, image_to_rgb
from any2seg_core.messages.pixel_bits import PixelBits
from any2seg_core.sensors.returns import IntensityScale


def needs_event_stream(msg: Any) -> bool:
    """Whether a message (EventPacket, EventArray) goes through an EventStream, once and in the order of arrival."""
    return not hasattr(msg, "point_step") and (hasattr(msg, "events") or hasattr(msg, "cdr"))


def has_event_times(msg: Any) -> bool:
    """Whether an event message says when each event was; a rendered picture does not."""
    return hasattr(msg, "point_step") or needs_event_stream(msg)


def read_events(msg: Any, picture_ns: int) -> Events:
    """PointCloud2, or a rendered Image or CompressedImage whose events all get the time `picture_ns`."""
    if hasattr(msg, "point_step"):
        return Events(getattr(msg, "header", None), cloud_to_events(msg))
    expected = "an event camera"
    rgb = image_to_rgb(msg) if _is_image(msg, expected) else compressed_to_rgb(msg)
    return Events(getattr(msg, "header", None), rgb_to_events(rgb, picture_ns), *rgb.shape[:2])


def _is_image(msg: Any, sensor: str) -> bool:
    """True for Image, False for CompressedImage."""
    if hasattr(msg, "encoding") and hasattr(msg, "step"):
        return True
    if hasattr(msg, "format"):
        return False
    if hasattr(msg, "encoding") or hasattr(msg, "height"):
        raise MessageError(f"image: no field 'step' in {type(msg).__name__}", "field")
    raise MessageError(f"{type(msg).__name__} is no message of {sensor}; expected an Image or CompressedImage", "field")


class StreamReader:
    """Reads the messages of camera, depth camera and LiDAR; what no message says is found once per stream.

    Args:
        intensity_max: see `IntensityScale`. image_bits: see `PixelBits`.
    """

    def __init__(self, intensity_max: float = 0.0, image_bits: int = 0) -> None:
        self._arguments = intensity_max, image_bits
        self.forget()

    def forget(self) -> None:
        """Find the scales again: the messages so far were of nobody's sensor."""
        intensity_max, image_bits = self._arguments
        self._intensity, self._bits = IntensityScale(intensity_max), PixelBits(image_bits)

    def read(self, name: str, msg: Any) -> np.ndarray:
        """Array of a modality: rgb (H, W, 3) uint8, depth (H, W) float32 metres, lidar (N, 4) float32.

        Raises:
            MessageError: a message that cannot be read, or is none of this sensor.
        """
        return {"rgb": self._rgb, "depth": _depth_m, "lidar": self._points}[name](msg)

    def why_black(self) -> str:
        """What else than darkness a black camera image may mean; see `PixelBits.why_black`."""
        return self._bits.why_black()

    def take_notes(self) -> list[str]:
        """What a user should know since the last call, one line each."""
        notes = {"rgb": self._bits.take_note(), "lidar": self._intensity.take_note()}
        return [f"{name}: {note}" for name, note in notes.items() if note]

    def _rgb(self, msg: Any) -> np.ndarray:
        return image_to_rgb(msg, self._bits) if _is_image(msg, "a camera") else compressed_to_rgb(msg, self._bits)

    def _points(self, msg: Any) -> np.ndarray:
        if not hasattr(msg, "point_step"):
            raise MessageError(f"{type(msg).__name__} is no message of a LiDAR; expected a PointCloud2", "field")
        return cloud_to_points(msg, scale=self._intensity)


def _depth_m(msg: Any) -> np.ndarray:
    return image_to_depth_m(msg) if _is_image(msg, "a depth camera") else compressed_to_depth_m(msg)
