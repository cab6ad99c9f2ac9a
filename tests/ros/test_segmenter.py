"""Where the node takes the pose of a sensor from, and what it says about it."""

from __future__ import annotations

from types import SimpleNamespace

import fake_car
import numpy as np
import pytest
from fake_car import CAMERA, EVENT_CAMERA, START_NS, TYPES

from any2seg_core.drive import bag_messages
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


def test_value_confidence_is_there_where_it_is_wanted_or_needed(make_segmenter):
    segmenter = make_segmenter()
    full = segmenter(sample_set())
    lean = segmenter(sample_set(), with_confidence=False)
    strict = segmenter(sample_set(), confidence_threshold=1.0, with_confidence=False)
    assert full.confidence.shape == full.labels.shape and lean.confidence is None
    np.testing.assert_array_equal(lean.labels, full.labels)
    assert (strict.labels == 255).all()
