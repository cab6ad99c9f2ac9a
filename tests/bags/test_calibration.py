from __future__ import annotations

import numpy as np
import pytest
from bag_files import (
    CLOUD,
    COMPRESSED,
    IMAGE,
    INFO,
    KITTI_CAMERA,
    LIDAR_TO_CAMERA,
    NS_PER_S,
    PACKET,
    START_NS,
    STORE,
    compressed_image,
    compressed_pixels,
    event_array,
    event_packet,
    kitti_entries,
    lidar_calibration,
    lidar_entries,
    scan,
    small_entries,
    tf_message,
    write_bag,
    write_ros1,
)  # fmt: skip
from raised import user_error

from any2seg_core.bags.calibration import find_calibration
from any2seg_core.bags.inspection import inspect_bag
from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.bags.reader import Recording
from any2seg_core.bags.topics import choose_topics
from any2seg_core.messages import serialise
from any2seg_core.sensors.calibration import Calibration, save_calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.events import EVENT_DTYPE

TF = "tf2_msgs/msg/TFMessage"


def found_in(path, file=None):
    with Recording(path) as bag:
        return find_calibration(bag, choose_topics(bag), file)


@pytest.mark.parametrize("write", [write_bag, write_ros1])
def test_value_camera_info_and_static_transforms(tmp_path, write):
    got = found_in(write(tmp_path / "kitti.bag", kitti_entries(3)))
    np.testing.assert_allclose(got.calibration.lidar_to_camera, LIDAR_TO_CAMERA, atol=1e-9)
    assert got.calibration.lidar_frame == "velo_link"
    np.testing.assert_array_equal(got.calibration.camera.K, KITTI_CAMERA.K)
    assert (got.calibration.camera.width, got.calibration.camera.height) == (1242, 375)
    assert got.missing == ()
    assert got.found["camera"] == "/kitti/camera_color_left/camera_info"
    assert "velo_link" in got.found["lidar_to_camera"]


def test_value_latched_messages_count_wherever_they_stand(tmp_path):
    entries = kitti_entries(6)
    late = [(*((START_NS + 3 * NS_PER_S),), *e[1:]) if e[2] == TF else e for e in entries]
    first_info = next(k for k, e in enumerate(late) if e[2] == INFO)
    only_last_info = [e for k, e in enumerate(late) if e[2] != INFO or k > first_info]
    got = found_in(write_bag(tmp_path / "bag", sorted(only_last_info)))
    np.testing.assert_allclose(got.calibration.lidar_to_camera, LIDAR_TO_CAMERA, atol=1e-9)


def moving_entries(sway_m):
    """CARLA's asynchronous mode: both sensors are children of a map that the vehicle moves through."""
    entries = [e for e in kitti_entries(6) if e[2] != TF]
    for k in range(6):
        vehicle = np.eye(4)
        vehicle[:3, 3] = (10.0 * k, 3.0, 0.0)
        camera = vehicle @ np.linalg.inv(LIDAR_TO_CAMERA)
        camera[1, 3] += sway_m * k
        edges = [("map", "velo_link", vehicle), ("map", KITTI_CAMERA.frame_id, camera)]
        stamp_ns = START_NS + k * NS_PER_S // 10
        entries.append((stamp_ns, "/tf", TF, tf_message(edges, stamp_ns)))
    return sorted(entries)


def test_value_dynamic_transforms_of_a_moving_vehicle(tmp_path):
    got = found_in(write_bag(tmp_path / "bag", moving_entries(0.0)))
    np.testing.assert_allclose(got.calibration.lidar_to_camera, LIDAR_TO_CAMERA, atol=1e-6)
    assert got.missing == ()


def test_value_a_sensor_head_that_moves_is_followed(tmp_path):
    got = found_in(write_bag(tmp_path / "bag", moving_entries(0.1)))
    assert got.missing == ()
    assert got.extrinsics.names == ("lidar",)
    assert "followed through /tf" in got.found["lidar_to_camera"]
    assert got.frames(1).rig.calibration.lidar_to_camera is None
    assert got.calibration.lidar_frame is None  # transforms say where a cloud of any frame is


