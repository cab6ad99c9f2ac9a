"""Planes of messages that come again: always those of a builder that keeps none, whatever changes around them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from any2seg_core.messages import array_to_image_fields
from any2seg_core.runtime import plane_memory
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.runtime.input_options import InputOptions
from any2seg_core.runtime.plane_memory import PlaneMemory
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.health_config import HealthConfig

CAMERA = CameraModel.from_fov(52, 38, 80.0, "camera")
LIDAR_TO_CAMERA = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
OPTIONS = InputOptions(health=HealthConfig(enabled=False))
POINT = np.dtype([("x", "f4"), ("y", "f4"), ("z", "f4"), ("intensity", "f4")])


def header(stamp_ns: int):
    stamp = SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return SimpleNamespace(frame_id="", stamp=stamp)


def picture(seed: int, stamp_ns: int, size=(38, 52)):
    array = np.random.default_rng(seed).integers(1, 256, (*size, 3), np.uint8)
    return SimpleNamespace(header=header(stamp_ns), **array_to_image_fields(array, "rgb8"))


def depth(seed: int, stamp_ns: int):
    array = np.random.default_rng(seed).uniform(1, 40, (38, 52)).astype(np.float32)
    return SimpleNamespace(header=header(stamp_ns), **array_to_image_fields(array, "32FC1"))


def cloud(seed: int, stamp_ns: int):
    rows = np.random.default_rng(seed).uniform([3, -4, -2, 0], [20, 4, 2, 1], (300, 4)).astype(np.float32)
    fields = [SimpleNamespace(name=name, offset=4 * i, datatype=7, count=1) for i, name in enumerate(POINT.names)]
    return SimpleNamespace(
        header=header(stamp_ns), height=1, width=300, fields=fields, is_bigendian=False, point_step=16, row_step=4800,
        data=bytearray(rows.tobytes()),
    )  # fmt: skip


def events(seed: int, stamp_ns: int):
    rng, count = np.random.default_rng(seed), 200
    records = np.zeros(count, [("x", "u2"), ("y", "u2"), ("t", "f8"), ("pol", "i1")])
    records["x"], records["y"] = rng.integers(0, 52, count), rng.integers(0, 38, count)
    records["t"], records["pol"] = np.sort(rng.uniform(-50e6, 70e6, count)) + stamp_ns, rng.choice([-1, 1], count)
    codes = {"u2": 4, "f8": 8, "i1": 1}
    fields = [SimpleNamespace(name=name, offset=records.dtype.fields[name][1], count=1,
                              datatype=codes[records.dtype[name].str[1:]]) for name in records.dtype.names]  # fmt: skip
    step = records.dtype.itemsize
    return SimpleNamespace(
        header=header(stamp_ns), height=1, width=count, fields=fields, is_bigendian=False, point_step=step,
        row_step=step * count, data=records.tobytes(),
    )  # fmt: skip


def builder(camera=CAMERA) -> FrameBuilder:
    return FrameBuilder(Calibration(camera, lidar_to_camera=LIDAR_TO_CAMERA), 50_000_000, OPTIONS)


def assert_as_fresh(frame, messages, stamp_ns, fresh: FrameBuilder):
    expected = fresh.build({name: [message] for name, message in messages.items()}, stamp_ns)
    assert list(frame.planes) == list(expected.planes) and frame.errors == expected.errors
    for name, plane in frame.planes.items():
        np.testing.assert_array_equal(plane, expected.planes[name], err_msg=name)


def run(sets, frames: FrameBuilder | None = None):
    """Frames of sets (messages, stamp), each compared with that of a builder that has seen nothing before."""
    frames, made = frames or builder(), []
    for messages, stamp_ns in sets:
        made.append(frames.build({name: [message] for name, message in messages.items()}, stamp_ns))
        assert_as_fresh(made[-1], messages, stamp_ns, builder())
    return made


STEP = 33_000_000


def stream(count: int = 12, slow: int = 3):
    """Camera in every set, the others in every third; a window of events moves with the set."""
    for i in range(count):
        stamp_ns, past = 10**9 + i * STEP, i // slow
        slow_ns = 10**9 + past * slow * STEP
        yield {"rgb": picture(i, stamp_ns), "depth": depth(past, slow_ns), "event": events(past, slow_ns),
               "lidar": cloud(past, slow_ns)}, stamp_ns  # fmt: skip


def test_value_slow_sensors_keep_their_plane_and_a_moved_window_does_not():
    made = run(stream())
    for before, after, number in zip(made, made[1:], range(1, 99), strict=False):
        is_again = number % 3 != 0
        for name in ("depth", "lidar"):
            assert (after.planes[name] is before.planes[name]) == is_again, (name, number)
        assert after.planes["event"] is not before.planes["event"]
        assert after.planes["rgb"] is not before.planes["rgb"]


def test_value_a_message_that_comes_again_is_projected_once(monkeypatch):
    frames, projected = builder(), []
    project = frames._geometry.project
    monkeypatch.setattr(frames._geometry, "project", lambda name, *rest: projected.append(name) or project(name, *rest))
    run(stream(), frames)
    # Of the first message nobody knew that it would come again; of the three others everybody.
    assert projected.count("lidar") == projected.count("depth") == 2 + 3
    assert projected.count("rgb") == projected.count("event") == 12


def test_value_a_slow_camera_keeps_a_picture_of_its_own():
    sets = [({"rgb": picture(i // 3, i // 3), "lidar": cloud(i, i)}, i) for i in range(1, 12)]
    made = run(sets)
    assert made[-2].planes["rgb"] is made[-3].planes["rgb"] and made[-1].planes["lidar"] is not made[-2].planes["lidar"]


@pytest.mark.parametrize("make", [picture, depth, cloud], ids=["rgb", "depth", "lidar"])
def test_value_the_same_stamp_with_other_content_is_another_message(make):
    name = {picture: "rgb", depth: "depth", cloud: "lidar"}[make]
    made = run([({name: make(seed, 5)}, 5 + i) for i, seed in enumerate((0, 0, 0, 1, 1, 2, 0))])
    assert [a.planes[name] is b.planes[name] for a, b in zip(made, made[1:], strict=False)][3:] == [True, False, False]


def test_value_a_message_that_is_written_to_is_another_message():
    frames, message = builder(), cloud(1, 5)
    for i in range(6):
        data = np.frombuffer(message.data, np.float32).reshape(-1, 4)
        data[: 50 * i, 0] += 1.0
        frame = frames.build({"lidar": [message]}, 5 + i)
        assert_as_fresh(frame, {"lidar": message}, 5 + i, builder())


def test_value_stamps_that_go_back_and_a_loop():
    seeds = (0, 1, 2, 1, 1, 0, 0, 0, 1, 2, 2)
    made = run([({"rgb": picture(s, s), "depth": depth(s, s), "lidar": cloud(s, s)}, s + 1) for s in seeds])
    same = [after.planes["lidar"] is before.planes["lidar"] for before, after in zip(made, made[1:], strict=False)]
    assert same == [one == other for one, other in zip(seeds, seeds[1:], strict=False)]


def test_value_a_calibration_that_changes_live():
    frames, message = builder(), cloud(1, 5)
    moved = LIDAR_TO_CAMERA.copy()
    planes = []
    for i in range(9):
        if i % 3 == 0:
            moved = moved.copy()
            moved[0, 3] += 0.5
            assert frames.set_extrinsics("lidar", moved)
        planes.append(frames.build({"lidar": [message]}, i).planes["lidar"])
        fresh = FrameBuilder(Calibration(CAMERA, lidar_to_camera=moved), 50_000_000, OPTIONS)
        np.testing.assert_array_equal(planes[-1], fresh.build({"lidar": [message]}, i).planes["lidar"])
    same = [one is other for one, other in zip(planes, planes[1:], strict=False)]
    assert same == [True, True, False, True, True, False, True, True]
    other = CameraModel.from_fov(52, 38, 60.0, "camera")
    assert frames.set_camera("rgb", other)
    fresh = FrameBuilder(Calibration(other, lidar_to_camera=moved), 50_000_000, OPTIONS)
    expected = fresh.build({"lidar": [message]}, 9).planes["lidar"]
    np.testing.assert_array_equal(frames.build({"lidar": [message]}, 9).planes["lidar"], expected)


def test_value_a_size_that_changes():
    """The grid of all planes is that of the newest picture, also of those of a message that comes again."""
    frames, message = builder(), cloud(1, 5)
    for i, scale in enumerate((1, 1, 2, 2, 2, 1, 1)):
        messages = {"rgb": picture(i, i, (38 * scale, 52 * scale)), "lidar": message}
        frame = frames.build({name: [each] for name, each in messages.items()}, i)
        assert frame.planes["lidar"].shape == (38 * scale, 52 * scale, 3)
        assert_as_fresh(frame, messages, i, builder())


def test_value_a_reset_forgets_and_messages_without_a_stamp_are_looked_at():
    frames = builder()
    run(stream(4), frames)
    assert frames._planes._kept
    frames.reset()
    assert not frames._planes._kept
    message = cloud(1, 5)
    del message.header
    made = run([({"lidar": message}, stamp_ns) for stamp_ns in (1, 2, 3)])
    assert made[2].planes["lidar"] is made[0].planes["lidar"]  # projected again, and the same


def test_value_sensors_that_do_not_come_again_cost_no_copy(monkeypatch):
    compared = []
    monkeypatch.setattr(plane_memory, "same_bytes", lambda a, b: compared.append(a.shape) or np.array_equal(a, b))
    frames = builder()
    run([({"rgb": picture(i, i), "lidar": cloud(i, i)}, i) for i in range(1, 5)], frames)
    assert [kept.array for kept in frames._planes._kept.values()] == [None, None]
    assert frames._planes._kept["rgb"].plane is None


def test_exception_a_plane_that_cannot_be_made_leaves_the_memory_alone():
    memory, reading = PlaneMemory(), SimpleNamespace(array=np.zeros(3), message_ns=1)

    def fail():
        raise ValueError("no geometry")

    for _ in range(3):
        with pytest.raises(ValueError, match="no geometry"):
            memory.plane("lidar", reading, "source", fail)
    assert np.array_equal(memory.plane("lidar", reading, "source", lambda: np.ones((2, 2, 3))), np.ones((2, 2, 3)))
