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


@pytest.fixture(params=[True, False], ids=["event by event", "by cells"], scope="module", autouse=True)
def road(request):
    """Few events are drawn one by one, many through cells: every test goes both ways."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("any2seg_core.sensors.events.are_few", lambda *_: request.param)
        yield


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


@pytest.mark.parametrize("order", ["as sensors send", "backwards", "two sensors one after the other", "newest first"])
@pytest.mark.parametrize("size", [_OWN_SIZE, (31, 45), (201, 160)])
def test_value_the_order_of_time_changes_nothing(size, order):
    events, rng = np.sort(_events(6000, 3), order="t"), np.random.default_rng(1)
    if order == "backwards":
        events = events[::-1]
    elif order == "two sensors one after the other":
        first = rng.random(events.size) < 0.5
        events = np.concatenate([events[first], events[~first]])
    elif order == "newest first":
        events = np.concatenate([events[-1:], events[:-1]])
    camera, rotation = CameraModel.from_fov(*size, 91.0), Rotation.from_euler("xyz", (1, -2, 3), degrees=True)
    got = render_events(events, END, WINDOW, EVENT_CAMERA, camera, rotation.as_matrix())
    if camera.K[0, 0] <= EVENT_CAMERA.K[0, 0]:
        np.testing.assert_array_equal(got, _oracle(events, camera, rotation.as_matrix()))
    shuffled = render_events(rng.permutation(events), END, WINDOW, EVENT_CAMERA, camera, rotation.as_matrix())
    np.testing.assert_array_equal(got, shuffled)


@pytest.mark.parametrize("window_ns", [1, 2, 7, 254, 255, 256, 1_000_003, 2**40 + 1, 2**54])
def test_value_recency_of_every_age_at_its_edges(window_ns):
    edges = {-(-k * window_ns // 255) + shift for k in range(256) for shift in (-1, 0)}
    ages = sorted(age for age in edges if 0 <= age < window_ns)
    events = np.zeros(len(ages), EVENT_DTYPE)
    events["x"], events["y"] = np.arange(len(ages)) % 76, np.arange(len(ages)) // 76
    events["t"] = [END - age for age in ages]
    plane = render_events(events, END, window_ns, EVENT_CAMERA, EVENT_CAMERA, np.eye(3))
    assert plane.reshape(-1, 3)[: len(ages), 2].tolist() == [255 - age * 255 // window_ns for age in ages]


def test_value_both_polarities_of_one_pixel_saturate_apart():
    for positive, negative in product(range(0, 20, 3), range(0, 20, 4)):
        events = np.zeros(positive + negative, EVENT_DTYPE)
        events["t"], events["p"][:positive] = END, 1
        events["x"], events["y"] = 75, 59
        plane = render_events(events, END, WINDOW, EVENT_CAMERA, EVENT_CAMERA, np.eye(3))
        expected = [min(40 * positive, 255), min(40 * negative, 255), 255 if positive + negative else 0]
        assert plane[59, 75].tolist() == expected and not plane.reshape(-1, 3)[:-1].any()


def test_value_cells_that_share_a_pixel_of_a_coarse_plane_are_joined():
    camera = CameraModel.from_fov(1, 1, 91.0)
    events = np.zeros(5, EVENT_DTYPE)
    events["x"], events["y"], events["p"] = [37, 38, 37, 38, 37], [29, 30, 30, 29, 29], [1, 1, -1, 0, 1]
    events["t"] = END - np.array([40, 30, 20, 10, 0]) * 1_000_000
    plane = render_events(events, END, WINDOW, EVENT_CAMERA, camera, np.eye(3))
    assert plane.tolist() == [[[120, 80, 255]]]


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