def test_value_what_is_missing_is_said(tmp_path):
    got = found_in(write_bag(tmp_path / "kitti", kitti_entries(2, with_tf=False)))
    assert got.calibration.lidar_to_camera is None
    assert len(got.missing) == 1 and "no transform from velo_link to camera_color_left" in got.missing[0]
    got = found_in(write_bag(tmp_path / "lidar", lidar_entries(2)))
    assert got.calibration is None
    assert got.missing == ("no camera in the bag",)
    got = found_in(write_bag(tmp_path / "camera", small_entries(2)))
    assert got.missing == ("no camera_info of the colour camera in the bag",)


def test_value_camera_frame_that_is_no_optical_frame_is_suspected(tmp_path):
    entries = [e for e in kitti_entries(3) if e[2] != TF]
    edges = [("base", "velo_link", np.eye(4)), ("base", KITTI_CAMERA.frame_id, np.eye(4))]
    entries.append((START_NS, "/tf_static", TF, tf_message(edges, START_NS)))
    assert "optical frame" in found_in(write_bag(tmp_path / "bag", sorted(entries))).missing[0]


def test_value_implausible_camera_info_is_told(tmp_path):
    wrong = CameraModel(7, 5, [[5000.0, 0, 3], [0, 5000.0, 2], [0, 0, 1]])
    entries = small_entries(1)
    entries.append((START_NS + 99, "/camera/camera_info", INFO, serialise.camera_info(wrong, START_NS)))
    got = found_in(write_bag(tmp_path / "bag", entries))
    assert got.calibration is None
    assert "implausible" in got.missing[0]


def test_value_file_in_the_bag_and_file_given(tmp_path):
    bag = write_bag(tmp_path / "bag", kitti_entries(2, with_tf=False))
    shift = LIDAR_TO_CAMERA.copy()
    shift[0, 3] = 1.0
    save_calibration(bag / "calibration.yaml", Calibration(CameraModel.from_fov(10, 10, 60.0), lidar_to_camera=shift))
    got = found_in(bag)
    np.testing.assert_array_equal(got.calibration.lidar_to_camera, shift)
    np.testing.assert_array_equal(got.calibration.camera.K, KITTI_CAMERA.K)  # the recorded camera_info, as in the node
    assert not got.is_final
    given = tmp_path / "mine.yaml"
    save_calibration(given, Calibration(CameraModel.from_fov(621, 188, 60.0), lidar_to_camera=LIDAR_TO_CAMERA))
    with open_bag(bag, BagOptions(calibration=given)) as opened:
        assert opened.calibration.is_final
        last = list(opened.sets())[-1]
        assert last.frames.rig.calibration.camera.width == 621  # whatever camera_info the bag holds


def test_value_lidar_alone_needs_and_takes_a_calibration(tmp_path):
    bag = write_bag(tmp_path / "bag", lidar_entries(4))
    with user_error("calibration-missing", "--calibration"), open_bag(bag):
        pass
    given = tmp_path / "plane.yaml"
    save_calibration(given, lidar_calibration())
    with open_bag(bag, BagOptions(calibration=given)) as opened:
        sets = list(opened.sets())
        frame = sets[0].frame()
    assert len(sets) == 4
    assert frame.errors == {}
    assert frame.planes["lidar"].shape == (96, 160, 3)
    assert frame.planes["lidar"].any()


def test_exception_nothing_to_work_with(tmp_path):
    bag = write_bag(tmp_path / "bag", [(START_NS, "/tf", TF, tf_message([], START_NS))])
    with user_error("bag-sensor-missing"), open_bag(bag):
        pass
    bag = write_bag(tmp_path / "camera", small_entries(2))
    with user_error("bag-sensor-missing", "lidar"), open_bag(bag, BagOptions(modalities=["rgb", "lidar"])):
        pass
    params = tmp_path / "p.yaml"
    params.write_text("/**: {ros__parameters: {timeout_s: soon}}")
    with user_error("value-type", "timeout_s"), open_bag(bag, BagOptions(params=params)):
        pass


