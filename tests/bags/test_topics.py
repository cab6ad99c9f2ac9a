from __future__ import annotations

import numpy as np
import pytest
import yaml
from bag_files import (
    CLOUD,
    COMPRESSED,
    IMAGE,
    INFO,
    KITTI_CAMERA,
    START_NS,
    STORE,
    compressed_pixels,
    kitti_entries,
    lidar_entries,
    scan,
    small_entries,
    write_bag,
    write_ros1,
)  # fmt: skip
from mcap_files import write_mcap
from raised import user_error

from any2seg_core.bags.opened import open_bag
from any2seg_core.bags.reader import Recording
from any2seg_core.bags.topic_rules import RULES_FILE
from any2seg_core.bags.topics import choose_topics
from any2seg_core.messages import images, serialise
from any2seg_core.sensors.events import EVENT_DTYPE
from any2seg_core.vocabulary.topics import carla_bridge


def chosen(path, *fixed, rules=None):
    with Recording(path) as bag:
        return choose_topics(bag, rules, fixed)


def image_entry(topic, encoding, k=0):
    kinds = {"32FC1": (np.float32, ()), "16UC1": (np.uint16, ()), "mono16": (np.uint16, ()), "mono8": (np.uint8, ()),
             "bgra8": (np.uint8, (4,)), "rgb8": (np.uint8, (3,)), "bgr8": (np.uint8, (3,))}  # fmt: skip
    dtype, channels = kinds[encoding]
    pixels = np.zeros((5, 7, *channels), dtype)
    return (START_NS + k, topic, IMAGE, serialise.image(pixels, encoding, START_NS, "camera"))


def carla_entries(topics):
    entries = [
        image_entry(topics.streams["rgb"], "bgra8", 0),
        image_entry(topics.streams["depth"], "32FC1", 1),
        (START_NS + 2, topics.streams["event"], CLOUD,
         serialise.event_cloud(np.zeros(3, EVENT_DTYPE), START_NS, "ego_vehicle/dvs_front")),
        (START_NS + 3, topics.streams["lidar"], CLOUD,
         serialise.point_cloud(scan(1), START_NS, "ego_vehicle/lidar")),
        image_entry(topics.truth, "mono8", 4),
    ]  # fmt: skip
    info = serialise.camera_info(KITTI_CAMERA, START_NS)
    return entries + [(START_NS + 9, topic, INFO, info) for topic in topics.camera_infos.values()]


def test_value_carla_bridge_as_the_drive_records_it(tmp_path):
    expected = carla_bridge("hero")
    assert chosen(write_bag(tmp_path / "bag", carla_entries(expected))).map == expected


def test_value_every_colour_encoding_that_can_be_read_can_be_a_camera():
    accepted = yaml.safe_load(RULES_FILE.read_text())["roles"]["rgb"]["encodings"]
    assert set(images._NAMED) <= set(accepted)
    assert {"jpeg", "png", "webp", "tiff"} <= set(accepted)


@pytest.mark.parametrize("write", [write_bag, write_ros1])
def test_value_kitti_and_lidar_only(tmp_path, write):
    found = chosen(write(tmp_path / "kitti.bag", kitti_entries(2))).map
    assert found.streams == {"rgb": "/kitti/camera_color_left/image", "lidar": "/kitti/velo/pointcloud"}
    assert found.camera_infos == {"rgb": "/kitti/camera_color_left/camera_info"}
    assert (found.truth, found.odometry) == ("", "")
    assert chosen(write(tmp_path / "lidar.bag", lidar_entries(2))).map.streams == {"lidar": "/ouster/points"}


def test_value_one_of_several_cameras_is_chosen_and_said_why(tmp_path):
    entries = [image_entry(t, "rgb8") for t in ("/cam_back/image", "/cam_front/image", "/cam_left/image")]
    choice = chosen(write_bag(tmp_path / "bag", entries))
    assert choice.map.streams == {"rgb": "/cam_front/image"}
    assert "'front'" in choice.reasons["rgb"]
    assert set(choice.others["rgb"]) == {"/cam_back/image", "/cam_left/image"}
    choice = chosen(tmp_path / "bag", "rgb=/cam_back/image")
    assert choice.map.streams == {"rgb": "/cam_back/image"}
    assert choice.reasons["rgb"] == "as given"


