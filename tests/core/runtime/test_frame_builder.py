from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from event_packets import STAMP_NS, evt3_words, packet, to_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from raised import user_error

from any2seg_core.base.error_codes import MESSAGE_REASONS
from any2seg_core.messages import array_to_image_fields
from any2seg_core.messages.images import _NAMED
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.runtime.input_options import InputOptions
from any2seg_core.sensors.calibration import CAMERA_FIELDS, Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.health import HEALTH_REASONS
from any2seg_core.sensors.health_config import HealthConfig
from any2seg_core.vocabulary.modalities import SensorSuite

CAMERA = CameraModel.from_fov(52, 38, 80.0, "camera")
LIDAR_TO_CAMERA = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)


def image(array, encoding):
    return SimpleNamespace(**array_to_image_fields(array, encoding))


def cloud(dtype, rows):
    records = np.array(rows, dtype)
    codes = {np.dtype("f4"): 7, np.dtype("f8"): 8, np.dtype("u2"): 4, np.dtype("i1"): 1}
    fields = [
        SimpleNamespace(name=name, offset=records.dtype.fields[name][1], datatype=codes[records.dtype[name]], count=1)
        for name in records.dtype.names
    ]
    step = records.dtype.itemsize
    return SimpleNamespace(
        height=1, width=len(records), fields=fields, is_bigendian=False, point_step=step, row_step=step * len(records),
        data=records.tobytes(),
    )  # fmt: skip


def points(rows):
    return cloud([("x", "f4"), ("y", "f4"), ("z", "f4"), ("intensity", "f4")], rows)


def events(rows):
    return cloud([("x", "u2"), ("y", "u2"), ("t", "f8"), ("pol", "i1")], rows)


@pytest.fixture()
def frames():
    calibration = Calibration(CAMERA, lidar_to_camera=LIDAR_TO_CAMERA)
    return FrameBuilder(calibration, 50_000_000, InputOptions(health=HealthConfig(min_points=0)))


def test_value_rgb_plane_is_the_image_in_rgb_order(frames):
    bgra = np.random.default_rng(0).integers(0, 256, (38, 52, 4), np.uint8)
    frame = frames.build({"rgb": [image(bgra, "bgra8")]}, 1)
    np.testing.assert_array_equal(frame.planes["rgb"], cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGB))
    assert frame.errors == {}


def test_value_bad_message_costs_only_its_modality(frames):
    bad = image(np.zeros((38, 52, 3), np.uint8), "rgb8")
    bad.step = 5
    frame = frames.build({"rgb": [bad], "lidar": [points([(9, 0, 0, 1)])]}, 1)
    assert list(frame.planes) == ["lidar"]
    assert "step 5" in frame.errors["rgb"]


def test_value_lidar_point_straight_ahead_lands_in_the_middle(frames):
    plane = frames.build({"lidar": [points([(9, 0, 0, 1)])]}, 1).planes["lidar"]
    rows, columns = np.nonzero(plane.any(axis=2))
    assert plane.shape == (38, 52, 3)
    assert abs(rows.mean() - 19) <= 1
    assert abs(columns.mean() - 26) <= 1


def test_value_all_event_packets_of_the_window_count_in_order(frames):
    stamp_ns = 1_000_000_000
    first = events([(3, 4, stamp_ns - 40_000_000, 1), (3, 4, stamp_ns - 30_000_000, 1)])
    second = events([(3, 4, stamp_ns - 10_000_000, 1), (7, 9, stamp_ns - 5_000_000, 0)])
    plane = frames.build({"event": [first, second]}, stamp_ns).planes["event"]
    assert plane[4, 3, 0] == 3 * 40
    assert plane[9, 7, 1] == 40
    assert np.count_nonzero(plane.any(axis=2)) == 2