def test_value_params_file_reaches_the_synchroniser(tmp_path):
    bag = write_bag(tmp_path / "bag", kitti_entries(3))
    params = tmp_path / "p.yaml"
    params.write_text("/**:\n  ros__parameters:\n    timeout_s: 0.08\n    lidar:\n      offset_s: -0.03\n")
    with open_bag(bag, BagOptions(params=params)) as opened:
        config = opened.sync_config(50_000_000)
    assert config.timeout_ns == 80_000_000
    assert config.streams["lidar"].offset_ns == -30_000_000


def test_value_every_parameter_of_a_node_has_its_effect_on_a_recording_or_is_named(tmp_path):
    bag, params = write_bag(tmp_path / "bag", kitti_entries(3)), tmp_path / "p.yaml"

    def opened_with(lines):
        params.write_text(f"/**:\n  ros__parameters: {{{lines}}}\n")
        return open_bag(bag, BagOptions(params=params))

    known = "timeout_s: 0.1, lidar: {enabled: true}, health: {min_points: 5}, fixed_frame: odom, stamp_source: header"
    with opened_with(known) as opened:
        assert opened.modalities == ("rgb", "lidar") and opened.notes == ()
    with opened_with("device: cuda, use_tf: false, timeuot_s: 1.0") as opened:
        (note,) = opened.notes
    assert note == f"{params}: no effect on recordings: device, use_tf, timeuot_s (of the live node, or misspelt)"
    with opened_with("modalities: [camera, depth]") as opened:
        assert opened.modalities == ("rgb",)
    with user_error("bag-sensor-missing", "rgb, lidar", "depth"), opened_with("modalities: [depth]"):
        pass
    with user_error("value-conflict", "stamp_source", "'arrival'"), opened_with("stamp_source: arrival"):
        pass


@pytest.mark.parametrize(("frame", "lines"), [(KITTI_CAMERA.frame_id, 0), ("depth_optical", 2)])
def test_value_depth_without_a_camera_info_of_its_own(tmp_path, frame, lines):
    """In the camera's own frame the camera's intrinsics are right; in another one what is assumed is said."""
    entries = kitti_entries(2)
    depth = serialise.image(np.ones((375, 1242), np.float32), "32FC1", START_NS, frame)
    entries.append((START_NS + NS_PER_S, "/depth/image", IMAGE, depth))
    entries.append((START_NS + NS_PER_S, "/other", CLOUD, serialise.point_cloud(scan(0), START_NS, "x")))
    got = found_in(write_bag(tmp_path / "bag", entries))
    assert len(got.missing) == lines
    for line in got.missing:
        assert "depth" in line and ("taken as mounted" in line or "colour camera's is taken" in line)


