"""Whatever bytes lie in MUSES' files: an array within its contract, or one line that names the file."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raised import user_error

from any2seg_core.data.images import CorruptFileError
from any2seg_core.data.muses_files import read_calibration, read_events, read_points, read_projection

FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["rgb", "event", "K"]), inner),
    max_leaves=12,
)


def npz(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, array)
    return buffer.getvalue()


@FEW
@given(st.binary(max_size=300) | st.integers(0, 4).map(lambda rows: np.full(rows * 6, np.nan).tobytes()))
def test_property_points(content: bytes):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a_lidar.bin"
        path.write_bytes(content)
        try:
            points = read_points(path)
        except CorruptFileError as error:
            assert "a_lidar.bin" in str(error)
            assert "\n" not in str(error)
            return
        assert points.dtype == np.float32
        assert points.shape[1] == 4
        assert len(points) <= len(content) // 48


@FEW
@given(st.data())
def test_property_damaged_archives_and_images(data: st.DataObject):
    sound = bytearray(npz(np.ones((3, 4, 3), np.float32)))
    for _ in range(data.draw(st.integers(0, 3))):
        sound[data.draw(st.integers(0, len(sound) - 1))] ^= data.draw(st.integers(1, 255))
    content = bytes(sound[: data.draw(st.integers(0, len(sound)))])
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a_lidar.npz", "a_lidar.npy", "a_lidar.png", "a_event_camera.h5"):
            path = Path(folder) / name
            path.write_bytes(content)
            try:
                if name.endswith(".h5"):
                    read_events(path, 1000)
                else:
                    plane = read_projection(path, "lidar")
                    assert plane.dtype == np.uint8
                    assert plane.shape[2] == 3
            except CorruptFileError as error:
                assert name in str(error)


@FEW
@given(JSON, JSON)
def test_property_calibration_is_read_or_names_its_file(intrinsics, extrinsics):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calib.json"
        path.write_text(json.dumps({"intrinsics": intrinsics, "extrinsics": extrinsics}))
        with user_error("key-missing", "calib.json"):
            read_calibration(Path(folder))


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 2), (4, 5, 3, 1), (0,)])
def test_exception_projections_of_another_shape(tmp_path: Path, shape: tuple[int, ...]):
    path = tmp_path / "a_lidar.npz"
    path.write_bytes(npz(np.ones(shape, np.float32)))
    with user_error("file-content", "a_lidar.npz", kind=CorruptFileError):
        read_projection(path, "lidar")


def test_exception_projections_of_another_type(tmp_path: Path):
    for kind in (np.uint8, np.int64, np.complex64, np.bool_):
        path = tmp_path / "a_lidar.npz"
        path.write_bytes(npz(np.ones((4, 5, 3), kind)))
        with user_error("file-content", "a_lidar.npz", "16-bit", "PNG", kind=CorruptFileError):
            read_projection(path, "lidar")
    path.write_bytes(npz(np.full((4, 5, 3), "x")))
    with user_error("file-content", "a_lidar.npz", kind=CorruptFileError):
        read_projection(path, "event")
