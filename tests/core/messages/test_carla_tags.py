"""CARLA's two profiles, from messages in their exact layouts to planes, and its semantic tags.

bridge: carla_ros_bridge with CARLA 0.9.13. native: CARLA 0.9.16 started with --ros2, with its wrong K, its packed depth
and its broken event cloud.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from raised import user_error

from any2seg_core.base.errors import MessageError
from any2seg_core.messages.carla_tags import (
    CARLA_0_9_10,
    CARLA_0_9_14,
    is_scorable,
    semantic_cloud_to_train,
    semantic_to_train,
    tag_list,
)
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.vocabulary.labels import DELIVER

W, H, FOV = 80, 60, 90.0
STAMP_NS = 12_350_000_000  # simulated seconds since the start of the world
FOCAL = W / (2 * math.tan(math.radians(FOV) / 2))
LIDAR_TO_CAMERA = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
DEPTH_M = np.full((H, W), 1000.0)  # sky
DEPTH_M[30:] = np.linspace(40, 4, 30)[:, None]
POINTS = np.array([[8 + 0.1 * k, 3 - 0.25 * k, -0.5, 0.5 + 0.01 * k] for k in range(30)], np.float32)
EVENTS = [(10 + 2 * k, 20 + k, STAMP_NS - 40_000_000 + k * 10**6, k % 2) for k in range(30)]
RNG = np.random.default_rng(2)
RGB = RNG.integers(0, 256, (H, W, 3), dtype=np.uint8)


def header(frame_id):
    stamp = SimpleNamespace(sec=STAMP_NS // 10**9, nanosec=STAMP_NS % 10**9)
    return SimpleNamespace(stamp=stamp, frame_id=frame_id)


def image(pixels, encoding, frame_id):
    pixels = np.ascontiguousarray(pixels)
    return SimpleNamespace(header=header(frame_id), height=H, width=W, encoding=encoding, is_bigendian=0,
                           step=pixels[0].nbytes, data=pixels.tobytes())  # fmt: skip


def bgra(rgb):
    return np.dstack([rgb[..., ::-1], np.full((H, W), 255, np.uint8)])


def cloud(records, fields, frame_id, **changes):
    fields = [SimpleNamespace(name=n, offset=o, datatype=d, count=1) for n, o, d in fields]
    step = records.dtype.itemsize
    values = {
        "header": header(frame_id), "height": 1, "width": len(records), "fields": fields, "is_bigendian": False,
        "point_step": step, "row_step": step * len(records), "data": records.tobytes(), "is_dense": False,
    }  # fmt: skip
    return SimpleNamespace(**{**values, **changes})


def camera_info(focal, frame_id):
    K = [focal, 0, W / 2, 0, focal, H / 2, 0, 0, 1]
    return SimpleNamespace(
        header=header(frame_id), height=H, width=W, distortion_model="plumb_bob", d=[0.0] * 5, k=K,
        r=np.eye(3).ravel().tolist(), p=[focal, 0, W / 2, 0, 0, focal, H / 2, 0, 0, 0, 1, 0], binning_x=0, binning_y=0,
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False),
    )  # fmt: skip


def lidar(frame_id):
    names = ("x", "y", "z", "intensity")
    records = POINTS.view([(n, "<f4") for n in names])[:, 0]
    return cloud(records, [(n, 4 * k, 7) for k, n in enumerate(names)], frame_id)


def bridge():
    """The bridge: 32FC1 metres, sky at 1000 m, float64 event times in nanoseconds, correct camera_info."""
    events = np.array(EVENTS, [("x", "<u2"), ("y", "<u2"), ("t", "<f8"), ("pol", "i1")])
    fields = [("x", 0, 4), ("y", 2, 4), ("t", 4, 8), ("pol", 12, 1)]
    return {
        "rgb": image(bgra(RGB), "bgra8", "ego_vehicle/rgb_front"),
        "depth": image(DEPTH_M.astype("<f4"), "32FC1", "ego_vehicle/depth_front"),
        "event": cloud(events, fields, "ego_vehicle/dvs_front"),
        "lidar": lidar("ego_vehicle/lidar"),
    }


def native():
    """0.9.16: depth as 24 bits in bgra8, int64 event times declared FLOAT64, names shifted, width in bytes."""
    code = np.rint(DEPTH_M / 1000 * (2**24 - 1)).astype(np.uint32)
    packed = np.stack([code >> 16, code >> 8 & 255, code & 255, np.full((H, W), 255)], -1).astype(np.uint8)
    events = np.array(EVENTS, [("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("pol", "i1")])
    fields = [("x", 0, 4), ("y", 2, 4), ("pol", 12, 1), ("", 0, 0)]
    size = events.nbytes
    return {
        "rgb": image(bgra(RGB), "bgra8", "rgb_front"),
        "depth": image(packed, "bgra8", "depth_front"),
        "event": cloud(events, fields, "dvs_front", width=size, row_step=size, is_dense=True),
        "lidar": lidar("lidar"),
    }


@pytest.fixture()
def builders():
    """One with what the bridge's camera_info says, one with a calibration file, as 0.9.16 needs."""
    by_info = FrameBuilder(Calibration(CameraModel.from_fov(W, H, 70.0), lidar_to_camera=LIDAR_TO_CAMERA))
    assert by_info.set_camera_info("rgb", camera_info(FOCAL, "ego_vehicle/rgb_front")).changed
    by_file = FrameBuilder(Calibration(by_info.rig.calibration.camera, lidar_to_camera=LIDAR_TO_CAMERA))
    return by_info, by_file


