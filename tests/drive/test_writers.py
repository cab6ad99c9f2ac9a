"""The two writers: DELIVER's folder layout read back, the bag read back with rosbags."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from raised import user_error

pytest.importorskip("open3d")

from rosbags.highlevel import AnyReader
from scipy.spatial.transform import Rotation
from small_rig import small_rig

from any2seg_core.data.catalogue import open_dataset
from any2seg_core.data.deliver import DeliverDataset
from any2seg_core.data.deliver_files import LIDAR_LABELS
from any2seg_core.data.recording_truth import TruthCoding, cloud_truth
from any2seg_core.data.sparse import SparseConfig
from any2seg_core.messages import (
    cloud_to_events,
    cloud_to_points,
    image_to_array,
    image_to_depth_m,
    image_to_rgb,
    serialise,
)
from any2seg_core.sensors.calibration import load_calibration
from any2seg_core.sensors.lidar import project_labels
from any2seg_core.sensors.rig import SensorRig
from any2seg_drive.bag_writer import CLOCK_START_NS, SEMANTIC_LIDAR, TOPICS, _first_drive, write_bag
from any2seg_drive.deliver_writer import pack_depth, plan_sequences, write_deliver
from any2seg_drive.rig import DriveRig, StreamTiming
from any2seg_drive.simulator import Drive

SMALL = small_rig(("ego_vehicle/rgb_front", "ego_vehicle/depth_front", "ego_vehicle/dvs_front"))


@pytest.fixture(scope="module")
def deliver(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "drive"
    return write_deliver(root, "val", 2, 2, seed=7, failure_share=1.0, rig=SMALL, progress=False)


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bags") / "drive"
    segments = [(0.6, "sunny"), (0.3, "night")]
    return write_bag(path, segments, seed=7, split="val", rig=SMALL, progress=False, semantic_lidar=True)


@pytest.fixture(scope="module")
def messages(bag: Path) -> dict[str, list]:
    """Topic -> [(bag time, connection, message)]."""
    found: dict[str, list] = {}
    with AnyReader([bag]) as reader:
        for connection, stamp, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            found.setdefault(connection.topic, []).append((stamp, connection, message))
    return found


def header_ns(message) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def test_value_layout_is_delivers_and_lidar_labels(deliver: Path):
    plan = plan_sequences("val", 2, 2, 7, 0.7, 1.0, SMALL)
    expected = {"drive_val.json"}
    own = ("depth", "lidar", "event", "semantic", LIDAR_LABELS)
    suffixes = {"img": "rgb", "hha": "depth"} | {name: name for name in own}
    for sequence, folder in zip(plan, ("cloud", "fog"), strict=True):
        name = f"MAP_{sequence.town}_point{sequence.first}_{sequence.failure}"
        for top, suffix in suffixes.items():
            for number in (sequence.first, sequence.first + 7):
                expected.add(f"{top}/{folder}/val/{name}/{number:06d}_{suffix}_front.png")
    assert {str(path.relative_to(deliver)) for path in deliver.rglob("*") if path.is_file()} == expected
    assert not list(deliver.parent.glob(".*"))
    assert json.loads((deliver / "drive_val.json").read_text())["seed"] == 7


def test_value_planes_are_those_of_the_sensor_rig_and_labels_are_shifted_by_one(deliver: Path):
    sequence = plan_sequences("val", 2, 2, 7, 0.7, 1.0, SMALL)[0]
    drive = Drive(sequence.town, "val", sequence.weather, sequence.failure, SMALL)
    raw, labels = drive.sample(sequence.first / 10)
    planes = SensorRig(SMALL.calibration()).planes(raw, sequence.first * 100_000_000)
    sample = DeliverDataset(deliver, "val")[0]
    assert sample.frame.sequence == sequence.folder.rsplit("/", 1)[1] and sample.frame.failure == sequence.failure
    for name, plane in planes.items():
        np.testing.assert_array_equal(sample.planes[name], plane, err_msg=name)
    np.testing.assert_array_equal(sample.labels, labels)
    path = min((deliver / "semantic/cloud/val").rglob("*.png"))
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., 2]
    assert stored.shape == (75, 97) and stored.max() <= 25
    packed = cv2.imread(str(min((deliver / "depth/cloud/val").rglob("*.png"))), cv2.IMREAD_UNCHANGED)[..., ::-1]
    metres = packed.astype(float) @ [1, 256, 65536] / (2**24 - 1) * 1000
    np.testing.assert_allclose(metres, raw["depth"], atol=1e-4)


def test_value_labels_of_lidar_points_agree_with_the_dense_truth(deliver: Path):
    """Inside regions: at their edges 15 ms and the other place of the LiDAR show another thing."""
    dense = DeliverDataset(deliver, "val")
    sparse = DeliverDataset(deliver, "val", sparse=SparseConfig(kind="lidar"))
    agree, count, share = 0, 0, []
    for index in range(len(dense)):
        truth, labels = dense[index].labels, sparse[index].labels
        assert set(np.unique(labels)) <= {*range(25), 254}
        ones = np.ones((3, 3), np.uint8)
        inside = cv2.erode(truth, ones) == cv2.dilate(truth, ones)
        hit = labels != 254
        share.append(hit.mean())
        if sparse.frames[index].failure != "lidarjitter":
            agree += int(((labels == truth) & hit & inside).sum())
            count += int((hit & inside).sum())
    assert 0.02 < min(share) < max(share) < 0.2
    assert count > 200
    assert agree > 0.95 * count


def test_value_without_files_of_its_own_the_plane_says_where_points_are(deliver: Path, tmp_path: Path, caplog):
    for top in ("img", "hha", "lidar", "event", "semantic"):
        (tmp_path / top).symlink_to(deliver / top)
    frames = DeliverDataset(tmp_path, "val", sparse=SparseConfig(kind="lidar"))
    assert "has no labels of LiDAR points" in caplog.text
    labels, plane = frames[0].labels, frames[0].planes["lidar"]
    hit = labels != 254
    assert np.array_equal(labels[hit], frames.read_labels(frames.frames[0])[hit])
    assert 0.03 < hit.mean() < 0.5 * plane.any(axis=2).mean()


def test_value_depth_packing_by_hand():
    packed = pack_depth(np.array([[0.0, 1000.0, 500.0, 2000.0]]))
    np.testing.assert_array_equal(packed[0], [[0, 0, 0], [255, 255, 255], [0, 0, 128], [255, 255, 255]])


def test_property_plan_takes_the_weathers_in_turn_and_failures_by_share():
    plan = plan_sequences("train", 400, 25, 0, 0.7, 0.3, DriveRig())
    assert [s.weather for s in plan[:6]] == ["cloudy", "foggy", "night", "rainy", "sunny", "cloudy"]
    assert len({s.town for s in plan}) == 400 and len({s.failure for s in plan}) == 6
    assert 0.2 < np.mean([s.failure is not None for s in plan]) < 0.4
    assert all(s.first >= 10 and s.first + 24 * s.step < 1200 for s in plan)
    assert plan == plan_sequences("train", 400, 25, 0, 0.7, 0.3, DriveRig())


def test_exception_targets_and_numbers(deliver: Path, tmp_path: Path):
    with user_error("output-exists"):
        write_deliver(deliver, "val", 1, 1, progress=False)
    with user_error("value-unknown", "exam"):
        write_deliver(tmp_path / "x", "exam", progress=False)
    with user_error("output-unwritable", "img"):
        write_deliver(tmp_path / "img" / "x", progress=False)
    with user_error("value-range", "failure_share"):
        write_deliver(tmp_path / "x", failure_share=2.0, progress=False)
    with user_error("drive-too-short", "frames=900"):
        write_deliver(tmp_path / "x", frames=900, progress=False)
    assert not (tmp_path / "x").exists()


def test_exception_places_that_cannot_be_written_are_told_before_rendering(tmp_path: Path, monkeypatch):
    (tmp_path / "file").write_bytes(b"x")
    monkeypatch.setattr("any2seg_drive.deliver_writer.Drive", lambda *_: 1 / 0)
    with user_error("output-unwritable", "file"):
        write_deliver(tmp_path / "file", "val", 1, 1, progress=False)
    for write in (write_deliver, write_bag):
        with user_error("output-unwritable"):
            write(tmp_path / "file" / "drive", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_exception_leaves_nothing_half_written(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("any2seg_drive.deliver_writer.Drive", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_deliver(tmp_path / "drive", "val", 1, 1, rig=SMALL, progress=False)
    assert not list(tmp_path.iterdir())


def test_value_bag_topics_types_rates_and_order(bag: Path, messages):
    types = {topic: entries[0][1].msgtype for topic, entries in messages.items()}
    assert types == TOPICS | {SEMANTIC_LIDAR: "sensor_msgs/msg/PointCloud2"}
    for topic in ("rgb_front/image", "depth_front/image", "lidar", "semantic_lidar", "semantic_front/image"):
        assert len(messages[f"/carla/ego_vehicle/{topic}"]) == 9, topic
    assert len(messages["/carla/ego_vehicle/dvs_front/events"]) == len(messages["/clock"]) == 18
    assert len(messages["/tf_static"]) == 1
    with AnyReader([bag]) as reader:
        stamps = [stamp for _, stamp, _ in reader.messages()]
    assert stamps == sorted(stamps) and stamps[0] == CLOCK_START_NS == 100_000_000_000
    for topic, entries in messages.items():
        if topic not in ("/clock", "/tf", "/tf_static"):
            assert all(stamp == header_ns(message) for stamp, _, message in entries)
    phase = {"rgb_front/image": 0, "depth_front/image": 3_000_000, "lidar": 85_000_000}
    for topic, offset in phase.items():
        assert all(s % 100_000_000 == offset for s, _, _ in messages[f"/carla/ego_vehicle/{topic}"])
    assert (bag / f"{bag.name}.mcap").is_file() and not list(bag.parent.glob(".*"))


def test_value_bag_says_where_the_vehicle_is(messages):
    poses = [(stamp, *message.transforms) for stamp, _, message in messages["/tf"]]
    assert [stamp for stamp, _ in poses] == [stamp for stamp, _, _ in messages["/clock"]]
    assert {(pose.header.frame_id, pose.child_frame_id) for _, pose in poses} == {("map", "ego_vehicle")}
    assert all(stamp == header_ns(pose) for stamp, pose in poses)
    places = np.array([[getattr(pose.transform.translation, axis) for axis in "xyz"] for _, pose in poses])
    assert (places[:, 2] == 0.0).all()
    speeds = np.linalg.norm(np.diff(places, axis=0), axis=1) / 0.05
    assert 0.0 < speeds.max() < 20.0


def test_value_bag_encodings_steps_and_frames(messages):
    images = {"rgb_front": ("bgra8", 4), "depth_front": ("32FC1", 4), "semantic_front": ("mono8", 1)}
    for name, (encoding, size) in images.items():
        message = messages[f"/carla/ego_vehicle/{name}/image"][0][2]
        assert (message.encoding, message.height, message.width, message.step) == (encoding, 75, 97, 97 * size)
        assert message.header.frame_id == f"ego_vehicle/{name}" and len(message.data) == 75 * 97 * size
    cloud = messages["/carla/ego_vehicle/lidar"][0][2]
    assert [(f.name, f.offset, f.datatype) for f in cloud.fields] == [
        ("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("intensity", 12, 7)]  # fmt: skip
    assert cloud.point_step == 16 and cloud.header.frame_id == "ego_vehicle/lidar"
    events = messages["/carla/ego_vehicle/dvs_front/events"][0][2]
    assert [(f.name, f.offset, f.datatype) for f in events.fields] == [
        ("x", 0, 4), ("y", 2, 4), ("t", 4, 8), ("pol", 12, 1)]  # fmt: skip
    assert events.point_step == 13 and len(events.data) == 13 * events.width == events.row_step
    info = messages["/carla/ego_vehicle/depth_front/camera_info"][0][2]
    np.testing.assert_allclose(info.k.reshape(3, 3), SMALL.depth_camera.K)
    np.testing.assert_allclose(info.p.reshape(3, 4)[:, :3], SMALL.depth_camera.K)
    assert info.distortion_model == "plumb_bob" and not info.d.any()
    assert info.header.frame_id == "ego_vehicle/depth_front"


def test_value_semantic_lidar_is_the_lidar_with_tags_and_gives_sparse_truth(messages):
    """In CARLA's layout; projected with the calibration it is what the folder of the drive would hold."""
    drive = _first_drive(7, "val").with_conditions("sunny", None, SMALL)
    stamp, _, message = messages[SEMANTIC_LIDAR][2]
    assert [(f.name, f.offset, f.datatype) for f in message.fields] == [
        ("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("CosAngle", 12, 7), ("ObjIdx", 16, 6), ("ObjTag", 20, 6)]  # fmt: skip
    assert (message.point_step, message.header.frame_id) == (24, "ego_vehicle/semantic_lidar")
    points, labels = drive.lidar((stamp - CLOCK_START_NS + 1_000_000_000) / 1e9)
    np.testing.assert_array_equal(cloud_to_points(message)[:, :3], points[:, :3])
    calibration = SMALL.calibration()
    coding = TruthCoding("tag", "0.9.14")
    truth = cloud_truth(message, SEMANTIC_LIDAR, coding, calibration)
    expected = project_labels(points, labels, calibration.lidar_to_camera, calibration.camera)
    np.testing.assert_array_equal(truth, expected)
    assert (truth != 255).mean() > 0.02
    with user_error("extrinsics-missing"):
        cloud_truth(message, SEMANTIC_LIDAR, coding, replace(calibration, lidar_to_camera=None))
    with user_error("message-layout", "/lidar", "ObjTag"):
        cloud_truth(messages["/carla/ego_vehicle/lidar"][0][2], "/lidar", coding, calibration)


def test_value_bag_holds_what_the_sensors_said(messages):
    drive = _first_drive(7, "val").with_conditions("sunny", None, SMALL)
    shift_ns = CLOCK_START_NS - 1_000_000_000
    topic = "/carla/ego_vehicle/"
    stamp, _, message = messages[topic + "rgb_front/image"][3]
    rgb, _, labels = drive.camera((stamp - shift_ns) / 1e9)
    np.testing.assert_array_equal(image_to_rgb(message), rgb)
    np.testing.assert_array_equal(image_to_array(messages[topic + "semantic_front/image"][3][2]), labels)
    stamp, _, message = messages[topic + "depth_front/image"][3]
    np.testing.assert_array_equal(image_to_depth_m(message), drive.depth((stamp - shift_ns) / 1e9))
    stamp, _, message = messages[topic + "lidar"][3]
    np.testing.assert_array_equal(cloud_to_points(message), drive.lidar((stamp - shift_ns) / 1e9)[0])
    stamp, _, message = messages[topic + "dvs_front/events"][5]
    expected = drive.events((stamp - shift_ns) / 1e9 - 0.05, (stamp - shift_ns) / 1e9)
    events = cloud_to_events(message)
    np.testing.assert_array_equal(events["t"], expected["t"] + shift_ns)
    assert events["t"].min() >= stamp - 50_000_000 and events["t"].max() < stamp
    np.testing.assert_array_equal(events["x"], expected["x"])
    np.testing.assert_array_equal(events["p"] > 0, expected["p"] > 0)
    bright = [image_to_rgb(m).mean() for _, _, m in messages[topic + "rgb_front/image"]]
    assert max(bright[6:]) < 0.8 * min(bright[:6])


def test_value_bag_says_its_weather(bag: Path):
    """0.6 s of sun, then night, as frames of a data set are counted."""
    dataset = open_dataset("auto", bag, "train", cache="ram")
    assert [dataset.condition(frame) for frame in dataset.frames] == [
        "sun" if frame.time_s < 0.6 else "night" for frame in dataset.frames
    ]
    assert {dataset.condition(frame) for frame in dataset.frames} == {"sun", "night"}


def test_value_bag_calibration_and_transforms_agree_with_the_rig(bag: Path, messages):
    calibration = load_calibration(bag / "calibration.yaml")
    expected = SMALL.calibration()
    np.testing.assert_allclose(calibration.lidar_to_camera, expected.lidar_to_camera, atol=1e-9)
    transforms = {t.child_frame_id: t for t in messages["/tf_static"][0][2].transforms}
    assert {t.header.frame_id for t in transforms.values()} == {"ego_vehicle"}

    def matrix(name):
        rotation, shift = transforms[name].transform.rotation, transforms[name].transform.translation
        result = np.eye(4)
        result[:3, :3] = Rotation.from_quat([rotation.x, rotation.y, rotation.z, rotation.w]).as_matrix()
        result[:3, 3] = shift.x, shift.y, shift.z
        return result

    lidar_to_camera = np.linalg.inv(matrix("ego_vehicle/rgb_front")) @ matrix("ego_vehicle/lidar")
    assert calibration.lidar_frame == "ego_vehicle/lidar"
    np.testing.assert_allclose(lidar_to_camera, expected.lidar_to_camera, atol=1e-9)
    event_to_camera = np.linalg.inv(matrix("ego_vehicle/rgb_front")) @ matrix("ego_vehicle/dvs_front")
    np.testing.assert_allclose(event_to_camera, expected.event_to_camera, atol=1e-9)


@pytest.mark.parametrize(
    "arguments, told",
    [
        ({"segments": [(1.0, "hail")]}, ("value-unknown", "'hail'", "rainy")),
        ({"segments": []}, ("value-range",)),
        ({"segments": [(500.0, "sunny")]}, ("drive-too-short", "500.0")),
        ({"segments": [(float("nan"), "sunny")]}, ("value-range", "nan")),
        ({"segments": [(float("inf"), "sunny")]}, ("value-range", "inf")),
        ({"split": "exam"}, ("value-unknown", "exam")),
    ],
)
def test_exception_bag_requests(tmp_path: Path, arguments: dict, told: tuple[str, ...]):
    with user_error(*told):
        write_bag(tmp_path / "bag", progress=False, **arguments)
    assert not list(tmp_path.iterdir())


def test_exception_existing_bag(bag: Path):
    with user_error("output-exists"):
        write_bag(bag, progress=False)


def test_property_stamps_of_a_stream_partition_time():
    timing = StreamTiming(10, -15_000_000)
    whole = list(timing.stamps_ns(0, 2_000_000_000))
    assert whole[0] == 85_000_000 and len(whole) == 20
    assert whole == [*timing.stamps_ns(0, 1_234_567_890), *timing.stamps_ns(1_234_567_890, 2_000_000_000)]


def test_value_workers_end_with_a_killed_parent(tmp_path: Path):
    program = (
        "import sys, time\n"
        "from any2seg_core.base.parallel import ordered_map\n"
        "if __name__ == '__main__':\n"
        "    print('ready', flush=True)\n"
        "    list(ordered_map(time.sleep, [0.05] * 4000, 2))\n"
    )
    script = tmp_path / "jobs.py"
    script.write_text(program)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "ready\n"
        time.sleep(1.0)
        parent.kill()
        rest, _ = parent.communicate(timeout=60)  # ends when the last holder of the pipe, a worker, has ended
    assert rest == ""


def test_property_quaternion_matches_scipy():
    for rotation in Rotation.random(50, random_state=3):
        ours = serialise._quaternion(rotation.as_matrix())
        theirs = rotation.as_quat()
        np.testing.assert_allclose(ours, theirs * np.sign(theirs[3]), atol=1e-9)