@pytest.mark.parametrize("offset_ns", [-100_000_000, 30_000_000])
def test_value_event_times_move_with_their_offset(frames, offset_ns):
    """A clock that is wrong by a constant draws what the right one draws, and leaves the message as it is."""
    stamp_ns = 1_000_000_000
    times = [stamp_ns - 49_000_000, stamp_ns - 20_000_000, stamp_ns]
    right = frames.build({"event": [events([(3 + k, 4, t, 1) for k, t in enumerate(times)])]}, stamp_ns)
    wrong = events([(3 + k, 4, t + offset_ns, 1) for k, t in enumerate(times)])
    before = wrong.data
    moved = frames.build({"event": [wrong]}, stamp_ns, {"event": offset_ns, "rgb": 7})
    np.testing.assert_array_equal(moved.planes["event"], right.planes["event"])
    np.testing.assert_array_equal(moved.samples["event"], right.samples["event"])
    assert np.count_nonzero(right.planes["event"][..., 0]) == 3 and wrong.data == before
    received = frames.receive("event", packet(to_bytes(evt3_words([(8192, 10, 7, 1)])), width=52, height=38))
    kept = received.events.copy()
    frame = frames.build({"event": [received]}, STAMP_NS - offset_ns, {"event": offset_ns})
    assert frame.planes["event"][7, 10, 0] == 40
    np.testing.assert_array_equal(received.events, kept)


def test_value_each_event_camera_has_a_clock_of_its_own():
    suite = SensorSuite.of_document({
        "name": "dvs",
        "sensors": {"front": {"kind": "image", "letter": "F"}, "left": {"kind": "events", "letter": "S"},
                    "right": {"kind": "events", "letter": "T"}},
    })  # fmt: skip
    stamp_ns, offsets_ns = 10**9, {"left": 60_000_000, "right": -80_000_000}
    times_ns = [stamp_ns - 40_000_000, stamp_ns]
    builders = [FrameBuilder(Calibration(CAMERA), 50_000_000, suite=suite) for _ in range(2)]
    rows = [(3 + k, 4, t, 1) for k, t in enumerate(times_ns)]
    right = builders[0].build({name: [events(rows)] for name in offsets_ns}, stamp_ns).planes
    wrong = {name: [events([(x, y, t + ahead, p) for x, y, t, p in rows])] for name, ahead in offsets_ns.items()}
    moved = builders[1].build(wrong, stamp_ns, offsets_ns).planes
    for name in offsets_ns:
        assert np.count_nonzero(right[name][..., 0]) == 2
        np.testing.assert_array_equal(moved[name], right[name])


def test_value_a_picture_of_events_has_no_times_that_an_offset_could_move(frames):
    picture = np.zeros((38, 52, 3), np.uint8)
    picture[9, 5, 0] = 255
    message = image(picture, "rgb8")
    drawn = [frames.build({"event": [message]}, 10**9, {"event": shift}).planes["event"] for shift in (0, -(10**8))]
    assert drawn[0][9, 5, 0] == 40
    np.testing.assert_array_equal(*drawn)


def test_value_a_window_without_an_event_among_many_is_named_once(frames):
    stamp_ns = 1_000_000_000
    early = events([(3, 4, stamp_ns - 80_000_000 - k, 1) for k in range(150)])
    frame = frames.build({"event": [early]}, stamp_ns)
    assert frame.planes == frame.samples == {} and frame.reasons == {"event": "empty"}
    assert frame.errors["event"] == "event: no event in the window of 50 ms; its messages hold 150 others"
    assert len(frame.notes) == 1
    assert "150 events" in frame.notes[0] and "30.0 ms before" in frame.notes[0]
    assert frames.build({"event": [early]}, stamp_ns).notes == []
    still = FrameBuilder(Calibration(CAMERA), 50_000_000)
    assert still.build({"event": [events([(3, 4, stamp_ns + 5_000_000, 1)])]}, stamp_ns).notes == []  # a quiet scene


def test_value_of_several_images_the_newest_counts(frames):
    old, new = (image(np.full((38, 52, 3), value, np.uint8), "rgb8") for value in (10, 20))
    assert (frames.build({"rgb": [old, new]}, 1).planes["rgb"] == 20).all()


def test_exception_without_geometry_only_the_camera_can_be_used():
    frames = FrameBuilder(None, options=InputOptions(health=HealthConfig(enabled=False)))
    rgb = image(np.full((8, 9, 3), 77, np.uint8), "rgb8")
    frame = frames.build({"rgb": [rgb], "lidar": [points([(9, 0, 0, 1)])]}, 1)
    assert frame.planes["rgb"].shape == (8, 9, 3)
    assert "camera_info" in frame.errors["lidar"]


