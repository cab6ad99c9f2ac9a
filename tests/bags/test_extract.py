from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from bag_files import (
    CLOUD,
    IMAGE,
    KITTI_CAMERA,
    LIDAR_TO_CAMERA,
    NS_PER_S,
    START_NS,
    STORE,
    kitti_entries,
    lidar_calibration,
    lidar_entries,
    scan,
    small_entries,
    write_bag,
    write_ros1,
)  # fmt: skip
from PIL import Image
from raised import user_error

from any2seg_core.bags.conditions import write_conditions
from any2seg_core.bags.motion import MotionGate, parse_motion
from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.base.versions import __version__
from any2seg_core.data.deliver import DeliverDataset
from any2seg_core.data.deliver_labels import read_labels
from any2seg_core.data.extract import ExtractOptions, extract
from any2seg_core.evaluation.recording.evaluate import evaluate_bag
from any2seg_core.evaluation.recording.settings import EvaluateRequest
from any2seg_core.messages import image_to_array, serialise
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.sensors.calibration import Calibration, load_calibration, save_calibration
from any2seg_core.sensors.rig import SensorRig
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.labels import DELIVER

OFFSET = "/**:\n  ros__parameters:\n    lidar: {offset_s: -0.03}\n"


@pytest.fixture()
def params(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(OFFSET)
    return path


def run(path, out, options=None, **keywords):
    with open_bag(path, options) as opened:
        return extract(opened, ExtractOptions(out, **keywords))


@pytest.mark.parametrize("write", [write_bag, write_ros1])
def test_value_kitti_like_recording(tmp_path, params, write):
    """Camera 1242x375 and a 64-beam LiDAR elsewhere, no depth, no events, no truth; planes as SensorRig makes them."""
    bag = write(tmp_path / "drive-0001.bag", kitti_entries(6))
    report = run(bag, tmp_path / "out", BagOptions(params=params))
    assert (report.sets, report.written, report.modalities) == (6, 5, ("rgb", "lidar"))
    assert report.skipped == {"without lidar": 1}
    dataset = DeliverDataset(tmp_path / "out", "train", ("rgb", "lidar"), labelled=False)
    assert len(dataset) == 5
    sample = dataset[4]
    assert sample.labels.shape == (375, 1242)
    assert (sample.labels == 254).all()
    rig = SensorRig(Calibration(KITTI_CAMERA, lidar_to_camera=LIDAR_TO_CAMERA))
    expected = rig.planes({"lidar": scan(5)}, 0)["lidar"]
    np.testing.assert_array_equal(sample.planes["lidar"], expected)
    assert sample.frame.stem == f"{START_NS + NS_PER_S // 2:019d}"
    assert dataset.encodings == {"rgb": "rgb8", "lidar": "range-intensity-height-1"}
    calibration = load_calibration(tmp_path / "out" / "calibration_train.yaml")
    np.testing.assert_allclose(calibration.lidar_to_camera, LIDAR_TO_CAMERA, atol=1e-9)
    document = json.loads((tmp_path / "out" / "bag_train.json").read_text())
    assert document["written"] == 5
    assert document["topics"]["lidar"] == "/kitti/velo/pointcloud"


@pytest.mark.parametrize("given", ["", "fog"])
def test_value_the_weather_is_that_of_the_recording_unless_one_is_given(tmp_path, given):
    """Five pictures 0.1 s apart, the first two in rain; a recording that says nothing counts as sunny."""
    bag = write_bag(tmp_path / "bag", small_entries(5))
    run(bag, tmp_path / "plain", condition=given)
    write_conditions(bag, [(0.2, "rain"), (1.0, "night")])
    run(bag, tmp_path / "out", condition=given)

    def conditions(root):
        return [frame.condition for frame in DeliverDataset(root, "train", ("rgb",), labelled=False).frames]

    assert conditions(tmp_path / "plain") == [given or "sun"] * 5
    assert sorted(conditions(tmp_path / "out")) == sorted([given] * 5 if given else ["rain"] * 2 + ["night"] * 3)


def test_value_lidar_only_recording(tmp_path):
    bag = write_bag(tmp_path / "bag", lidar_entries(5))
    plane = tmp_path / "plane.yaml"
    save_calibration(plane, lidar_calibration())
    report = run(bag, tmp_path / "out", BagOptions(calibration=plane), split="val", condition="night")
    assert report.written == 5
    dataset = DeliverDataset(tmp_path / "out", "val", ("lidar",), labelled=False)
    assert [sample.planes["lidar"].shape for sample in map(dataset.__getitem__, range(5))] == [(96, 160, 3)] * 5
    assert {frame.condition for frame in dataset.frames} == {"night"}
    assert {frame.failure for frame in dataset.frames} == {None}


def test_value_sets_whose_plane_is_empty_are_left_out_and_said_so(tmp_path):
    """The third and fourth sweep lie behind the virtual camera, which looks along the LiDAR's x axis."""
    entries = lidar_entries(6)
    behind = np.full((200, 4), [-5.0, 0.0, 0.0, 0.5], np.float32)
    for index in (2, 3):
        time_ns, topic, kind, _ = entries[index]
        stamp_ns = START_NS + index * NS_PER_S // 10
        entries[index] = (time_ns, topic, kind, serialise.point_cloud(behind, stamp_ns, "os_sensor"))
    plane = tmp_path / "plane.yaml"
    save_calibration(plane, lidar_calibration())
    report = run(write_bag(tmp_path / "bag", entries), tmp_path / "out", BagOptions(calibration=plane))
    assert (report.written, report.skipped) == (4, {"empty lidar": 2})
    (problem,) = report.problems
    assert problem.startswith("lidar: none of its 200 points falls into the picture: 200 behind the camera")


def labelled_entries(count=4):
    entries = small_entries(count)
    for k in range(count):
        labels = np.full((5, 7), k, np.uint8)
        labels[0, 0] = 255
        stamp_ns = START_NS + k * NS_PER_S // 10 + 1_000_000
        entries.append((stamp_ns, "/semantic/labels", IMAGE, serialise.image(labels, "mono8", stamp_ns, "camera")))
    return sorted(entries)


def test_value_labelled_recording_reads_back(tmp_path):
    bag = write_bag(tmp_path / "bag", labelled_entries())
    report = run(bag, tmp_path / "out")
    assert report.labelled and report.written == 4
    dataset = DeliverDataset(tmp_path / "out", "train", ("rgb",))
    for k in range(4):
        labels = dataset[k].labels
        assert labels[0, 0] == 255
        assert (np.delete(labels.ravel(), 0) == k).all()
    np.testing.assert_array_equal(dataset[2].planes["rgb"][0, 0], [2, 2, 2])
    for file in sorted((tmp_path / "out" / "semantic").rglob("*.png")):
        assert json.loads(Image.open(file).text["classes"])["class_map"][0] == {
            "class_id": 1, "class_name": DELIVER.classes[0], "rgb": list(DELIVER.colours[0]),
        }  # fmt: skip
    run(bag, tmp_path / "out", BagOptions(topics=["truth=none"]), split="test")  # beside the other split
    with user_error("frame-incomplete", "1600000000000000000_semantic_front.png"):
        DeliverDataset(tmp_path / "out", "test", ("rgb",))
    assert len(DeliverDataset(tmp_path / "out", "test", ("rgb",), labelled=False)) == 4


def test_value_every_nth(tmp_path):
    bag = write_bag(tmp_path / "bag", small_entries(10))
    report = run(bag, tmp_path / "out", every=4)
    stems = [frame.stem for frame in DeliverDataset(tmp_path / "out", "train", ("rgb",), labelled=False).frames]
    assert stems == [f"{START_NS + k * NS_PER_S // 10:019d}" for k in (0, 4, 8)]
    assert report.skipped == {"every n-th": 7}


def odometry(time_ns, x):
    types = STORE.types
    vector, quaternion = types["geometry_msgs/msg/Vector3"], types["geometry_msgs/msg/Quaternion"]
    point = types["geometry_msgs/msg/Point"](x, 0.0, 0.0)
    pose = types["geometry_msgs/msg/Pose"](point, quaternion(0.0, 0.0, 0.0, 1.0))
    twist = types["geometry_msgs/msg/Twist"](vector(0.0, 0.0, 0.0), vector(0.0, 0.0, 0.0))
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](*divmod(time_ns, NS_PER_S)), "odom")
    message = types["nav_msgs/msg/Odometry"](
        header, "base", types["geometry_msgs/msg/PoseWithCovariance"](pose, np.zeros(36)),
        types["geometry_msgs/msg/TwistWithCovariance"](twist, np.zeros(36)),
    )  # fmt: skip
    kind = "nav_msgs/msg/Odometry"
    return (time_ns, "/odom", kind, bytes(STORE.serialize_cdr(message, kind)))