def test_value_both_profiles_give_the_same_planes(builders):
    by_info, by_file = builders
    camera = by_file.rig.calibration.camera
    by_file.set_camera("rgb", CameraModel(W, H, camera.K))  # a file that names no frame
    one = by_info.build({name: [msg] for name, msg in bridge().items()}, STAMP_NS)
    other = by_file.build({name: [msg] for name, msg in native().items()}, STAMP_NS)
    assert one.errors == other.errors == {}
    assert list(one.planes) == list(other.planes) == ["rgb", "depth", "event", "lidar"]
    for name in ("rgb", "event", "lidar"):
        np.testing.assert_array_equal(one.planes[name], other.planes[name])
    assert np.abs(one.samples["depth"] - other.samples["depth"]).max() <= 1000 / (2**24 - 1)  # one of 24 bits
    np.testing.assert_allclose(one.planes["depth"][..., :2], other.planes["depth"][..., :2], atol=1)
    np.testing.assert_array_equal(one.planes["rgb"], RGB)


def test_value_planes_show_what_the_messages_hold(builders):
    planes = builders[0].build({name: [msg] for name, msg in bridge().items()}, STAMP_NS).planes
    assert (planes["depth"][:30] == 0).all() and (planes["depth"][30:, :, 0] > 0).all()  # 1000 m is the sky
    for x, y, _, pol in EVENTS:
        assert planes["event"][y, x, 0 if pol else 1] == 40
    assert np.count_nonzero(planes["event"].any(axis=2)) == len(EVENTS)
    column = np.rint(W / 2 + FOCAL * -POINTS[:, 1] / POINTS[:, 0]).astype(int)
    row = np.rint(H / 2 + FOCAL * -POINTS[:, 2] / POINTS[:, 0]).astype(int)
    assert (planes["lidar"][row, column, 0] > 0).all()


def test_value_wrong_k_of_0_9_16_is_refused_and_the_file_stays_in_use(builders):
    by_file = builders[1]
    before = by_file.rig.calibration.camera
    with user_error("message-value", "289307", "80 px"):
        by_file.set_camera_info("rgb", camera_info(289307.0, "rgb_front"))
    assert by_file.rig.calibration.camera is before


def k_of_0_9_16(fov_deg: int) -> float:
    """Focal length as CARLA 0.9.16 computes it (carla#9462): of degrees taken for radians, and without half of them."""
    return W / (2 * math.tan(fov_deg) * math.pi / 360)


def test_value_wrong_k_of_0_9_16_is_refused_for_every_field_of_view_when_there_is_a_file():
    """Alone by its size it passes for some: a dozen of them lie between 5 and 25 times the width."""
    alone = []
    for fov_deg in range(20, 171):
        wrong = camera_info(k_of_0_9_16(fov_deg), "rgb_front")
        by_file = FrameBuilder(Calibration(CameraModel.from_fov(W, H, fov_deg)))
        before = by_file.rig.calibration.camera
        with pytest.raises(MessageError):
            by_file.set_camera_info("rgb", wrong)
        assert by_file.rig.calibration.camera is before
        try:
            alone.append((fov_deg, CameraModel.from_camera_info(wrong).K[0, 0] / W))
        except MessageError:
            continue
    usual = {fov: widths for fov, widths in alone if 40 <= fov < 130}
    assert list(usual) == [42, 58, 61, 64, 80, 83, 86, 102, 105, 108, 124, 127]
    assert all(5 < widths < 26 for widths in usual.values())


def test_value_tags_in_the_order_of_deliver():
    table = CARLA_0_9_10.to_train()
    assert table[1:23].tolist() == list(range(22)) and table[0] == 255 and (table[23:] == 255).all()


def test_value_tags_since_0_9_14():
    table = CARLA_0_9_14.to_train()
    by_name = {"Roads": "Road", "Rider": None, "Train": None, "Motorcycle": "TwoWheeler", "Bicycle": "TwoWheeler",
               "Truck": "Truck", "Bus": "Bus", "GuardRail": "GroundRail", "RoadLines": "RoadLine"}  # fmt: skip
    for tag, (name, _, _) in CARLA_0_9_14.tags.items():
        if name in by_name:
            assert table[tag] == (255 if by_name[name] is None else DELIVER.id(by_name[name]))
    assert table[0] == table[29] == 255 and len(CARLA_0_9_14.tags) == 29
    assert CARLA_0_9_14.to_train("TwoWheeler")[13] == DELIVER.id("TwoWheeler")
    with user_error("value-unknown", "'car'"):
        CARLA_0_9_14.to_train("car")