def test_value_camera_info_replaces_intrinsics_once():
    frames = FrameBuilder(None)
    assert not frames.set_camera("event", CAMERA)
    assert frames.rig is None
    assert frames.set_camera("rgb", CAMERA)
    assert not frames.set_camera("rgb", CameraModel.from_fov(52, 38, 80.0, "camera"))
    assert frames.rig.calibration.event_camera is CAMERA  # it has waited for the camera plane
    other = CameraModel.from_fov(26, 19, 60.0, "events")
    assert frames.set_camera("event", other)
    assert frames.rig.calibration.event_camera is other
    assert frames.rig.calibration.camera is CAMERA
    assert tuple(CAMERA_FIELDS) == ("rgb", "depth", "event")


def test_value_camera_info_bug_of_carla_keeps_the_calibration(frames):
    """CARLA 0.9.16 publishes K with a focal length of 289 307 px: refused, and the file's intrinsics stay in use."""
    K = [289307.0, 0, 26, 0, 289307.0, 19, 0, 0, 1]
    info = camera_info(k=K, p=[289307.0, 0, 26, 0, 0, 289307.0, 19, 0, 0, 0, 1, 0])
    with user_error("message-value", "52 px") as caught:
        frames.set_camera_info("rgb", info)
    assert caught.value.reason == "value"
    assert frames.rig.calibration.camera is CAMERA


def camera_info(**changes):
    K = CAMERA.K
    fields = {
        "header": SimpleNamespace(frame_id="front"), "width": 52, "height": 38, "distortion_model": "plumb_bob",
        "d": [0.0] * 5, "k": K.ravel().tolist(), "r": np.eye(3).ravel().tolist(),
        "p": np.hstack([K, np.zeros((3, 1))]).ravel().tolist(), "binning_x": 0, "binning_y": 0,
        "roi": SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False),
    }  # fmt: skip
    return SimpleNamespace(**{**fields, **changes})


def info_of(camera, **changes):
    return camera_info(width=camera.width, height=camera.height, k=camera.K.ravel().tolist(), **changes)


@pytest.mark.parametrize(
    ("info", "is_used"),
    [
        (info_of(CameraModel.from_fov(52, 38, 60.0)), True),
        (info_of(CAMERA.scaled(13, 9)), True),
        (info_of(CAMERA.scaled(520, 380)), True),
        (info_of(CAMERA.scaled(520, 380), binning_x=10, binning_y=10), True),
        (info_of(CAMERA, roi=SimpleNamespace(x_offset=20, y_offset=10, width=8, height=8)), True),
        (info_of(CameraModel.from_fov(52, 38, 40.0)), False),  # 2.3 times the focal length
        (info_of(CameraModel.from_fov(52, 38, 130.0)), False),  # 0.39 times
        (info_of(CameraModel.from_fov(26, 19, 20.0)), False),
    ],
    ids=["near", "quarter", "tenfold", "binned", "cut out", "long", "short", "half and long"],
)
def test_value_camera_info_that_contradicts_the_calibration_is_refused(frames, info, is_used):
    if is_used:
        assert frames.set_camera_info("rgb", info).changed
        return
    with user_error("message-geometry", "31 px", "52x38") as caught:
        frames.set_camera_info("rgb", info)
    assert caught.value.reason == "geometry"
    assert frames.rig.calibration.camera is CAMERA


def test_value_camera_info_without_a_calibration_is_believed_and_may_change():
    frames = FrameBuilder(None)
    for fov_deg in (80.0, 20.0, 130.0):
        assert frames.set_camera_info("rgb", info_of(CameraModel.from_fov(52, 38, fov_deg))).changed


def test_value_rectified_images_need_p_and_say_once_when_there_is_none():
    frames = FrameBuilder(None, options=InputOptions(rectified=True))
    update = frames.set_camera_info("rgb", camera_info(p=[0.0] * 12))
    assert update.changed and "P[0] is 0" in update.notes[0]
    assert frames.set_camera_info("rgb", camera_info(p=[0.0] * 12)) == (False, ())
    stereo = np.hstack([CAMERA.K, [[-7.0], [0], [0]]]).ravel().tolist()
    assert "baseline" in frames.set_camera_info("rgb", camera_info(p=stereo)).notes[0]
    assert FrameBuilder(None).set_camera_info("rgb", camera_info(p=[0.0] * 12)).notes == ()


