"""Where the node takes the pose of a sensor from, and what it says about it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import cv2
import fake_car
import numpy as np
import pytest
from fake_car import CAMERA, EVENT_CAMERA, START_NS, TYPES

from any2seg_core.drive import bag_messages
from any2seg_core.messages import array_to_image_fields
from any2seg_core.sensors.calibration import Calibration, save_calibration
from any2seg_core.sync import Sample, SampleSet

pytest.importorskip("rclpy")

STORE = bag_messages.typestore()
SENSORS = ("rgb", "depth", "event")


def sample_set(**frames: str) -> SampleSet:
    """One set of camera, depth and event camera; `frames`: another frame_id than that of the camera."""
    from any2seg_ros.inputs import Received

    samples = {}
    for name in SENSORS:
        message = STORE.deserialize_cdr(fake_car.message(name, START_NS), TYPES[name])
        message.header.frame_id = frames.get(name, CAMERA.frame_id)
        samples[name] = Sample(START_NS, START_NS, Received(message, START_NS, START_NS))
    return SampleSet(START_NS, "rgb", samples, {}, dict.fromkeys(samples, 0))


@pytest.fixture()
def make_segmenter(checkpoint, tmp_path):
    """Function that makes a Segmenter with cameras from a file and the given mounts."""
    from any2seg_ros.model_pool import ModelPool
    from any2seg_ros.parameter_table import TABLE
    from any2seg_ros.parameters import check
    from any2seg_ros.segmenter import Segmenter

    def make(**mounts):
        save_calibration(tmp_path / "c.yaml", Calibration(CAMERA, CAMERA, EVENT_CAMERA, **mounts))
        defaults = {name: entry.default for name, entry in TABLE.items()} | {"check_frames": False}
        return Segmenter(
            check({**defaults, "checkpoint": str(checkpoint), "calibration_file": str(tmp_path / "c.yaml")}),
            ModelPool(),
        )

    return make


def test_value_pose_that_nobody_gives_is_assumed_and_named_once(make_segmenter):
    segmenter = make_segmenter()
    result = segmenter(sample_set(event="dvs"))
    assert result.used == SENSORS
    assert segmenter.mounts == {"depth": "camera_frame", "event": "assumed"}
    assert len(result.notes) == 1
    assert result.notes[0].startswith("event: ") and "'dvs'" in result.notes[0] and "/tf_static" in result.notes[0]
    assert segmenter(sample_set(event="dvs")).notes == ()


def test_value_pose_from_a_file_wins_over_tf_and_tf_over_nothing(make_segmenter):
    segmenter = make_segmenter(depth_to_camera=np.eye(4))
    segmenter(sample_set(depth="stereo", event="dvs"))
    assert segmenter.mounts == {"depth": "calibration_file", "event": "assumed"}
    move = SimpleNamespace(
        translation=SimpleNamespace(x=0.1, y=0.0, z=0.0), rotation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0)
    )
    header = SimpleNamespace(frame_id=CAMERA.frame_id, stamp=SimpleNamespace(sec=0, nanosec=0))
    edges = [SimpleNamespace(header=header, child_frame_id=child, transform=move) for child in ("stereo", "dvs")]
    segmenter.transforms.add_message(SimpleNamespace(transforms=edges), is_static=True)
    assert segmenter(sample_set(depth="stereo", event="dvs")).notes == ()
    assert segmenter.mounts == {"depth": "calibration_file", "event": "tf"}


@pytest.mark.parametrize("compressed", [False, True])
def test_value_a_picture_of_events_keeps_its_place_in_the_window_whenever_it_arrives(make_segmenter, compressed):
    """Stamps by arrival: it comes 5 ms after the camera, and its events are those of the window all the same."""
    segmenter = make_segmenter()
    picture = np.zeros((EVENT_CAMERA.height, EVENT_CAMERA.width, 3), np.uint8)
    picture[10:20, 10:20, 0] = 255
    message = SimpleNamespace(**array_to_image_fields(picture, "rgb8"))
    if compressed:
        data = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
        message = SimpleNamespace(format="png", data=data)
    stamp = SimpleNamespace(sec=START_NS // 10**9, nanosec=START_NS % 10**9)
    message.header = SimpleNamespace(frame_id=CAMERA.frame_id, stamp=stamp)
    shift_ns = 3_600_005_000_000
    found = sample_set()
    sent = replace(found.samples["event"].payload, message=segmenter.receive("event", message, shift_ns))
    samples = {**found.samples, "event": Sample(START_NS + 5_000_000, START_NS, sent)}
    assert segmenter(replace(found, samples=samples)).planes["event"].any()


def test_value_times_of_events_move_with_the_stamp_of_their_arrival(make_segmenter):
    segmenter = make_segmenter()
    message = sample_set().samples["event"].payload.message
    plain, moved = (segmenter.receive("event", message, shift_ns) for shift_ns in (1, 5_000_000))
    np.testing.assert_array_equal(moved.events["t"], plain.events["t"] + 4_999_999)


def test_value_confidence_is_there_where_it_is_wanted_or_needed(make_segmenter):
    segmenter = make_segmenter()
    full = segmenter(sample_set())
    lean = segmenter(sample_set(), with_confidence=False)
    strict = segmenter(sample_set(), confidence_threshold=1.0, with_confidence=False)
    assert full.confidence.shape == full.labels.shape and lean.confidence is None
    np.testing.assert_array_equal(lean.labels, full.labels)
    assert (strict.labels == 255).all()