def test_value_which_classes_can_be_scored():
    assert [DELIVER.classes[k] for k in np.flatnonzero(~is_scorable(CARLA_0_9_10))] == ["TwoWheeler", "Bus", "Truck"]
    assert is_scorable(CARLA_0_9_14).all()


@pytest.mark.parametrize("tags", [CARLA_0_9_10, CARLA_0_9_14], ids=lambda t: t.name)
def test_value_palette_and_red_channel_agree(tags):
    drawn = RNG.integers(0, len(tags.tags), (H, W)).astype(np.uint8)
    colours = np.array([tags.tags[tag][1] for tag in range(len(tags.tags))], np.uint8)
    by_palette = semantic_to_train(image(bgra(colours[drawn]), "bgra8", "s"), tags, "palette")
    red = np.dstack([np.zeros((H, W, 2), np.uint8), drawn, np.full((H, W), 255, np.uint8)])
    by_tag = semantic_to_train(image(red, "bgra8", "s"), tags, "tag")
    np.testing.assert_array_equal(by_palette, tags.to_train()[drawn])
    np.testing.assert_array_equal(by_tag, by_palette)


def test_value_colours_of_deliver_are_those_of_0_9_13():
    for name, colour, deliver in CARLA_0_9_10.tags.values():
        assert name == "Unlabeled" or DELIVER.colours[DELIVER.id(deliver)] == colour


def test_exception_wrong_version_or_coding():
    drawn = np.full((H, W), 28, np.uint8)
    red = image(np.dstack([np.zeros((H, W, 2), np.uint8), drawn, drawn]), "bgra8", "s")
    with user_error("message-value", "100%", "tag", "0.9.10"):
        semantic_to_train(red, CARLA_0_9_10, "tag")
    with user_error("message-value", "palette"):
        semantic_to_train(red, CARLA_0_9_14, "palette")
    with user_error("value-unknown", "'id'"):
        semantic_to_train(red, CARLA_0_9_14, "id")


@pytest.mark.parametrize(("version", "tags"), [("0.9.10", CARLA_0_9_10), ("0.9.13", CARLA_0_9_10),
                                               ("0.9.14", CARLA_0_9_14), ("0.9.16", CARLA_0_9_14)])  # fmt: skip
def test_value_versions(version, tags):
    assert tag_list(version) is tags


@pytest.mark.parametrize("version", ["0.9.9", "0.8.4", "latest", "", "0.9"])
def test_exception_versions(version):
    with user_error("value-unknown", "CARLA"):
        tag_list(version)


SEMANTIC_POINT = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("CosAngle", "<f4"), ("ObjIdx", "<u4"), ("ObjTag", "<u4")]
)


def semantic_cloud(tags):
    """Points in a row, in the layout of carla_ros_bridge's semantic LiDAR."""
    records = np.zeros(len(tags), SEMANTIC_POINT)
    records["x"], records["z"], records["ObjTag"] = 10 + np.arange(len(tags)), -1.5, tags
    kinds = {"f": 7, "u": 6}
    fields = [(name, offset, kinds[dtype.kind]) for name, (dtype, offset) in SEMANTIC_POINT.fields.items()]
    return cloud(records, fields, "ego_vehicle/semantic_lidar")


def test_value_semantic_lidar_tags_to_train_ids():
    points, labels = semantic_cloud_to_train(semantic_cloud([1, 14, 0, 13, 24]), CARLA_0_9_14)
    assert points.dtype == np.float32 and points[:, 0].tolist() == [10, 11, 12, 13, 14]
    assert labels.tolist() == [DELIVER.id("Road"), DELIVER.id("Cars"), 255, 255, DELIVER.id("RoadLine")]
    older = semantic_cloud_to_train(semantic_cloud([7, 10, 6]), CARLA_0_9_10)[1]
    assert older.tolist() == [DELIVER.id("Road"), DELIVER.id("Cars"), DELIVER.id("RoadLine")]
    assert semantic_cloud_to_train(semantic_cloud([13]), CARLA_0_9_14, "Pedestrian")[1].tolist() == [3]
    assert semantic_cloud_to_train(semantic_cloud([]), CARLA_0_9_14)[1].shape == (0,)


def test_exception_semantic_lidar_of_another_version_or_none():
    with user_error("message-value", "40%", "0.9.10-0.9.13"):
        semantic_cloud_to_train(semantic_cloud([1, 28, 300, 7, 7]), CARLA_0_9_10)
    plain = cloud(POINTS.view([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("i", "<f4")])[:, 0],
                  [("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("intensity", 12, 7)], "lidar")  # fmt: skip
    with user_error("message-layout", "ObjTag"):
        semantic_cloud_to_train(plain, CARLA_0_9_14)


def test_value_tags_there_and_back():
    tags = CARLA_0_9_14.from_train()
    ids = np.arange(len(DELIVER))
    assert CARLA_0_9_14.to_train()[tags[ids]].tolist() == ids.tolist()
    assert tags[255] == tags[254] == 0
