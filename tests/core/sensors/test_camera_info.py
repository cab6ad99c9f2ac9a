"""sensor_msgs/CameraInfo: rectified images against OpenCV with binning and region of interest, and malformed ones."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raised import user_error

from any2seg_core.base.error_codes import MESSAGE_REASONS
from any2seg_core.base.errors import MessageError
from any2seg_core.messages import array_to_image_fields
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.camera_info import camera_info_notes

W, H = 641, 479
K = np.array([[510.0, 0.0, 322.3], [0.0, 505.0, 236.7], [0.0, 0.0, 1.0]])
LENSES = {
    "plumb_bob": [-0.28, 0.09, 0.001, -0.002, -0.01],
    "rational_polynomial": [0.41, -0.12, 0.0007, -0.0004, 0.02, 0.75, -0.05, 0.01],
    "equidistant": [-0.03, 0.008, -0.004, 0.0007],
}


def message(**changes):
    fields = {
        "header": SimpleNamespace(frame_id="rgb_front"), "width": W, "height": H, "distortion_model": "plumb_bob",
        "d": LENSES["plumb_bob"], "k": K.ravel().tolist(), "r": np.eye(3).ravel().tolist(), "p": [0.0] * 12,
        "binning_x": 0, "binning_y": 0,
        "roi": SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False),
    }  # fmt: skip
    return SimpleNamespace(**{**fields, **changes})


CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 200, 1e-9)


def rectification(model):
    """(3, 3) P that OpenCV chooses for this lens, and its way from raw to rectified pixels."""
    D = np.array(LENSES[model])
    if model == "equidistant":
        P = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(K, D, (W, H), np.eye(3), balance=0.2)
        return P, lambda uv: cv2.fisheye.undistortPoints(uv[:, None], K, D, P=P, criteria=CRITERIA)[:, 0]
    P, _ = cv2.getOptimalNewCameraMatrix(K, D, (W, H), 0.2)
    return P, lambda uv: cv2.undistortPoints(uv[:, None], K, D, P=P, criteria=CRITERIA)[:, 0]


def points(n=300):
    rng = np.random.default_rng(4)
    z = rng.uniform(1.0, 50.0, n)
    return np.stack([rng.uniform(-0.35, 0.35, n) * z, rng.uniform(-0.25, 0.25, n) * z, z], 1)


@pytest.mark.parametrize("binning", [(1, 1), (2, 2), (2, 4)])
@pytest.mark.parametrize("roi", [(0, 0, 0, 0), (40, 24, 480, 400)])
@pytest.mark.parametrize("model", LENSES)
def test_value_rectified_and_raw_projection_meet_through_opencv(model, roi, binning):
    """Drawn with K and D and then rectified by OpenCV, a point lies where P draws it, to 0.01 px."""
    P, rectify = rectification(model)
    region = SimpleNamespace(x_offset=roi[0], y_offset=roi[1], width=roi[2], height=roi[3], do_rectify=True)
    info = message(d=LENSES[model], distortion_model=model, p=np.hstack([P, np.zeros((3, 1))]).ravel().tolist(),
                   roi=region, binning_x=binning[0], binning_y=binning[1])  # fmt: skip
    rectified, raw = CameraModel.from_camera_info(info, True), CameraModel.from_camera_info(info)
    assert not rectified.is_distorted and raw.is_distorted
    scale, shift = np.array(binning, float), np.array(roi[:2], float)
    drawn = [camera.project(points())[0] * scale + shift for camera in (rectified, raw)]  # pixels of the full image
    assert np.abs(drawn[0] - rectify(drawn[1])).max() < 0.01
    assert np.abs(drawn[0] - drawn[1]).max() > 1


def test_value_sizes_of_binned_regions():
    region = SimpleNamespace(x_offset=10, y_offset=20, width=301, height=201, do_rectify=False)
    camera = CameraModel.from_camera_info(message(roi=region, binning_x=2, binning_y=4))
    assert (camera.width, camera.height) == (150, 50)
    np.testing.assert_allclose(camera.K[:2], (K[:2] - [[0, 0, 10], [0, 0, 20]]) / [[2], [4]])


def test_value_notes_only_where_there_is_something_to_know():
    P = np.hstack([K, np.zeros((3, 1))])
    assert camera_info_notes(message(p=P.ravel().tolist()), True) == ()
    assert camera_info_notes(message(), False) == ()
    assert "P[0] is 0" in camera_info_notes(message(), True)[0]
    P[0, 3] = -61.0
    assert "baseline" in camera_info_notes(message(p=P.ravel().tolist()), True)[0]


NUMBER = st.floats() | st.integers(-5, 700) | st.none() | st.text(max_size=2)
ROI = st.builds(SimpleNamespace, x_offset=NUMBER, y_offset=NUMBER, width=NUMBER, height=NUMBER) | NUMBER


@settings(max_examples=200, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "width": NUMBER, "height": NUMBER, "distortion_model": st.sampled_from([*LENSES, "", "fisheye"]) | NUMBER,
            "d": st.lists(NUMBER, max_size=9) | NUMBER, "k": st.lists(NUMBER, min_size=8, max_size=10) | NUMBER,
            "p": st.lists(NUMBER, min_size=11, max_size=12) | NUMBER, "binning_x": NUMBER, "binning_y": NUMBER,
            "roi": ROI, "header": NUMBER,
        },
    ),
    st.booleans(),
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_property_any_camera_info_is_a_camera_or_a_message_error(changes, rectified):
    try:
        camera = CameraModel.from_camera_info(message(**changes), rectified)
    except MessageError as error:
        assert error.reason in MESSAGE_REASONS and "\n" not in str(error)
    else:
        assert camera.width > 0 and camera.height > 0 and np.isfinite(camera.K).all() and camera.K[0, 0] > 0


@pytest.mark.parametrize(
    ("model", "given", "read_as"),
    [
        ("rational_polynomial", 14, "rational_polynomial"),
        ("rational_polynomial", 12, "rational_polynomial"),
        ("plumb_bob", 8, "plumb_bob"),
        ("plumb_bob", 14, "plumb_bob"),
        ("plumb_bob", 6, "plumb_bob"),
        ("equidistant", 5, "equidistant"),
        ("equidistant", 8, "equidistant"),
        ("fisheye", 14, "equidistant"),
    ],
)
def test_value_zeros_behind_the_coefficients_of_a_lens_change_nothing(model, given, read_as):
    own = LENSES[read_as]
    padded = CameraModel.from_camera_info(message(distortion_model=model, d=own + [0.0] * (given - len(own))))
    plain = CameraModel.from_camera_info(message(distortion_model=read_as, d=own))
    assert padded.distortion_model == read_as and padded.D.tolist() == own
    np.testing.assert_array_equal(padded.project(points())[0], plain.project(points())[0])


@pytest.mark.parametrize(
    ("written", "model"),
    [
        ("PINHOLE", "plumb_bob"),  # MYNT EYE
        ("Plumb Bob", "plumb_bob"),
        ("radtan", "plumb_bob"),  # Kalibr
        ("Brown-Conrady", "plumb_bob"),
        ("None", "plumb_bob"),
        ("Fisheye", "equidistant"),
        ("KANNALA_BRANDT", "equidistant"),
        ("Kannala Brandt4", "equidistant"),
        ("Rational_Polynomial", "rational_polynomial"),
    ],
)
def test_value_other_names_of_a_lens_mean_the_same_lens(written, model):
    named = CameraModel.from_camera_info(message(distortion_model=written, d=LENSES[model]))
    plain = CameraModel.from_camera_info(message(distortion_model=model, d=LENSES[model]))
    assert named.distortion_model == model
    np.testing.assert_array_equal(named.project(points())[0], plain.project(points())[0])


@pytest.mark.parametrize("model", ["ds", "thin_prism_fisheye", "Inverse Brown Conrady", "mei"])
def test_exception_a_lens_of_another_kind_names_the_way_out(model):
    with user_error("message-value", model, "set rectified to true"):
        CameraModel.from_camera_info(message(distortion_model=model, d=[0.0] * 5))


@pytest.mark.parametrize(("model", "count"), [("plumb_bob", 8), ("plumb_bob", 14), ("rational_polynomial", 5),
                                              ("rational_polynomial", 4)])  # fmt: skip
def test_value_a_lens_is_what_opencv_makes_of_its_coefficients(model, count):
    """OpenCV goes by their number: a plumb_bob of 8 has k4 k5 k6, a rational_polynomial of 5 has none."""
    D = np.array((LENSES["rational_polynomial"] + [0.0] * 6)[:count])
    camera = CameraModel.from_camera_info(message(distortion_model=model, d=D.tolist()))
    expected, _ = cv2.projectPoints(points(), np.zeros(3), np.zeros(3), K, D)
    np.testing.assert_allclose(camera.project(points())[0], expected[:, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [
        ("rational_polynomial", LENSES["rational_polynomial"] + [0.001, 0.0, 0.0, 0.0]),
        ("rational_polynomial", LENSES["rational_polynomial"] + [0.0] * 5 + [0.01]),
        ("plumb_bob", LENSES["rational_polynomial"] + [0.0, 0.002, 0.0, 0.0]),
        ("equidistant", LENSES["equidistant"] + [0.01]),
    ],
)
def test_exception_a_thin_prism_or_a_tilt_is_named(model, coefficients):
    with user_error("message-value") as caught:
        CameraModel.from_camera_info(message(distortion_model=model, d=coefficients))
    assert "\n" not in str(caught.value)
    assert not CameraModel.from_camera_info(
        message(distortion_model=model, d=coefficients, p=np.hstack([K, np.zeros((3, 1))]).ravel().tolist()), True
    ).is_distorted


@pytest.mark.parametrize("D", [[float("inf")] * 14, [0.1] * 8 + [float("nan")] * 6])
def test_exception_coefficients_that_are_not_finite_are_no_zeros(D):
    with user_error("message-value", "NaN"):
        CameraModel.from_camera_info(message(distortion_model="rational_polynomial", d=D))


@pytest.mark.parametrize(("width", "height"), [(0, 0), (0, H), (W, 0)])
def test_value_without_a_size_that_of_the_images_holds(width, height):
    info = message(width=width, height=height, binning_x=2, binning_y=2)
    with user_error("message-size") as caught:
        CameraModel.from_camera_info(info)
    assert caught.value.reason == "size"
    camera = CameraModel.from_camera_info(info, size=(239, 320))
    assert (camera.width, camera.height) == (320, 239)
    np.testing.assert_allclose(camera.K[:2], K[:2] / 2)


def test_value_a_live_camera_info_without_a_size_is_taken_once_an_image_has_come():
    frames = FrameBuilder(None)
    info = message(width=0, height=0, d=[0.0] * 5)
    with user_error("message-size"):
        frames.set_camera_info("rgb", info)
    picture = SimpleNamespace(header=SimpleNamespace(frame_id="rgb_front", stamp=SimpleNamespace(sec=1, nanosec=0)),
                              **array_to_image_fields(np.full((H, W, 3), 90, np.uint8), "rgb8"))  # fmt: skip
    assert set(frames.build({"rgb": [picture]}, 10**9).planes) == {"rgb"}
    assert frames.set_camera_info("rgb", info).changed
    assert (frames.rig.calibration.camera.width, frames.rig.calibration.camera.height) == (W, H)