def test_value_a_camera_with_camera_info_wins_over_its_equal(tmp_path):
    entries = [image_entry("/a/image", "bgr8"), image_entry("/b/image", "bgr8")]
    entries.append((START_NS, "/b/camera_info", INFO, serialise.camera_info(KITTI_CAMERA, START_NS)))
    choice = chosen(write_bag(tmp_path / "bag", entries))
    assert choice.map.streams["rgb"] == "/b/image"
    assert choice.map.camera_infos == {"rgb": "/b/camera_info"}


@pytest.mark.parametrize(
    ("topic", "encoding", "role"),
    [
        ("/realsense/depth/image_rect_raw", "16UC1", "depth"),
        ("/camera/aligned_depth_to_color/image_raw", "16UC1", "depth"),
        ("/stereo/range", "32FC1", "depth"),
        ("/carla/ego/depth_front/image", "bgra8", "depth"),  # native CARLA packs depth into colours
        ("/camera/infra1/image_rect_raw", "mono8", None),
        ("/segmentation/labels", "mono8", "truth"),
        ("/gmsl/cam0/image_raw", "mono8", "rgb"),
        ("/semantic_front/image", "bgra8", None),  # palette colours, no ids
    ],
)
def test_value_roles_by_encoding_and_name(tmp_path, topic, encoding, role):
    found = chosen(write_bag(tmp_path / "bag", [image_entry(topic, encoding)])).map
    roles = {**found.streams, **({"truth": found.truth} if found.truth else {})}
    assert roles == ({} if role is None else {role: topic})


def test_value_camera_info_of_the_same_frame_when_there_is_no_sibling(tmp_path):
    entries = [image_entry("/cam/image", "rgb8")]
    for name in ("camera", "other"):
        model = type(KITTI_CAMERA)(7, 5, KITTI_CAMERA.K, frame_id=name)
        entries.append((START_NS, f"/info/{name}", INFO, serialise.camera_info(model, START_NS)))
    assert chosen(write_bag(tmp_path / "bag", entries)).map.camera_infos == {"rgb": "/info/camera"}


def test_value_own_rules_and_fixed_topics_from_a_file(tmp_path):
    bag = write_bag(tmp_path / "bag", [image_entry("/x", "mono8"), image_entry("/y", "rgb8", 1)])
    rules = tmp_path / "my.yaml"
    rules.write_text(f"topics: {{rgb: none}}\nroles: {{truth: {{types: [{IMAGE}], encodings: [mono8]}}}}")
    assert chosen(bag, rules=rules).map.truth == "/x"
    assert chosen(bag, rules=rules).map.streams == {}
    assert chosen(bag, "rgb=/y", rules=rules).map.streams == {"rgb": "/y"}


@pytest.mark.parametrize(
    ("fixed", "told"),
    [
        ("rgb", ("value-format", "role=/topic")),
        ("radar=/x", ("value-unknown",)),
        ("rgb=/nothing", ("bag-topic-missing", "/nothing", "/camera")),
    ],
)
def test_exception_fixed_topics(tmp_path, fixed, told):
    bag = write_bag(tmp_path / "bag", small_entries(1))
    with user_error(*told):
        chosen(bag, fixed)


@pytest.mark.parametrize(
    ("fixed", "told"),
    [
        (["rgb=/carla/hero/lidar"], ("bag-topic-type", "sensor_msgs/msg/PointCloud2", "sensor_msgs/msg/Image")),
        (
            ["lidar=/carla/hero/rgb_front/image"],
            ("bag-topic-type", "sensor_msgs/msg/Image", "sensor_msgs/msg/PointCloud2"),
        ),
        (["lidar=/carla/hero/dvs_front/events"], ("bag-topic-type", "x, y, t, pol", "x, y, z")),
        (["event=/carla/hero/lidar", "lidar=none"], ("bag-topic-type", "x, y, t and no z")),
        (["rgb.camera_info=/carla/hero/lidar"], ("bag-topic-type", "sensor_msgs/msg/CameraInfo")),
        (["odometry=/carla/hero/lidar"], ("bag-topic-type", "nav_msgs/msg/Odometry")),
        (["truth=/carla/hero/rgb_front/camera_info"], ("bag-topic-type", "sensor_msgs/msg/CameraInfo")),
        (["rgb=none", "rgb=/carla/hero/rgb_front/image"], ("value-twice", "rgb", "none")),
        (["depth=/carla/hero/rgb_front/image", "rgb=/carla/hero/rgb_front/image"], ("value-twice", "depth")),
    ],
)
def test_exception_a_fixed_topic_that_cannot_play_its_role(tmp_path, fixed, told):
    bag = write_bag(tmp_path / "bag", carla_entries(carla_bridge("hero")))
    with user_error(*told) as caught:
        chosen(bag, *fixed)
    assert "\n" not in str(caught.value)


