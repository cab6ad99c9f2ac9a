from __future__ import annotations

import numpy as np
import pytest

from any2seg_core.bench import scene
from any2seg_core.bench.plain_numpy import PLAIN
from any2seg_core.messages import EventStream
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.sensors.events import DEFAULT_WINDOW_NS
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import Sensor


def random():
    return np.random.default_rng(0)


def reference_events(words):
    """(x, y) of EVT 3.0 words, read one after the other as the format describes them."""
    found, row, base = [], 0, 0
    for word in words:
        kind, value = word >> 12, word & 0xFFF
        if kind == 0x0:
            row = value & 0x7FF
        elif kind == 0x2:
            found.append((value & 0x7FF, row))
        elif kind == 0x3:
            base = value & 0x7FF
        elif kind in (0x4, 0x5):
            width = 12 if kind == 0x4 else 8
            found += [(base + bit, row) for bit in range(width) if value >> bit & 1]
            base += width
    return found


def test_value_packets_hold_the_events_that_the_format_says_and_the_decoder_reads_them():
    packets = scene.evt3_packets(3000, random(), width=320, height=200)
    words = np.concatenate([np.frombuffer(packet.events, "<u2") for packet in packets]).tolist()
    expected = reference_events(words)
    stream = EventStream()
    events = np.concatenate([stream.decode(packet).events for packet in packets])
    assert 3000 <= len(expected) < 3400
    assert list(zip(events["x"].tolist(), events["y"].tolist(), strict=True)) == expected
    assert events["x"].max() < 320 and events["y"].max() < 200
    assert stream.counts["unknown_words"] == stream.counts["off_sensor"] == 0


@pytest.mark.parametrize("size", [(64, 64), (97, 61)])
def test_value_all_four_messages_become_planes(size):
    view = scene.camera(*size)
    sent = scene.messages(view, 6400, 500, random())
    for message in sent.values():
        scene.stamp(message, scene.STAMP_NS)
    frame = FrameBuilder(scene.calibration(view)).build(
        {name: [message] for name, message in sent.items()}, scene.STAMP_NS
    )
    assert frame.errors == {} and set(frame.planes) == set(sent)
    for name, message in sent.items():
        plain = PLAIN[name](message, view)
        assert plain.shape == frame.planes[name].shape and plain.dtype == np.uint8


def test_value_plain_numpy_draws_the_camera_as_it_is():
    view = scene.camera(33, 21)
    message = scene.messages(view, 640, 10, random())["rgb"]
    pixels = np.frombuffer(message.data, np.uint8).reshape(21, 33, 4)
    np.testing.assert_array_equal(PLAIN["rgb"](message, view), pixels[..., [2, 1, 0]])


def test_value_events_lie_in_the_window_and_on_the_sensor():
    events = scene.events(1000, scene.camera(161, 97), random())
    assert events["t"].max() <= scene.STAMP_NS and events["t"].min() > scene.STAMP_NS - DEFAULT_WINDOW_NS
    assert np.all(np.diff(events["t"]) >= 0)
    assert events["x"].max() < 161 and events["y"].max() < 97 and set(events["p"].tolist()) == {-1, 1}


def test_value_a_cloud_turns_or_looks_forward():
    turn, forward = scene.cloud(6400, random()), scene.cloud(6400, random(), 0.7)
    assert turn.shape == forward.shape == (6400, 4) and turn.dtype == np.float32
    assert (turn[:, 0] < 0).mean() == pytest.approx(0.5, abs=0.02)
    assert np.all(forward[:, 0] > 0) and np.all(np.abs(np.arctan2(forward[:, 1], forward[:, 0])) < 0.71)


def test_shape_planes_of_any_suite():
    suite = SensorSuite("yard", (Sensor("front", "F", "image"), Sensor("radar", "R", "points")))
    for contract, names in (
        (InputContract(height=64, width=96), {"rgb", "depth", "event", "lidar"}),
        (InputContract(suite=suite, height=64, width=96), {"front", "radar"}),
    ):
        planes = scene.planes(contract, random())
        assert set(planes) == names
        assert all(plane.shape == (64, 96, 3) and plane.any() for plane in planes.values())