def test_value_motion_by_odometry(tmp_path):
    """0.3 m per frame: the first, and every fourth after it, is a metre on."""
    entries = sorted(small_entries(12) + [odometry(START_NS + k * NS_PER_S // 10, 0.3 * k) for k in range(12)])
    report = run(write_bag(tmp_path / "bag", entries), tmp_path / "out", min_motion="1.0m")
    assert (report.written, report.skipped) == (3, {"too little motion": 9})


def test_value_motion_by_the_picture():
    gate = MotionGate(*parse_motion("10%"))
    black, grey, white = (np.full((40, 70, 3), value, np.uint8) for value in (0, 20, 255))
    assert [gate.passes(plane) for plane in (black, grey, white, white, black)] == [True, False, True, False, True]


@pytest.mark.parametrize("text", ["", "4", "m", "-1m", "4%%", "1e9", "nan%"])
def test_exception_motion(text):
    with user_error("value-format"):
        parse_motion(text)


def test_exception_metres_without_odometry(tmp_path):
    bag = write_bag(tmp_path / "bag", small_entries(2))
    with user_error("bag-topic-missing"):
        run(bag, tmp_path / "out", min_motion="1m")


def test_exception_targets_and_nothing_half_written(tmp_path, params):
    bag = write_bag(tmp_path / "bag", small_entries(2))
    run(bag, tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    with user_error("output-exists"):
        run(bag, tmp_path / "out")
    with user_error("value-unknown"):
        run(bag, tmp_path / "new", split="all")
    with user_error("value-unknown"):
        run(bag, tmp_path / "new", condition="hail")
    with user_error("value-range"):
        run(bag, tmp_path / "new", every=0)
    assert sorted(tmp_path.rglob("*")) == before


def test_exception_no_complete_set_says_why(tmp_path):
    early_ns = START_NS - 20 * NS_PER_S
    cloud = (early_ns, "/kitti/velo/pointcloud", CLOUD, serialise.point_cloud(scan(0), early_ns, "velo_link"))
    bag = write_bag(tmp_path / "bag", [cloud, *(e for e in kitti_entries(4) if e[2] != CLOUD)])
    # the cloud of 20 s before makes a set of its own: nothing else had spoken yet
    with user_error("bag-no-sets", "5 sets", "4 without lidar", "1 without rgb"):
        run(bag, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["bag"]
    assert run(bag, tmp_path / "out", BagOptions(modalities=["rgb"])).written == 4


def test_value_what_no_transform_reaches_is_left_out_and_told_unless_it_was_asked_for(tmp_path):
    bag = write_bag(tmp_path / "bag", kitti_entries(4, with_tf=False))
    why = "no transform from velo_link to camera_color_left in /tf_static or /tf: LiDAR cannot be used"
    with user_error("transform-unknown", "velo_link", "camera_color_left"):
        run(bag, tmp_path / "asked", BagOptions(modalities="RL"))
    assert [p.name for p in tmp_path.iterdir()] == ["bag"]
    report = run(bag, tmp_path / "out")
    assert (report.written, report.modalities) == (4, ("rgb",))
    assert why in json.loads((tmp_path / "out" / "bag_train.json").read_text())["warnings"]


def test_value_truth_that_does_not_fit_is_counted(tmp_path):
    entries = labelled_entries(3)
    index = next(k for k, e in enumerate(entries) if e[1] == "/semantic/labels")
    labels = np.full((5, 7), 40, np.uint8)
    entries[index] = (*entries[index][:3], serialise.image(labels, "mono8", entries[index][0], "camera"))
    report = run(write_bag(tmp_path / "bag", entries), tmp_path / "out")
    assert report.written == 2
    assert report.skipped == {"truth unreadable": 1}
    assert "id 40" in next(iter(report.problems))


def test_value_a_killed_writer_leaves_the_next_one_free(tmp_path, monkeypatch):
    bag = write_bag(tmp_path / "bag", small_entries(3))
    monkeypatch.setattr(cv2, "imwrite", lambda *_: False)
    with user_error("output-unwritable", "1600000000000000000_rgb_front.png"):
        run(bag, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["bag"]


def test_exception_a_target_in_the_recording_itself(tmp_path):
    bag = write_bag(tmp_path / "bag", small_entries(2))
    before = sorted(path.name for path in bag.iterdir())
    for out in (bag, bag / "data"):
        with user_error("output-is-input"):
            run(bag, out)
    assert sorted(path.name for path in bag.iterdir()) == before


def test_exception_labels_that_cannot_be_read_do_not_blame_the_synchroniser(tmp_path):
    entries = small_entries(4)
    entries += [(each[0], "/semantic/labels", *each[2:]) for each in small_entries(4)]  # grey values are no train ids
    bag = write_bag(tmp_path / "bag", sorted(entries))
    first = image_to_array(STORE.deserialize_cdr(entries[0][3], IMAGE))
    with user_error("bag-no-sets", "4 truth", f"id {first[first >= 25].min()}", "deliver-25", "0..24") as caught:
        run(bag, tmp_path / "out", BagOptions(topics=["truth=/semantic/labels"]))
    assert "synchroniser" not in str(caught.value)


@pytest.fixture(scope="module")
def save(tmp_path_factory):
    """Writes a tiny checkpoint of these sensors."""

    def written(*modalities, **encodings):
        torch.manual_seed(0)
        path = tmp_path_factory.mktemp("labels") / "tiny.safetensors"
        contract = InputContract(height=32, width=64, modalities=modalities, event_window_ns=33_000_000)
        contract = contract.model_copy(update={"encodings": contract.encodings | encodings})
        save_checkpoint(path, Any2Seg(ModelConfig(head_width=16, modalities=modalities)), contract, {})
        return path

    return written


def test_value_labels_of_a_checkpoint_lie_beside_the_planes(tmp_path, params, save):
    bag, path = write_bag(tmp_path / "drive", kitti_entries(3)), save("rgb", "lidar")
    report = run(bag, tmp_path / "out", BagOptions(params=params), labels=path)
    facts = json.loads((tmp_path / "out" / "bag_train.json").read_text())
    engine = {"name": "cpu", "version": f"any2seg {__version__}", "precision": "float32"}
    assert facts["predicted"] == {"checkpoint": "tiny.safetensors", "label_space": "deliver-25", "engine": engine}
    assert facts["event_window_ns"] == 33_000_000
    files = sorted((tmp_path / "out" / "predicted").rglob("*.png"))
    assert len(files) == report.written == 2
    frames = DeliverDataset(tmp_path / "out", "train", ("rgb", "lidar"), labelled=False)
    predictor = Predictor.load(path)
    for index, file in enumerate(files):
        planes = {name: frames.read_plane(frames.frames[index], name) for name in ("rgb", "lidar")}
        np.testing.assert_array_equal(read_labels(file), predictor(planes).labels)
        assert json.loads(Image.open(file).text["classes"])["class_map"][1]["class_name"] == DELIVER.classes[1]


def test_exception_a_checkpoint_that_lacks_a_sensor_writes_nothing(tmp_path, params, save):
    bag = write_bag(tmp_path / "drive", kitti_entries(3))
    with user_error("checkpoint-mismatch", "not lidar", "--modalities"):
        run(bag, tmp_path / "out", BagOptions(params=params), labels=save("rgb"))
    assert not (tmp_path / "out").exists()
    report = run(bag, tmp_path / "out", BagOptions(params=params, modalities="rgb"), labels=save("rgb"))
    assert report.written and report.modalities == ("rgb",)


def test_value_a_checkpoint_of_other_planes_is_named_where_it_labels_and_where_it_is_scored(tmp_path, params, save):
    """DELIVER's published LiDAR images are not what a cloud gives here: the labels are worse, and it is said."""
    bag, path = write_bag(tmp_path / "drive", kitti_entries(3)), save("rgb", "lidar", lidar="deliver-lidar")
    run(bag, tmp_path / "out", BagOptions(params=params), labels=path)
    facts = json.loads((tmp_path / "out" / "bag_train.json").read_text())
    result = evaluate_bag(EvaluateRequest(bag=bag, checkpoint=path, params=params, out=tmp_path / "scores"))
    for warnings in (facts["warnings"], result.warnings):
        (note,) = (line for line in warnings if "deliver-lidar" in line)
        assert note.startswith("lidar: ")


def test_value_moments_of_a_list_are_extracted_and_no_others(tmp_path, params):
    bag, moments = write_bag(tmp_path / "bag", kitti_entries(8)), tmp_path / "moments.csv"
    options = BagOptions(params=params)

    def stamps_ns(folder):
        return sorted(int(path.name.split("_")[0]) for path in (folder / "img").rglob("*.png"))

    every = run(bag, tmp_path / "all", options)
    wanted = stamps_ns(tmp_path / "all")[1::2]
    moments.write_text("url,stamp_ns\n" + "".join(f"{bag},{stamp_ns + 1_000_000}\n" for stamp_ns in wanted))
    report = run(bag, tmp_path / "some", options, moments=moments)
    assert stamps_ns(tmp_path / "some") == wanted
    assert report.skipped["no moment that is wanted"] == every.sets - len(wanted)
    moments.write_text("url,stamp_ns\n/elsewhere,5\n")
    with user_error("data-empty", bag):
        run(bag, tmp_path / "none", options, moments=moments)
    assert not (tmp_path / "none").exists()