def test_value_what_is_never_taken_for_a_role_may_be_given(tmp_path):
    topics = carla_bridge("hero")
    bag = write_bag(tmp_path / "bag", carla_entries(topics))
    given = [f"truth={topics.streams['lidar']}", "lidar=none", f"event={topics.streams['depth']}", "depth=none"]
    info = topics.camera_infos["rgb"]
    found = chosen(bag, *given, f"rgb.camera_info={info}", f"depth.camera_info={info}").map
    assert (found.truth, found.streams["event"]) == (topics.streams["lidar"], topics.streams["depth"])
    assert found.camera_infos["rgb"] == found.camera_infos["depth"] == info


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("roles: {radar: {types: [a]}}", ("key-unknown", "'radar'")),
        ("roles: {rgb: {}}", ("key-missing", "roles.rgb.types")),
        ("a: [", ("text-syntax",)),
        ("x: 1", ("key-unknown", "x:")),
        ("- 1", ("value-type",)),
        ("roles: {rgb: {types: [a], never: ['(']}}", ("file-content",)),
    ],
)
def test_exception_rules_file_names_itself(tmp_path, text, told):
    bag = write_bag(tmp_path / "bag", small_entries(1))
    rules = tmp_path / "my.yaml"
    rules.write_text(text)
    with user_error(*told, "my.yaml") as caught:
        chosen(bag, rules=rules)
    assert "\n" not in str(caught.value)


def test_exception_a_rules_file_that_is_no_yaml_says_in_which_line(tmp_path):
    rules = tmp_path / "my.yaml"
    rules.write_text("roles:\n  rgb: [")
    with user_error("text-syntax", "my.yaml", "line 2, column 9"):
        chosen(write_bag(tmp_path / "bag", small_entries(1)), rules=rules)


def test_value_damaged_first_message_does_not_hide_a_topic(tmp_path):
    entries = small_entries(3)
    entries[0] = (*entries[0][:3], entries[0][3][:20])
    assert chosen(write_bag(tmp_path / "bag", entries)).map.streams == {"rgb": "/camera/image_raw"}


def test_value_the_shipped_rules_are_found_beside_the_command_too():
    link = RULES_FILE.parents[2] / "bags" / "topics.yaml"
    assert link.read_text() == RULES_FILE.read_text()


@pytest.mark.parametrize("name", ["/rgb_to_depth/image_raw", "/depth_to_rgb/preview", "/depth/color_map", "/depth_viz",
                                  "/camera/depth_colored/image"])  # fmt: skip
def test_value_a_colour_picture_in_the_view_of_the_depth_camera_is_no_depth(tmp_path, name):
    """Azure Kinect without depth topics: bgra8 is packed depth in CARLA only."""
    bag = write_bag(tmp_path / "bag", [image_entry("/rgb/image_raw", "bgra8"), image_entry(name, "bgra8", 1)])
    assert chosen(bag).map.streams == {"rgb": "/rgb/image_raw"}
    assert chosen(bag, f"depth={name}").map.streams["depth"] == name


GREY8, GREY16, COLOURS = np.zeros((5, 7), np.uint8), np.ones((5, 7), np.uint16), np.zeros((5, 7, 3), np.uint8)