def with_sensor(topic, kind, messages):
    """A camera of 96x64, a LiDAR, and a sensor that has no camera_info, three times in a fifth of a second."""
    return [*lens_entries("plumb_bob", [0.0] * 5),
            *((START_NS + k * NS_PER_S // 10 + 3, topic, kind, data) for k, data in enumerate(messages))]  # fmt: skip


STAMPS = [START_NS + k * NS_PER_S // 10 for k in range(3)]
PICTURE_48X48 = np.ones((48, 48, 3), np.uint8)
OTHER_SHAPES = {
    "event array": (
        "/dvs/events", "dvs_msgs/msg/EventArray", [event_array(stamp, range(5), size=(9, 6)) for stamp in STAMPS],
        "event sensor is 6x9", "event"),
    "event packets": (
        "/dvs/events", PACKET, [event_packet(stamp, k, b"", (10, 10)) for k, stamp in enumerate(STAMPS)],
        "event sensor is 10x10", "event"),
    "depth": (
        "/depth/image", IMAGE, [serialise.image(np.ones((48, 48), np.uint16), "16UC1", stamp, "d") for stamp in STAMPS],
        "depth images are 48x48", "depth"),
    "compressed depth": (
        "/depth/image/compressed", COMPRESSED,
        [compressed_pixels(PICTURE_48X48[..., 0].astype(np.uint16), stamp, "d", ".png", "png") for stamp in STAMPS],
        "depth images are 48x48", "depth"),
}  # fmt: skip


@pytest.mark.parametrize(("topic", "kind", "messages", "told", "name"), OTHER_SHAPES.values(), ids=OTHER_SHAPES)
def test_value_a_sensor_of_another_shape_without_intrinsics_is_not_recommended(
    tmp_path, topic, kind, messages, told, name
):
    bag = write_bag(tmp_path / "bag", sorted(with_sensor(topic, kind, messages), key=lambda entry: entry[0]))
    they = {"event": "events", "depth": "depth"}[name]
    got = found_in(bag)
    line = f"{told}, the camera 96x64: {they} cannot be used without a calibration of the {name} camera"
    assert (got.missing[-1], got.unusable) == (line, (name,))
    found = inspect_bag(bag)
    assert found.parameters["modalities"] == found.parameters["reference_priority"] == ["rgb", "lidar"]
    with open_bag(bag) as opened:
        assert all(name not in each.frame().planes for each in opened.sets())  # as it says


def test_value_a_sensor_of_the_shape_of_the_camera_or_with_intrinsics_is_recommended(tmp_path):
    depth = [serialise.image(np.ones((32, 48), np.uint16), "16UC1", stamp, "cam") for stamp in STAMPS]
    bag = write_bag(tmp_path / "half", sorted(with_sensor("/depth/image", IMAGE, depth), key=lambda entry: entry[0]))
    assert (found_in(bag).missing, found_in(bag).unusable) == ((), ())
    assert inspect_bag(bag).parameters["modalities"] == ["rgb", "depth", "lidar"]
    assert found_in(write_bag(tmp_path / "own", with_depth_camera(np.eye(4)))).unusable == ()


CAMERA_TO_BASE = np.linalg.inv(LIDAR_TO_CAMERA)


def with_depth_camera(depth_to_base):
    """A colour camera and a depth camera with frames of their own on one base; depth of 3 m."""
    entries = [e for e in kitti_entries(2) if e[2] != TF]
    edges = [("base", KITTI_CAMERA.frame_id, CAMERA_TO_BASE), ("base", "velo_link", np.eye(4)),
             ("base", "depth_frame", depth_to_base)]  # fmt: skip
    depth = np.full((48, 64), 3000, np.uint16)
    model = CameraModel.from_fov(64, 48, 70.0, "depth_frame")
    return sorted([
        *entries, (START_NS - 5, "/tf_static", TF, tf_message(edges, START_NS)),
        (START_NS + 9, "/depth/image_raw", IMAGE, serialise.image(depth, "16UC1", START_NS, "depth_frame")),
        (START_NS + 9, "/depth/camera_info", INFO, serialise.camera_info(model, START_NS)),
    ], key=lambda entry: entry[0])  # fmt: skip


def test_value_two_optical_frames_that_look_the_same_way_are_right(tmp_path):
    """RealSense: colour and depth 15 mm apart."""
    beside = CAMERA_TO_BASE.copy()
    beside[1, 3] -= 0.015
    got = found_in(write_bag(tmp_path / "bag", with_depth_camera(beside)))
    assert got.missing == () and got.notes == ()
    assert got.found["depth_to_camera"] == f"tf: depth_frame -> {KITTI_CAMERA.frame_id}"
    np.testing.assert_allclose(got.calibration.depth_to_camera[:3, 3], (0.015, 0, 0), atol=1e-9)


def test_value_a_depth_frame_whose_x_axis_looks_forward_is_suspected(tmp_path):
    (line,) = found_in(write_bag(tmp_path / "bag", with_depth_camera(np.eye(4)))).missing
    assert line == f"x of depth_frame looks along {KITTI_CAMERA.frame_id}: is it an optical frame (REP 103)?"


def test_value_a_camera_frame_beside_an_optical_depth_frame_is_suspected(tmp_path):
    """The colour images carry the frame of the camera's body, x forward; depth carries an optical one."""
    edges = [("base", KITTI_CAMERA.frame_id, np.eye(4)), ("base", "depth_frame", CAMERA_TO_BASE)]
    entries = [entry for entry in with_depth_camera(CAMERA_TO_BASE) if entry[2] not in (TF, CLOUD)]
    entries.insert(0, (START_NS - 5, "/tf_static", TF, tf_message(edges, START_NS)))
    (line,) = found_in(write_bag(tmp_path / "bag", entries)).missing
    name = KITTI_CAMERA.frame_id
    assert line == f"depth_frame looks along x of {name}: is {name} an optical frame (REP 103)?"


def spoilt_tf(entries, topic, stamp_ns, translation, quaternion):
    """One more transform of an IMU in the message of the extrinsics, as a driver that has no value sends it."""
    for time_ns, name, kind, data in entries:
        if kind == TF:
            found = STORE.deserialize_cdr(data, TF)
            make = STORE.types
            stamp = make["builtin_interfaces/msg/Time"](*divmod(stamp_ns, NS_PER_S))
            header = make["std_msgs/msg/Header"](stamp, "base_link")
            found.transforms.insert(0, make["geometry_msgs/msg/TransformStamped"](
                header, "imu", make["geometry_msgs/msg/Transform"](
                    make["geometry_msgs/msg/Vector3"](*translation), make["geometry_msgs/msg/Quaternion"](*quaternion)
                )))  # fmt: skip
            name, data = topic, bytes(STORE.serialize_cdr(found, TF))
        yield time_ns, name, kind, data


@pytest.mark.parametrize("topic", ["/tf_static", "/tf"])
@pytest.mark.parametrize(
    ("translation", "quaternion", "why"),
    [
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), "quaternion of length 0"),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.3), "quaternion of length 1.3"),
        ((0.0, 0.0, 0.0), (float("nan"),) * 4, "NaN or infinity"),
        ((0.0, float("inf"), 0.0), (0.0, 0.0, 0.0, 1.0), "NaN or infinity"),
    ],
)
def test_value_an_invalid_transform_costs_no_other_and_is_named(tmp_path, topic, translation, quaternion, why):
    entries = list(spoilt_tf(kitti_entries(4), topic, START_NS, translation, quaternion))
    bag = write_bag(tmp_path / "bag", entries)
    (note,) = found_in(bag).notes
    assert "base_link to imu" in note and why in note
    assert note in inspect_bag(bag).notes
    with open_bag(bag) as opened:
        assert note in opened.notes
        frames = [found.frame() for found in opened.sets()]
    assert sum("lidar" in frame.planes for frame in frames) >= 2