def test_value_messages_of_another_frame_are_left_out_unless_told_otherwise():
    image_of_rear = image(np.full((38, 52, 3), 90, np.uint8), "rgb8")
    image_of_rear.header = SimpleNamespace(frame_id="rear", stamp=SimpleNamespace(sec=1, nanosec=0))
    for check, wrong in ((True, "frame"), (False, None)):
        frames = FrameBuilder(None, options=InputOptions(check_frames=check))
        frames.set_camera_info("rgb", camera_info())
        frame = frames.build({"rgb": [image_of_rear]}, 1)
        assert frame.reasons.get("rgb") == wrong
    image_of_rear.header.frame_id = "/front"
    assert list(FrameBuilder(Calibration(CAMERA)).build({"rgb": [image_of_rear]}, 1).planes) == ["rgb"]


def test_value_intrinsics_without_a_frame_have_that_of_the_newest_image():
    frames = FrameBuilder(Calibration(CAMERA))  # its frame is the default: nothing names it
    assert frames.camera_frame == CAMERA.frame_id
    picture = image(np.full((38, 52, 3), 90, np.uint8), "rgb8")
    picture.header = SimpleNamespace(frame_id="front_optical", stamp=SimpleNamespace(sec=1, nanosec=0))
    assert list(frames.build({"rgb": [picture]}, 1).planes) == ["rgb"]
    assert frames.camera_frame == "front_optical"
    frames.set_camera_info("rgb", camera_info())
    assert frames.camera_frame == "front"


def test_value_every_kind_of_message_of_a_stream_is_told_by_its_fields(frames):
    rgb = np.zeros((38, 52, 3), np.uint8)
    rgb[10:20, 10:30] = (200, 100, 50)
    png = SimpleNamespace(format="png", data=cv2.imencode(".png", rgb[..., ::-1])[1].tobytes())
    np.testing.assert_array_equal(frames.build({"rgb": [png]}, 1).planes["rgb"], rgb)
    millimetres = np.full((38, 52), 5000, np.uint16)
    file = SimpleNamespace(format="16UC1; compressedDepth png",
                           data=b"\0" * 12 + cv2.imencode(".png", millimetres)[1].tobytes())  # fmt: skip
    planes = [frames.build({"depth": [m]}, 1).planes["depth"] for m in (file, image(millimetres, "16UC1"))]
    np.testing.assert_array_equal(*planes)
    frame = frames.build({"rgb": [events([])], "depth": [SimpleNamespace()], "lidar": [png], "event": [points([])]}, 1)
    assert not frame.planes
    assert frame.reasons == {"rgb": "field", "depth": "field", "lidar": "field", "event": "layout"}


def test_value_event_packets_and_pictures_draw_the_same_pixels(frames):
    stamp_ns = STAMP_NS + 10_000_000
    rows = [(8192 + k, 10 + 3 * k, 7 + k, 1 - 2 * (k % 2)) for k in range(9)]
    message = packet(to_bytes(evt3_words(rows)), width=52, height=38)
    received = frames.receive("event", message)
    assert received is not message and len(received.events) == 9
    plane = frames.build({"event": [received]}, stamp_ns).planes["event"]
    picture = np.zeros((38, 52, 3), np.uint8)
    for _, x, y, p in rows:
        picture[y, x, 0 if p > 0 else 2] = 255
    drawn = frames.build({"event": [image(picture, "rgb8")]}, stamp_ns).planes["event"]
    np.testing.assert_array_equal(plane[..., :2], drawn[..., :2])
    assert np.count_nonzero(drawn[..., 2]) == 9
    assert frames.event_counts["events"] == 9


def test_value_a_packet_in_two_windows_is_decoded_once(frames):
    message = packet(to_bytes(evt3_words([(8192, 10, 7, 1)])), seq=5)
    message.width, message.height = 52, 38
    planes = [frames.build({"event": [message]}, STAMP_NS + k * 10**7).planes["event"] for k in (1, 2)]
    assert all(plane[7, 10, 0] == 40 for plane in planes)
    assert frames.event_counts["packets"] == 1 and frames.event_counts["lost_packets"] == 0
    frames.reset()
    assert frames.event_counts["resets"] == 1