@pytest.mark.parametrize(
    ("topic", "pixels", "role"),
    [
        ("/rgb_to_depth/image_raw/compressed", COLOURS, None),
        ("/depth_viz/compressed", COLOURS, None),
        ("/depth/image/compressed", GREY8, None),
        ("/depth_to_rgb/image_raw/compressed", GREY16, "depth"),
        ("/depth/image/compressed", GREY16, "depth"),
        ("/cam/image/compressed", GREY16, "rgb"),
        ("/cam/image/compressed", GREY8, "rgb"),
        ("/depth_front/image/compressed", COLOURS, "depth"),  # CARLA's packed depth
        ("/depth_camera/color/image_raw/compressed", COLOURS, "rgb"),
    ],
)
def test_value_what_a_plain_png_is_says_its_head(tmp_path, topic, pixels, role):
    data = compressed_pixels(pixels, START_NS, "camera", ".png", "png")
    found = chosen(write_bag(tmp_path / "bag", [(START_NS, topic, COMPRESSED, data), *lidar_entries(1)]))
    streams = {name: topic for name, topic in found.map.streams.items() if name != "lidar"}
    assert streams == ({} if role is None else {role: topic})
    is_packed = role == "depth" and pixels is COLOURS
    assert sum("a png of colours, read as CARLA's packed depth" in note for note in found.notes) == is_packed


@pytest.mark.parametrize(
    ("topic", "encoding"),
    [
        ("/depth_camera/image_raw", "rgb8"),
        ("/depthai_node/rgb/image_raw", "bgr8"),
        ("/depth_cam/rgb/image_raw", "bgra8"),
        ("/robot/DepthCamera/color/image_raw", "mono8"),
    ],
)
def test_value_depth_in_the_name_of_a_node_says_nothing_of_its_pictures(tmp_path, topic, encoding):
    deep = f"{topic.rpartition('/')[0]}/depth/image_raw"
    bag = write_bag(tmp_path / "bag", [image_entry(topic, encoding), image_entry(deep, "16UC1", 1)])
    assert chosen(bag).map.streams == {"rgb": topic, "depth": deep}
    assert chosen(bag).notes == ()


@pytest.mark.parametrize(("encoding", "role"), [("16UC1", "depth"), ("bgra8", "depth"), ("rgb8", "rgb")])
def test_value_what_may_be_depth_is_no_colour_of_a_depth_camera(tmp_path, encoding, role):
    bag = write_bag(tmp_path / "bag", [image_entry("/depth_camera/image", encoding)])
    assert chosen(bag).map.streams == {role: "/depth_camera/image"}


def test_value_a_sensor_that_only_its_name_rules_out_is_told_where_there_is_no_other(tmp_path):
    """A node called depth_robot, and a ground vehicle."""
    image, cloud = image_entry("/depth_robot/image_raw", "rgb8"), lidar_entries(1)[0]
    points = (cloud[0], "/ground_robot/velodyne_points", *cloud[2:])
    bag = write_bag(tmp_path / "bag", [image, points, image_entry("/left/depth", "16UC1", 1)])
    assert sorted(chosen(bag).notes) == [
        "/depth_robot/image_raw: not taken for rgb, because its name says 'depth'; if it is: "
        "--topic rgb=/depth_robot/image_raw",
        "/ground_robot/velodyne_points: not taken for lidar, because its name says 'ground'; if it is: "
        "--topic lidar=/ground_robot/velodyne_points",
    ]
    assert chosen(bag, "rgb=none", "lidar=none").notes == ()
    bag = write_bag(tmp_path / "another", [image, image_entry("/cam/image_raw", "rgb8", 1)])
    assert chosen(bag).notes == ()


def test_value_packed_depth_whose_name_alone_says_so_is_told(tmp_path):
    bag = write_bag(tmp_path / "bag", [image_entry("/carla/hero/depth_front/image", "bgra8")])
    assert chosen(bag).map.streams == {"depth": "/carla/hero/depth_front/image"}
    assert chosen(bag).notes == ()
    bag = write_bag(tmp_path / "other", [image_entry("/depth/image", "bgra8")])
    (note,) = chosen(bag).notes
    assert "/depth/image" in note and "packed depth" in note and "--topic depth=none" in note
    assert chosen(bag, "depth=/depth/image").notes == ()