def lens_entries(model, coefficients, topic="/cam/image_raw", size=(96, 64), suffix="", **changes):
    """A camera of 96x64 and a LiDAR in its frame; `changes`: fields of the camera_info."""
    entries = []
    camera = CameraModel.from_fov(96, 64, 91.0, "cam")
    for k in range(3):
        stamp_ns = START_NS + k * NS_PER_S // 10
        info = STORE.deserialize_cdr(serialise.camera_info(camera, stamp_ns), INFO)
        info.width, info.height = size
        info.distortion_model, info.d = model, np.array(coefficients, float)
        for name, value in changes.items():
            setattr(info, name, value)
        picture = np.random.default_rng(k).integers(0, 256, (64, 96, 3), np.uint8)
        compressed = compressed_image(picture, stamp_ns, "cam", suffix) if suffix else b""
        entries += [
            (stamp_ns, topic.rpartition("/")[0] + "/camera_info", INFO, bytes(STORE.serialize_cdr(info, INFO))),
            (stamp_ns + 1, f"{topic}/compressed", COMPRESSED, compressed) if suffix else
            (stamp_ns + 1, topic, IMAGE, serialise.image(picture, "rgb8", stamp_ns, "cam")),
            (stamp_ns + 2, "/points", CLOUD, serialise.point_cloud(
                scan(k)[:, [1, 2, 0, 3]] * np.float32([-1, -1, 1, 1]), stamp_ns, "cam")),
        ]  # fmt: skip
    return entries