def test_value_event_sensor_of_another_size_is_scaled_and_of_another_shape_refused(frames):
    rows = [(8192, 20, 14, 1)]
    double = packet(to_bytes(evt3_words(rows)), width=104, height=76)
    plane = frames.build({"event": [double]}, STAMP_NS + 10**6).planes["event"]
    assert plane.shape == (38, 52, 3) and plane[7, 10, 0] == 40
    other = packet(to_bytes(evt3_words(rows)), seq=1, width=104, height=104)
    frame = frames.build({"event": [other]}, STAMP_NS + 10**6)
    assert frame.reasons == {"event": "geometry"} and "104x104" in frame.errors["event"]


def test_value_sizes_change_at_run_time(frames):
    for height, width in ((38, 52), (19, 26), (76, 104)):
        rgb = np.full((height, width, 3), 90, np.uint8)
        frame = frames.build(
            {"rgb": [image(rgb, "rgb8")], "depth": [image(np.full((height, width), 7.0, np.float32), "32FC1")]}, 1
        )
        assert frame.errors == {} and frame.planes["depth"].shape == frame.planes["rgb"].shape == (height, width, 3)


def test_value_all_planes_of_a_set_lie_on_the_grid_of_the_last_image(frames):
    """Half of the size of camera_info and odd (25 of 52 / 2 = 26 is within a pixel), then without the image."""
    rgb, depth = np.full((18, 25, 3), 90, np.uint8), np.full((38, 52), 7.0, np.float32)
    others = {"depth": [image(depth, "32FC1")], "lidar": [points([(9, 0, 0, 1)])]}
    sizes = []
    for payloads in (others, {"rgb": [image(rgb, "rgb8")], **others}, others):
        frame = frames.build(payloads, 1)
        assert frame.errors == {} and set(frame.planes) == set(payloads)
        sizes.append({plane.shape[:2] for plane in frame.planes.values()})
    frames.reset()
    sizes.append({plane.shape[:2] for plane in frames.build(others, 1).planes.values()})
    assert sizes == [{(38, 52)}, {(18, 25)}, {(18, 25)}, {(38, 52)}]
    frames.build({"rgb": [image(rgb, "rgb8")]}, 1)
    frames.set_camera("rgb", CameraModel.from_fov(60, 20, 80.0))  # another view: the size of the old image says nothing
    assert frames.build({"lidar": others["lidar"]}, 1).planes["lidar"].shape == (20, 60, 3)


def test_value_size_of_an_image_holds_when_it_is_black_and_when_its_set_is_not_built(frames):
    black = {"rgb": [image(np.zeros((19, 26, 3), np.uint8), "rgb8")]}
    cloud_alone = {"lidar": [points([(9, 0, 0, 1)])]}
    assert frames.build({**black, **cloud_alone}, 1).planes["lidar"].shape == (19, 26, 3)
    frames.reset()
    frames.notice(black, 1)
    assert frames.build(cloud_alone, 2).planes["lidar"].shape == (19, 26, 3)


def test_value_ill_sensors_are_left_out_and_named(frames):
    payloads = {
        "rgb": [image(np.zeros((38, 52, 3), np.uint8), "rgb8")],
        "depth": [image(np.zeros((38, 52), np.float32), "32FC1")],
        "lidar": [points([(9, 0, 0, 1)])],
    }
    assert list(frames.build(payloads, 1).planes) == ["lidar"]
    frames.set_health(HealthConfig())
    frame = frames.build(payloads, 1)
    assert frame.planes == {}
    assert frame.reasons == {"rgb": "black", "depth": "no_depth", "lidar": "sparse"}
    frames.set_health(HealthConfig(enabled=False))
    frame = frames.build(payloads, 1)
    assert list(frame.planes) == ["lidar"]
    assert frame.reasons == {"rgb": "empty", "depth": "empty"}  # not ill, and nothing to be fused all the same