@pytest.mark.parametrize(
    ("topic", "encoding", "role"),
    [
        ("/flir_boson/image_raw", "16UC1", "depth"),
        ("/lepton/image_raw", "16UC1", "depth"),
        ("/ifm3d/camera/amplitude", "32FC1", "depth"),
        ("/blaze/intensity", "16UC1", "depth"),
        ("/ouster/reflec_image", "16UC1", "depth"),
        ("/ouster/nearir_image", "mono16", "rgb"),
        ("/ouster/signal_image", "mono16", "rgb"),
        ("/img_node/intensity_image", "mono8", "rgb"),
        ("/flir_boson/image_raw", "mono8", "rgb"),
    ],
)
def test_value_counts_of_heat_or_of_returned_light_are_no_depth_and_no_camera(tmp_path, topic, encoding, role):
    bag = write_bag(tmp_path / "bag", [image_entry(topic, encoding), *lidar_entries(1)])
    assert role not in chosen(bag).map.streams
    assert any(f"--topic {role}={topic}" in note for note in chosen(bag).notes)
    other = image_entry("/zz/depth" if role == "depth" else "/zz/image", "16UC1" if role == "depth" else "rgb8", 1)
    bag = write_bag(tmp_path / "both", [image_entry(topic, encoding), other])
    assert chosen(bag).map.streams == {role: other[1]}


def test_value_depth_that_only_its_encoding_tells_is_named(tmp_path):
    bag = write_bag(tmp_path / "bag", [image_entry("/left/image", "16UC1"), image_entry("/cam/image", "rgb8", 1)])
    assert chosen(bag).map.streams == {"rgb": "/cam/image", "depth": "/left/image"}
    (note,) = chosen(bag).notes
    assert "/left/image" in note and "depth in millimetres" in note and "--topic depth=none" in note
    assert chosen(bag, "depth=/left/image").notes == ()
    assert chosen(write_bag(tmp_path / "oak", [image_entry("/oak/stereo/image_raw", "16UC1")])).notes == ()


@pytest.mark.parametrize("format_", ["JPEG", "image/jpeg", ".jpg", ""])
def test_value_a_compressed_picture_is_a_camera_whatever_its_format_is_called(tmp_path, format_):
    data = compressed_pixels(COLOURS, START_NS, "camera", ".jpg", format_)
    bag = write_bag(tmp_path / "bag", [(START_NS, "/cam/image/compressed", COMPRESSED, data)])
    assert chosen(bag).map.streams == {"rgb": "/cam/image/compressed"}


def test_value_pictures_of_a_layout_that_is_not_read_are_named_with_what_to_do(tmp_path):
    """Names of GenICam, and video in a CompressedImage."""
    message = STORE.deserialize_cdr(image_entry("/cam/image_raw", "mono8")[3], IMAGE)
    message.encoding = "BayerRG8"
    raw = (START_NS, "/cam/image_raw", IMAGE, bytes(STORE.serialize_cdr(message, IMAGE)))
    packet = STORE.types[COMPRESSED](message.header, "h264", np.array([0, 0, 0, 1, 0x67], np.uint8))
    video = (START_NS, "/cam/video", COMPRESSED, bytes(STORE.serialize_cdr(packet, COMPRESSED)))
    bag = write_bag(tmp_path / "bag", [raw, video, *lidar_entries(1)])
    told = "\n".join(chosen(bag).notes)
    assert "/cam/image_raw" in told and "'BayerRG8'" in told and "rgb8" in told
    assert "/cam/video" in told and "'h264'" in told and "jpeg" in told
    with user_error("bag-sensor-missing", "BayerRG8"), open_bag(write_bag(tmp_path / "alone", [raw])):
        pass
    sound = image_entry("/other/image_raw", "rgb8", 1)
    assert chosen(write_bag(tmp_path / "both", [raw, sound])).notes == ()