@pytest.mark.parametrize("suffix", ["", ".jpg"])
@pytest.mark.parametrize("size", [(0, 0), (96, 0)])
def test_value_a_camera_info_without_a_size_has_that_of_its_images(tmp_path, suffix, size):
    """Drivers that fill width and height later."""
    bag = write_bag(tmp_path / "bag", lens_entries("plumb_bob", [0.0] * 5, size=size, suffix=suffix))
    got = found_in(bag)
    assert (got.calibration.camera.width, got.calibration.camera.height) == (96, 64) and got.missing == ()
    with open_bag(bag) as opened:
        stream = opened.sets()
        frames = [found.frame() for found in stream]
    assert [set(frame.planes) for frame in frames] == [{"rgb", "lidar"}] * 3
    assert stream.bad == {}


RECTIFIED_TOPICS = ["/cam/image_rect_color", "/cam/image_rect", "/rectified/image", "/left/image_RECT",
                    "/cam/image_undistorted", "/cam/imageRect", "/cam/image_corrected"]  # fmt: skip


@pytest.mark.parametrize("topic", RECTIFIED_TOPICS)
def test_value_a_rectified_picture_beside_the_lens_of_the_raw_one_is_told(tmp_path, topic):
    bag = write_bag(tmp_path / "bag", lens_entries("plumb_bob", [-0.2, 0.05, 0.0, 0.0, 0.0], topic))
    (note,) = found_in(bag).notes
    assert note.startswith(f"rgb: {topic} is called rectified") and "set rectified to true" in note
    params = tmp_path / "p.yaml"
    params.write_text("/**: {ros__parameters: {rectified: true}}")
    with open_bag(bag, BagOptions(params=params)) as opened:
        assert opened.notes == ()


NO_NEWS = ["/cam/image_rect", "/cam/image_raw", "/direct/image", "/rectangle/image", "/cam/color_corrected"]


@pytest.mark.parametrize("topic", NO_NEWS)
def test_value_a_picture_that_fits_its_camera_info_is_no_news(tmp_path, topic):
    coefficients = [0.0] * 5 if topic.endswith("rect") else [-0.2, 0.05, 0.0, 0.0, 0.0]
    assert found_in(write_bag(tmp_path / "bag", lens_entries("plumb_bob", coefficients, topic))).notes == ()


@pytest.mark.parametrize("suffix", ["", ".jpg"])
def test_value_pictures_of_another_shape_than_their_camera_info_are_told(tmp_path, suffix):
    """A driver was set to another resolution, and the calibration stayed."""
    bag = write_bag(tmp_path / "bag", lens_entries("plumb_bob", [], size=(96, 72), suffix=suffix))
    (told,) = (line for line in found_in(bag).missing if "images are 96x64" in line)
    assert "96x72: rgb cannot be used" in told
    with open_bag(bag) as opened:
        assert told in opened.notes and opened.modalities == ("lidar",)
    with user_error("calibration-size", "96x72"), open_bag(bag, BagOptions(modalities=("rgb",))):
        pass
    scaled = write_bag(tmp_path / "scaled", lens_entries("plumb_bob", [], size=(192, 128), suffix=suffix))
    assert not any("images are" in line for line in found_in(scaled).missing)


def test_value_a_camera_info_of_another_frame_than_its_pictures_is_told(tmp_path):
    """camera_info_manager with a frame of its own: every picture is refused while frames are checked."""
    stamp = STORE.types["builtin_interfaces/msg/Time"](*divmod(START_NS, NS_PER_S))
    header = STORE.types["std_msgs/msg/Header"](stamp, "cam_link")
    bag = write_bag(tmp_path / "bag", lens_entries("plumb_bob", [], header=header))
    (told,) = (line for line in found_in(bag).missing if "frame_id" in line)
    assert "'cam'" in told and "'cam_link'" in told and "check_frames" in told
    with open_bag(bag) as opened:
        assert told in opened.notes
        assert all("rgb" in found.frame().errors for found in opened.sets())
    plain = write_bag(tmp_path / "plain", lens_entries("plumb_bob", []))
    assert not any("frame_id" in line for line in found_in(plain).missing)