def test_value_an_event_camera_is_missing_for_the_set_whose_window_is_empty_alone(frames):
    """A still scene between two moving ones, 100 ms apart; the window is 50 ms long."""
    windows = [[(3, 4, 0.99, 1)], [], [(9, 8, 1.19, -1)]]
    seen = []
    for index, window in enumerate(windows):
        stamp_ns = 1_000_000_000 + index * 100_000_000
        packet = events([(x, y, round(t * 1e9), p) for x, y, t, p in window])
        frame = frames.build({"event": [packet], "lidar": [points([(9, 0, 0, 1)])]}, stamp_ns)
        seen.append((list(frame.planes), frame.reasons))
    lively, still = (["event", "lidar"], {}), (["lidar"], {"event": "empty"})
    assert seen == [lively, still, lively]


def test_value_a_cloud_out_of_sight_is_missing_with_the_counts(frames):
    cloud = points([(-9, 0, 0, 1)] * 3 + [(1, 9, 0, 1)] * 2)  # the LiDAR looks along x: three behind, two beside
    frame = frames.build({"lidar": [cloud]}, 1)
    assert frame.planes == {} and frame.reasons == {"lidar": "empty"}
    assert frame.errors["lidar"] == (
        "lidar: none of its 5 points falls into the picture: 3 behind the camera, 2 outside; check lidar_to_camera"
    )


ENCODING = st.sampled_from([*_NAMED, "8UC2", "32FC1", "64FC1", "16SC3", "8UC4", "evt3", "mono"]) | st.text(max_size=5)
POINT_FIELD = st.builds(SimpleNamespace, name=st.sampled_from(["x", "y", "z", "t", "p", "intensity", "ring"]),
                        offset=st.integers(0, 20), datatype=st.integers(0, 9), count=st.integers(0, 2))  # fmt: skip
HEADER = st.builds(
    SimpleNamespace,
    stamp=st.builds(SimpleNamespace, sec=st.integers(-2, 9), nanosec=st.integers(-2, 2 * 10**9)),
    frame_id=st.sampled_from(["", "front", "camera"]) | st.none(),
)
JUNK = st.integers(-5, 60) | st.none() | st.floats() | st.text(max_size=3) | st.integers()
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "header": HEADER | JUNK, "height": st.integers(0, 6) | JUNK, "width": st.integers(0, 8) | JUNK,
        "encoding": ENCODING | JUNK, "step": st.integers(0, 64) | JUNK, "is_bigendian": st.booleans() | JUNK,
        "data": st.binary(max_size=200) | JUNK, "point_step": st.integers(0, 26) | JUNK, "row_step": JUNK,
        "fields": st.lists(POINT_FIELD, max_size=6) | JUNK,
        "format": st.sampled_from(["png", "16UC1; compressedDepth"]) | JUNK,
        "events": st.binary(max_size=60) | st.lists(JUNK, max_size=3), "seq": st.integers(0, 4) | JUNK,
        "time_base": st.integers(0, 2**63) | JUNK,
    },
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from(["rgb", "depth", "event", "lidar"]), MESSAGE, min_size=1))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_property_no_message_ever_breaks_a_set(messages):
    frames = FrameBuilder(Calibration(CAMERA, lidar_to_camera=LIDAR_TO_CAMERA))
    frame = frames.build({name: [SimpleNamespace(**fields)] for name, fields in messages.items()}, 10**9)
    assert set(frame.planes) | set(frame.errors) == set(messages)
    assert set(frame.errors) == set(frame.reasons)
    assert all(reason in {**MESSAGE_REASONS, **HEALTH_REASONS} for reason in frame.reasons.values())
    assert all("\n" not in text and text for text in frame.errors.values())
    assert all(plane.dtype == np.uint8 and plane.shape[2] == 3 for plane in frame.planes.values())