@pytest.mark.parametrize(
    ("kind", "way_out"),
    [
        ("velodyne_msgs/msg/VelodyneScan", "velodyne_pointcloud"),
        ("ouster_sensor_msgs/msg/PacketMsg", "ouster_ros"),
        ("ouster_ros/msg/PacketMsg", "ouster_ros"),
        ("hesai_ros_driver/msg/UdpFrame", "Hesai"),
        ("rslidar_msg/msg/RslidarPacket", "rslidar_sdk"),
        ("nebula_msgs/msg/NebulaPackets", "nebula_ros"),
        ("point_cloud_interfaces/msg/CompressedPointCloud2", "point_cloud_transport"),
        ("ffmpeg_image_transport_msgs/msg/FFMPEGPacket", "image_transport"),
        ("foxglove_msgs/msg/CompressedImage", "sensor_msgs/Image"),
        ("foxglove_msgs/msg/PointCloud", "sensor_msgs/PointCloud2"),
        ("sensor_msgs/msg/PointCloud", "point_cloud_converter"),
        ("sensor_msgs/msg/LaserScan", "laser_geometry"),
    ],
)
def test_value_packets_of_a_driver_are_named_with_what_to_do(tmp_path, kind, way_out):
    entry = (START_NS + 5, "/driver/packets", kind, b"\0\1\0\0\1\0\0\0")
    bag = write_bag(tmp_path / "bag", [image_entry("/left/depth", "16UC1"), entry])
    (note,) = chosen(bag).notes
    assert note.startswith(f"/driver/packets: {kind} is not read") and way_out in note
    alone = write_bag(tmp_path / "alone", [entry])
    with user_error("bag-sensor-missing", "/driver/packets", way_out), open_bag(alone):
        pass


def test_value_disparity_alone_is_named_with_what_to_do(tmp_path):
    entry = (START_NS + 5, "/stereo/disparity", "stereo_msgs/msg/DisparityImage", b"\0\1\0\0\1\0\0\0")
    (note,) = chosen(write_bag(tmp_path / "bag", [image_entry("/cam/image", "rgb8"), entry])).notes
    assert "/stereo/disparity" in note and "no depth" in note and "32FC1" in note
    depth = image_entry("/left/depth", "32FC1", 1)
    assert chosen(write_bag(tmp_path / "both", [image_entry("/cam/image", "rgb8"), entry, depth])).notes == ()


@pytest.mark.parametrize(
    ("fields", "told"),
    [("x y z rgb", "a depth camera"), ("x y z rcs", "a radar"), ("x y z intensity rgb", ""), ("x y z ring time", "")],
)
def test_value_points_of_a_depth_camera_or_a_radar_that_are_read_as_lidar_are_told(tmp_path, fields, told):
    """Azure Kinect's /points2, ZED's cloud_registered, the driver of an ARS 408."""
    make, names = STORE.types, fields.split()
    header = make["std_msgs/msg/Header"](make["builtin_interfaces/msg/Time"](START_NS // 10**9, 0), "sensor")
    columns = [make["sensor_msgs/msg/PointField"](name, 4 * k, 7, 1) for k, name in enumerate(names)]
    data, step = np.ones(4 * len(names) * 30, np.uint8), 4 * len(names)
    cloud = make[CLOUD](header, 1, 30, columns, False, step, 30 * step, data, True)
    bag = write_bag(tmp_path / "bag", [(START_NS, "/points2", CLOUD, bytes(STORE.serialize_cdr(cloud, CLOUD)))])
    found = chosen(bag)
    assert found.map.streams == {"lidar": "/points2"}
    assert len(found.notes) == bool(told)
    assert all(told in note and "--topic lidar=none" in note for note in found.notes)
    assert chosen(bag, "lidar=/points2").notes == ()


def test_value_types_of_foxglove_alone_are_an_error_with_a_way_out(tmp_path):
    def add_foreign(writer):
        for topic, kind in (("/image", "foxglove.CompressedImage"), ("/strange", "acme.Picture")):
            schema = writer.register_schema(kind, "protobuf", b"\x0a\x10abc")
            channel = writer.register_channel(topic, "protobuf", schema)
            writer.add_message(channel, START_NS, b"\1\2", START_NS)

    path = write_mcap(tmp_path / "drive.mcap", [], more=add_foreign)
    with user_error("bag-sensor-missing", "/image", "foxglove.CompressedImage", "sensor_msgs/Image",
                    "/strange: serialised as protobuf"), open_bag(path):  # fmt: skip
        pass


def test_value_packets_beside_the_points_that_were_made_of_them_are_no_news(tmp_path):
    entry = (START_NS + 10**9, "/velodyne_packets", "velodyne_msgs/msg/VelodyneScan", b"\0\1\0\0\1\0\0\0")
    assert chosen(write_bag(tmp_path / "bag", [*lidar_entries(2), entry])).notes == ()
