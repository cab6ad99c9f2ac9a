"""Which decoder reads a message is told by its fields, not by its class: rclpy, rosbags and fakes alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from any2seg_core.base.errors import MessageError
from any2seg_core.messages.clouds import cloud_to_points
from any2seg_core.messages.compressed import (
    compressed_to_counts,
    compressed_to_depth_m,
    compressed_to_grey,
    compressed_to_rgb,
)
from any2seg_core.messages.event_clouds import cloud_to_events
from any2seg_core.messages.event_images import rgb_to_events
from any2seg_core.messages.event_stream import Events
from any2seg_core.messages.images import image_to_counts, image_to_depth_m, image_to_grey, image_to_rgb
from any2seg_core.messages.pixel_bits import PixelBits
from any2seg_core.sensors.returns import IntensityScale
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import COLOUR, DEPTH, GREY, IMAGE, PLANE, POINTS, THERMAL16, Sensor


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
    """Reads the messages of images, depth cameras and point clouds; what no message says is found once per sensor.

    Args:
        intensity_max: see `IntensityScale`. image_bits: see `PixelBits`.
        suite: the sensors that there can be.
    """

    def __init__(self, intensity_max: float = 0.0, image_bits: int = 0, suite: SensorSuite = VEHICLE) -> None:
        self._arguments = intensity_max, image_bits
        self._suite = suite
        self.forget()

    def forget(self) -> None:
        """Find the scales again: the messages so far were of nobody's sensor."""
        intensity_max, image_bits = self._arguments
        self._intensity = {name: IntensityScale(intensity_max) for name in self._suite.of_kind(POINTS)}
        self._bits = {name: PixelBits(image_bits) for name in self._suite.of_kind(IMAGE)}

    def read(self, name: str, msg: Any) -> np.ndarray:
        """Array of a sensor: image as `image_codes` takes it, depth (H, W) float32 metres, points (N, 4) float32.

        Raises:
            MessageError: a message that cannot be read, or is none of this sensor.
        """
        sensor = self._suite.sensor(name)
        if sensor.kind == IMAGE:
            return self._image(sensor, msg)
        return _depth_m(msg) if sensor.kind == DEPTH else self._points(sensor, msg)

    def why_black(self, name: str) -> str:
        """What else than darkness a black camera image may mean; see `PixelBits.why_black`."""
        return self._bits[name].why_black()

    def take_notes(self) -> list[str]:
        """What a user should know since the last call, one line each."""
        notes = {name: bits.take_note() for name, bits in self._bits.items()}
        notes |= {name: scale.take_note() for name, scale in self._intensity.items()}
        return [f"{name}: {notes[name]}" for name in self._suite.members if notes.get(name)]

    def _image(self, sensor: Sensor, msg: Any) -> np.ndarray:
        is_image, bits = _is_image(msg, "a camera"), self._bits[sensor.name]
        if sensor.format in (COLOUR, PLANE):
            return image_to_rgb(msg, bits) if is_image else compressed_to_rgb(msg, bits)
        if sensor.format == GREY:
            return image_to_grey(msg, bits) if is_image else compressed_to_grey(msg, bits)
        bytes_per_count = 2 if sensor.format == THERMAL16 else 1
        return image_to_counts(msg, bytes_per_count) if is_image else compressed_to_counts(msg, bytes_per_count)

    def _points(self, sensor: Sensor, msg: Any) -> np.ndarray:
        if not hasattr(msg, "point_step"):
            raise MessageError(f"{type(msg).__name__} is no message of a LiDAR; expected a PointCloud2", "field")
        return cloud_to_points(msg, scale=self._intensity[sensor.name], value_range=sensor.value_range)


def _depth_m(msg: Any) -> np.ndarray:
    return image_to_depth_m(msg) if _is_image(msg, "a depth camera") else compressed_to_depth_m(msg)