WELL_FORMED = st.builds(
    lambda *drawn: drawn,
    st.sampled_from(list(_NAMED)), st.integers(1, 6), st.integers(1, 8), st.binary(min_size=1, max_size=9),
    st.booleans(),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(WELL_FORMED)
def test_property_every_encoding_at_every_small_size(drawn):
    name, height, width, data, big = drawn
    layout = _NAMED[name]
    step = width * layout.channels * np.dtype(layout.kind).itemsize
    rows = height * layout.rows_num // layout.rows_den
    message = SimpleNamespace(height=height, width=width, encoding=name, is_bigendian=big, step=step,
                              data=(data * (step * rows))[: step * rows])  # fmt: skip
    frame = FrameBuilder(None, options=InputOptions(health=HealthConfig(enabled=False))).build({"rgb": [message]}, 1)
    odd = ("w" in layout.even and width % 2) or ("h" in layout.even and height % 2)
    if odd:
        assert frame.reasons == {"rgb": "size"}
    elif frame.reasons != {"rgb": "empty"}:
        assert frame.planes["rgb"].shape == (height, width, 3) and not frame.reasons


WARM_UP_PROGRAM = """
import sys
from array import array
import numpy as np
from numba.core.dispatcher import Dispatcher
from any2seg_core.messages import serialise
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.events import EVENT_DTYPE

def signatures():
    return {(module.__name__, name): list(kernel.signatures) for module in list(sys.modules.values())
            if getattr(module, "__name__", "").startswith("any2seg_core.") for name, kernel in vars(module).items()
            if isinstance(kernel, Dispatcher)}

def message(data, kind):
    typed = serialise.typestore().deserialize_cdr(data, f"sensor_msgs/msg/{kind}")
    typed.data = array("B", bytes(typed.data))  # the container of rclpy
    return typed

camera = CameraModel.from_fov(52, 38, 80.0, "camera")
to_camera = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
frames = FrameBuilder(Calibration(camera, event_camera=camera, event_to_camera=np.eye(4), lidar_to_camera=to_camera))
frames.warm_up()
before = signatures()
assert sum(map(len, before.values())) >= 5, before
rng = np.random.default_rng(0)
events = np.zeros(300, EVENT_DTYPE)
events["t"], events["p"] = 10**9 - np.arange(300)[::-1] * 1000, 1
points = rng.uniform(1.0, 9.0, (500, 4)).astype(np.float32)
frame = frames.build({
    "depth": [message(serialise.image(np.full((38, 52), 7.0, np.float32), "32FC1", 10**9, "camera"), "Image")],
    "event": [message(serialise.event_cloud(events, 10**9, "camera"), "PointCloud2")] * 2,
    "lidar": [message(serialise.point_cloud(points, 10**9, "lidar"), "PointCloud2")],
}, 10**9)
assert set(frame.planes) == {"depth", "event", "lidar"}, frame.errors
after = signatures()
assert after == before, {key: after[key] for key in after if after[key] != before[key]}
"""


def test_value_warm_up_leaves_nothing_to_compile():
    """In a process of its own: kernels of other tests would hide what is missing."""
    done = subprocess.run([sys.executable, "-c", WARM_UP_PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def noisy_cloud(count=3000, full=1.0):
    rng = np.random.default_rng(5)
    xyz = rng.uniform([5, -4, -2], [40, 4, 3], (count, 3))
    return np.column_stack([xyz, rng.uniform(0, full, count)])


def as_points(array):
    return points([tuple(each) for each in array.tolist()])


def test_value_a_lidar_without_a_return_is_sparse_and_holes_draw_nothing():
    builder = FrameBuilder(Calibration(CAMERA, lidar_to_camera=LIDAR_TO_CAMERA))
    frame = builder.build({"lidar": [as_points(np.zeros((5000, 4)))]}, 1)
    assert (frame.reasons, frame.planes) == ({"lidar": "sparse"}, {})
    assert "0 points with a distance" in frame.errors["lidar"]
    scene = noisy_cloud()
    holes = scene.copy()
    holes[::3] = 0
    with_holes, without = (builder.build({"lidar": [as_points(each)]}, 2) for each in (holes, holes[holes[:, 0] > 0]))
    np.testing.assert_array_equal(with_holes.planes["lidar"], without.planes["lidar"])
    assert len(with_holes.samples["lidar"]) == 2000


def test_value_intensity_has_one_scale_per_stream_and_its_change_is_told_once(frames):
    frames.warm_up()  # its cloud of 0..1 is nobody's
    scene = noisy_cloud(full=250.0)
    means = []
    for brightest in (250, 300, 250):
        scene[0, 3] = brightest
        frame = frames.build({"lidar": [as_points(scene)]}, 1)
        means.append(frame.samples["lidar"][1:, 3].mean())
        assert frame.notes == []
    assert means[0] == means[1] == means[2] == pytest.approx(scene[1:, 3].mean() / 255, rel=1e-5)
    scene[::2, 3] = 40_000
    told = [frames.build({"lidar": [as_points(scene)]}, 1).notes for _ in range(2)]
    assert [len(notes) for notes in told] == [1, 0]
    assert told[0][0].startswith("lidar: intensity is read as 0..65535 from now on")


def test_value_12_bits_in_16_are_no_darkness():
    builder = FrameBuilder(None)
    grey = np.random.default_rng(6).integers(0, 256, (38, 52)).astype(np.uint16)
    frame = builder.build({"rgb": [image(grey << 4, "mono16")]}, 1)
    np.testing.assert_array_equal(frame.planes["rgb"], np.repeat(grey[..., None], 3, axis=2))
    assert frame.notes == ["rgb: 16-bit image stays below 4096: read as 12 bits; image_bits fixes it"]
    fixed = FrameBuilder(None, options=InputOptions(image_bits=16)).build({"rgb": [image(grey << 2, "mono16")]}, 1)
    assert fixed.reasons == {"rgb": "black"}


@pytest.mark.parametrize("encoding", ["mono16", "mono8"])
def test_value_a_black_image_of_16_bits_may_have_few_bits(encoding):
    """8 significant bits, the brightest 255; of an image of 8 bits nothing else is known."""
    builder = FrameBuilder(None, 50_000_000)
    pixels = np.full((19, 26), 255 if encoding == "mono16" else 5, np.uint16 if encoding == "mono16" else np.uint8)
    first, second = (builder.build({"rgb": [image(pixels, encoding)]}, stamp_ns) for stamp_ns in (1, 2))
    assert first.reasons == second.reasons == {"rgb": "black"}
    told = ", or its values have few bits: image_bits"
    assert first.errors["rgb"].endswith(told) == second.errors["rgb"].endswith(told) == (encoding == "mono16")
    assert [note.startswith("rgb: 16-bit image is black") for note in first.notes] == [True] * (encoding == "mono16")
    assert second.notes == []


PICKED = {"event": (19, 26), "lidar": (19, 26)}


def test_value_picked_pixels_of_a_set_and_the_size_of_its_grid(frames):
    payloads = {
        "rgb": [image(np.full((38, 52, 3), 90, np.uint8), "rgb8")],
        "event": [events([(x, y, STAMP_NS, 1) for x in range(10, 30) for y in range(5, 20)])],
        "lidar": [points([(8.0, y, 0.1, 0.5) for y in np.linspace(-3, 3, 200)])],
    }
    whole = frames.build(payloads, STAMP_NS)
    found = frames.build(payloads, STAMP_NS, picked=PICKED)
    assert (whole.size, found.size) == (None, (38, 52))
    np.testing.assert_array_equal(found.planes["rgb"], whole.planes["rgb"])
    for name in PICKED:
        np.testing.assert_array_equal(found.planes[name], whole.planes[name][1::2, 1::2])
        assert found.planes[name].any()


def test_value_a_plane_whose_picked_pixels_are_empty_is_not_empty(frames):
    """An event between the pixels that a network reads is one all the same; none at all is none."""
    payloads = {"event": [events([(10, 6, STAMP_NS, 1)])]}
    found = frames.build(payloads, STAMP_NS, picked=PICKED)
    assert found.reasons == {} and np.argwhere(found.planes["event"][..., 0]).tolist() == [[6, 10]]
    outside = {"event": [events([(10, 6, STAMP_NS - 10**9, 1)])]}
    assert frames.build(outside, STAMP_NS, picked=PICKED).reasons == {"event": "empty"}


def test_value_a_message_that_comes_again_is_projected_anew_for_other_pixels(frames):
    payloads = {"lidar": [points([(8.0, y, 0.1, 0.5) for y in np.linspace(-3, 3, 200)])]}
    shapes = [frames.build(payloads, STAMP_NS, picked=each).planes["lidar"].shape for each in (PICKED, {}, {}, PICKED)]
    assert shapes == [(19, 26, 3), (38, 52, 3), (38, 52, 3), (19, 26, 3)]