def test_value_a_raw_picture_that_is_to_be_rectified_is_told(tmp_path):
    bag = write_bag(tmp_path / "bag", lens_entries("plumb_bob", [-0.2, 0.05, 0.0, 0.0, 0.0]))
    params = tmp_path / "p.yaml"
    params.write_text("/**: {ros__parameters: {rectified: true}}")
    with open_bag(bag, BagOptions(params=params)) as opened:
        assert opened.notes == ("rgb: /cam/image_raw is called raw, and rectified is true: is it rectified?",)


def test_value_a_camera_without_camera_info_beside_a_lidar_is_used_alone_and_the_lidar_named(tmp_path):
    bag = write_bag(tmp_path / "bag", [e for e in kitti_entries(4) if e[2] != INFO])
    with open_bag(bag) as opened:
        planes = [bag_set.frame().planes for bag_set in opened.sets()]
        notes = opened.notes
    assert [list(found) for found in planes] == [["rgb"]] * 4
    assert notes == ("no camera_info of the colour camera in the bag: lidar cannot be used",)
    assert inspect_bag(bag).parameters["modalities"] == ["rgb"]
    with user_error("calibration-missing", "no camera_info", "lidar"), open_bag(bag, BagOptions(modalities="RL")):
        pass
    with open_bag(bag, BagOptions(modalities="RL", may_lack=True)) as opened:
        assert opened.modalities == ("rgb",)


def test_value_a_cloud_of_events_has_no_shape_of_a_picture(tmp_path):
    """Its width is the number of events: 300 of a sensor of 96x64 pixels."""
    stamp_ns, camera = START_NS, CameraModel.from_fov(96, 64, 91.0, "cam")
    events = np.zeros(300, EVENT_DTYPE)
    events["t"] = stamp_ns
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    bag = write_bag(tmp_path / "bag", [
        (stamp_ns, "/cam/image_raw", IMAGE, serialise.image(picture, "rgb8", stamp_ns, "cam")),
        (stamp_ns, "/cam/camera_info", INFO, serialise.camera_info(camera, stamp_ns)),
        (stamp_ns, "/dvs/events", CLOUD, serialise.event_cloud(events, stamp_ns, "cam")),
    ])  # fmt: skip
    assert found_in(bag).unusable == ()


def down_looking() -> np.ndarray:
    """(4, 4) LiDAR to a camera whose axis points at the ground, the top of its picture forward."""
    matrix = np.eye(4)
    matrix[:3, :3] = [[0, -1, 0], [-1, 0, 0], [0, 0, -1]]
    return matrix


@pytest.mark.parametrize(
    ("lidar_to_camera", "points"),
    [
        (np.eye(4), [[x, y, 5.0, 0.5] for x in (-1, 0, 1) for y in (-1, 0, 1)]),  # a depth camera's cloud, optical
        (down_looking(), [[x, y, -20.0, 0.5] for x in range(-9, 9) for y in range(-9, 9)]),  # a drone over a field
    ],
)
def test_value_a_cloud_that_falls_into_the_picture_raises_no_alarm(tmp_path, lidar_to_camera, points):
    entries = [e for e in kitti_entries(3) if e[2] not in (TF, CLOUD)]
    edges = [(KITTI_CAMERA.frame_id, "velo_link", lidar_to_camera)]
    cloud = serialise.point_cloud(np.array(points, np.float32), START_NS, "velo_link")
    entries += [(START_NS, "/tf_static", TF, tf_message(edges, START_NS)), (START_NS, "/points", CLOUD, cloud)]
    assert found_in(write_bag(tmp_path / "bag", sorted(entries))).missing == ()
