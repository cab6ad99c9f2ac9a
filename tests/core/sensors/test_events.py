"""Event planes against counting by hand and the homography written out."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raised import user_error
from scipy.spatial.transform import Rotation

from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.events import EVENT_DTYPE, render_events

EVENT_CAMERA = CameraModel.from_fov(76, 60, 91.0)
END, WINDOW = 10**18, 50_000_000


def _events(n=4000, seed=0, camera=EVENT_CAMERA):
    rng = np.random.default_rng(seed)
    events = np.zeros(n, EVENT_DTYPE)
    events["x"], events["y"] = rng.integers(0, camera.width, n), rng.integers(0, camera.height, n)
    events["t"] = END - rng.integers(-WINDOW // 2, 2 * WINDOW, n)
    events["p"] = rng.choice([-1, 1], n)
    return events


def _oracle(events, camera, rotation):
    plane = np.zeros((camera.height, camera.width, 3), np.int64)
    homography = camera.K @ rotation @ np.linalg.inv(EVENT_CAMERA.K)
    for event in events:
        age = END - int(event["t"])
        q = homography @ [event["x"], event["y"], 1.0]
        u, v = int(np.floor(q[0] / q[2] + 0.5)), int(np.floor(q[1] / q[2] + 0.5))
        if 0 <= age < WINDOW and 0 <= u < camera.width and 0 <= v < camera.height:
            plane[v, u, 0 if event["p"] > 0 else 1] += 40
            plane[v, u, 2] = max(plane[v, u, 2], 255 - age * 255 // WINDOW)
    return np.minimum(plane, 255).astype(np.uint8)


_OWN_SIZE = (EVENT_CAMERA.width, EVENT_CAMERA.height)
_VIEWS = [(_OWN_SIZE, (0, 0, 0)), *product([_OWN_SIZE, (64, 51), (31, 45)], [(0.3, 0.8, -0.2), (-4, 7, 12)])]


@pytest.mark.parametrize(("size", "degrees"), _VIEWS)
def test_value_counts_and_recency_equal_the_oracle(degrees, size):
    camera = CameraModel.from_fov(*size, 91.0)
    rotation = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    got = render_events(_events(), END, WINDOW, EVENT_CAMERA, camera, rotation)
    np.testing.assert_array_equal(got, _oracle(_events(), camera, rotation))
    assert got.dtype == np.uint8 and got[..., :2].max() >= 120


def test_value_counts_saturate():
    events = np.zeros(9, EVENT_DTYPE)
    events["t"], events["p"] = END, [1] * 7 + [-1] * 2
    plane = render_events(events, END, WINDOW, EVENT_CAMERA, EVENT_CAMERA, np.eye(3))
    assert plane[0, 0].tolist() == [255, 80, 255] and plane.any(axis=2).sum() == 1


def test_value_a_finer_plane_has_no_holes():
    camera = CameraModel.from_fov(228, 180, 91.0)
    x, y = np.meshgrid(np.arange(76), np.arange(60))
    events = np.zeros(x.size, EVENT_DTYPE)
    events["x"], events["y"], events["t"], events["p"] = x.ravel(), y.ravel(), END, 1
    plane = render_events(events, END, WINDOW, EVENT_CAMERA, camera, np.eye(3))
    assert (plane == [40, 0, 255]).all()
    events["p"] = np.where((x + y).ravel() % 2, 1, 0)
    plane = render_events(events, END, WINDOW, EVENT_CAMERA, camera, np.eye(3))
    np.testing.assert_array_equal(plane[1::3, 1::3, 0] > 0, (x + y) % 2 > 0)


def test_value_window_is_open_at_the_start_and_closed_at_the_end():
    events = np.zeros(4, EVENT_DTYPE)
    events["x"], events["p"] = [0, 1, 2, 3], 1
    events["t"] = [END - WINDOW, END - WINDOW + 1, END, END + 1]
    plane = render_events(events, END, WINDOW, EVENT_CAMERA, EVENT_CAMERA, np.eye(3))
    assert plane[0, :4, 2].tolist() == [0, 1, 255, 0] and plane[0, :4, 0].tolist() == [0, 40, 40, 0]


def test_value_empty_and_outside_the_sensor():
    assert not render_events(np.zeros(0, EVENT_DTYPE), END, WINDOW, EVENT_CAMERA, EVENT_CAMERA, np.eye(3)).any()
    events = np.zeros(2, EVENT_DTYPE)
    events["x"], events["y"], events["t"] = [76, 3], [3, 60], END
    assert not render_events(events, END, WINDOW, EVENT_CAMERA, EVENT_CAMERA, np.eye(3)).any()


def test_value_fields_are_found_by_name():
    events = _events(500)
    shuffled = np.zeros(500, [("t", "<u8"), ("id", "<i4"), ("p", "?"), ("y", ">i4"), ("x", "<i8")])
    for name in ("x", "y", "t"):
        shuffled[name] = events[name]
    shuffled["p"] = events["p"] > 0
    got = render_events(shuffled, END, WINDOW, EVENT_CAMERA, EVENT_CAMERA, np.eye(3))
    np.testing.assert_array_equal(got, render_events(events, END, WINDOW, EVENT_CAMERA, EVENT_CAMERA, np.eye(3)))
    assert got.any()


def test_exception_wrong_arguments():
    good = _events(3)
    for bad in (np.zeros((3, 4)), np.zeros(3, [("x", "u2")]), good.reshape(1, 3), [1, 2]):
        with user_error("array-shape", "events:"):
            render_events(bad, END, WINDOW, EVENT_CAMERA, EVENT_CAMERA, np.eye(3))
    with user_error("value-range", "window_ns"):
        render_events(good, END, 0, EVENT_CAMERA, EVENT_CAMERA, np.eye(3))
    with user_error("value-range"):
        render_events(good, END, WINDOW, EVENT_CAMERA, EVENT_CAMERA, np.eye(4))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=13 * 40), st.integers(-(2**61), 2**61), st.integers(1, 10**10))
def test_property_random_bytes_are_drawn_without_error(data, end_ns, window_ns):
    events = np.frombuffer(data[: len(data) // 13 * 13], EVENT_DTYPE)
    plane = render_events(events, end_ns, window_ns, EVENT_CAMERA, EVENT_CAMERA, np.eye(3))
    assert plane.shape == (60, 76, 3)
    np.testing.assert_array_equal(plane[..., 2] > 0, plane[..., :2].any(axis=2))
