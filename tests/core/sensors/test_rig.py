"""The one road from raw arrays to planes: same bytes as the encoders, and a clear word at the door."""

from __future__ import annotations

import numpy as np
import pytest
from raised import user_error

from any2seg_core.base.fixed_arrays import fixed
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.depth import _hha, encode_hha
from any2seg_core.sensors.event_cells import _count
from any2seg_core.sensors.events import EVENT_DTYPE, render_events
from any2seg_core.sensors.lidar import _draw, project_points
from any2seg_core.sensors.rig import SensorRig, is_plane
from any2seg_core.vocabulary.modalities import VEHICLE

CAMERA = CameraModel.from_fov(65, 41, 91.0)
EVENT_CAMERA = CameraModel.from_fov(76, 60, 91.0)
LIDAR_TO_CAMERA = np.array([[0.0, -1, 0, 0], [0, 0, -1, -0.3], [1, 0, 0, -0.8], [0, 0, 0, 1]])
STAMP = 5_000_000_000


def _rig(**changes) -> SensorRig:
    parts = {"camera": CAMERA, "event_camera": EVENT_CAMERA, "lidar_to_camera": LIDAR_TO_CAMERA}
    return SensorRig(Calibration(**{**parts, **changes}), 50_000_000)


def _raw():
    rng = np.random.default_rng(0)
    events = np.zeros(300, EVENT_DTYPE)
    events["x"], events["y"], events["p"] = rng.integers(0, 76, 300), rng.integers(0, 60, 300), rng.choice([-1, 1], 300)
    events["t"] = STAMP - rng.integers(0, 50_000_000, 300)
    return {
        "lidar": rng.uniform([1, -9, -2, 0], [30, 9, 3, 1], (500, 4)).astype(np.float32),
        "event": events,
        "rgb": rng.integers(0, 256, (41, 65, 3), dtype=np.uint8),
        "depth": rng.uniform(2, 50, (41, 65)).astype(np.float32),
    }


def test_value_planes_are_the_encoders_bytes_in_canonical_order():
    raw = _raw()
    planes = _rig().planes(raw, STAMP)
    assert tuple(planes) == VEHICLE.members
    assert planes["rgb"] is raw["rgb"]
    np.testing.assert_array_equal(planes["depth"], encode_hha(raw["depth"], CAMERA))
    np.testing.assert_array_equal(planes["lidar"], project_points(raw["lidar"], LIDAR_TO_CAMERA, CAMERA))
    expected = render_events(raw["event"], STAMP, 50_000_000, EVENT_CAMERA, CAMERA, np.eye(3))
    np.testing.assert_array_equal(planes["event"], expected)
    assert all(is_plane(plane) and plane.shape == (41, 65, 3) and plane.any() for plane in planes.values())


@pytest.mark.parametrize("name", VEHICLE.members)
def test_value_each_modality_alone_gives_the_same_bytes(name):
    raw = _raw()
    np.testing.assert_array_equal(_rig().planes({name: raw[name]}, STAMP)[name], _rig().planes(raw, STAMP)[name])


def test_value_planes_become_fixed_without_a_copy():
    for name, plane in _rig().planes({name: _raw()[name] for name in ("depth", "event", "lidar")}, STAMP).items():
        assert fixed(plane) is plane, name


def test_value_arrays_that_a_message_owns_need_no_new_compilation():
    rig, raw = _rig(), _raw()
    rig.planes(raw, STAMP)
    compiled = {kernel: len(kernel.signatures) for kernel in (_hha, _draw, _count)}
    for array in raw.values():
        array.setflags(write=False)
    rig.planes({**raw, "lidar": np.asfortranarray(raw["lidar"])}, STAMP)
    assert {kernel: len(kernel.signatures) for kernel in compiled} == compiled


def test_value_size_makes_planes_on_the_scaled_camera():
    raw, size = _raw(), (82, 130)
    rig = _rig()
    planes = rig.planes({name: raw[name] for name in ("depth", "event", "lidar")}, STAMP, size)
    assert all(plane.shape == (*size, 3) for plane in planes.values())
    np.testing.assert_array_equal(
        planes["lidar"], project_points(raw["lidar"], LIDAR_TO_CAMERA, CAMERA.scaled(130, 82))
    )
    assert rig.camera(size) is rig.camera(size)
    assert rig.planes({"rgb": raw["rgb"]}, STAMP, size)["rgb"] is raw["rgb"]


def test_value_sizes_without_end_are_forgotten_but_not_the_one_that_is_used():
    rig, used = _rig(), (82, 130)
    first = rig.camera(used)
    for width in range(1, 500):
        rig.camera((width, 2 * width))
        assert rig.camera(used) is first
    assert len(rig._scaled) <= 8


@pytest.mark.parametrize("name", VEHICLE.members)
def test_value_a_plane_passes_as_it_is(name):
    plane = np.random.default_rng(1).integers(0, 256, (41, 65, 3), dtype=np.uint8)
    assert _rig().planes({name: plane}, STAMP)[name] is plane


def test_value_depth_of_another_camera_is_brought_over():
    depth_camera = CameraModel.from_fov(40, 30, 100.0)
    rig = _rig(depth_camera=depth_camera, depth_to_camera=np.eye(4))
    wall = rig.planes({"depth": np.full((30, 40), 12.0, np.float32)}, STAMP)["depth"]
    np.testing.assert_array_equal(wall, encode_hha(np.full((41, 65), 12.0, np.float32), CAMERA))
    half = rig.planes({"depth": np.full((60, 80), 12.0, np.float32)}, STAMP)["depth"]
    np.testing.assert_array_equal(half, wall)
    moved = np.eye(4)
    moved[2, 3] = 0.5
    shifted = _rig(depth_camera=depth_camera, depth_to_camera=moved).planes(
        {"depth": np.full((30, 40), 11.5, np.float32)}, STAMP)["depth"]  # fmt: skip
    np.testing.assert_array_equal(shifted[5:-5, 5:-5, 0], wall[5:-5, 5:-5, 0])


@pytest.mark.parametrize(
    ("raw", "changes", "told"),
    [
        ({"sonar": np.zeros(3)}, {}, ("sensor-unknown", "'sonar'", "rgb, depth, event, lidar")),
        ({"lidar": np.zeros((3, 4), np.float32)}, {"lidar_to_camera": None}, ("extrinsics-missing", "lidar_to_camera")),
        ({"lidar": np.zeros((3, 3), np.float32)}, {}, ("array-shape", "lidar:", "(N, 4)")),
        ({"lidar": np.zeros((3, 4), np.int32)}, {}, ("array-shape", "lidar:")),
        ({"depth": np.zeros((41, 65), np.uint16)}, {}, ("array-shape",)),
        ({"depth": np.zeros((41, 99), np.float32)}, {}, ("calibration-size", "65x41", "depth_camera")),
        ({"depth": np.zeros((0, 0), np.float32)}, {}, ("array-shape", "depth:")),
        ({"rgb": np.zeros((41, 65, 3), np.float32)}, {}, ("array-shape", "rgb:", "(H, W, 3)")),
        ({"rgb": np.zeros((41, 65, 4), np.uint8)}, {}, ("array-shape", "rgb:", "(H, W, 3)")),
        ({"rgb": np.zeros((65, 41, 3), np.uint8)}, {}, ("calibration-size", "65x41")),
        ({"rgb": np.zeros((0, 0, 3), np.uint8)}, {}, ("calibration-size", "0x0")),
        ({"event": np.zeros((3, 4))}, {}, ("array-shape", "events:")),
        ({"depth": [[1.0]]}, {}, ("array-shape",)),
    ],
)
def test_exception_bad_samples_get_a_clear_word(raw, changes, told):
    with user_error(*told) as caught:
        _rig(**changes).planes(raw, STAMP)
    assert "\n" not in str(caught.value)


def test_exception_bad_window_and_size():
    with user_error("value-range", "event_window_ns"):
        SensorRig(Calibration(CAMERA), 0)
    with user_error("camera-size"):
        _rig().planes(_raw(), STAMP, (0, 5))
