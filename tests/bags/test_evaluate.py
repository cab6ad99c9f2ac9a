"""Evaluation of recordings against hand counts, the plain predictor and the synchroniser's own sets."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import weakref
import zlib
from dataclasses import replace
from functools import partial
from itertools import pairwise

import fake_car
import numpy as np
import pytest
import torch
from bag_files import KITTI_CAMERA, kitti_entries, lidar_calibration, lidar_entries, pan_entries, write_bag
from PIL import Image
from raised import assert_refused, user_error

from any2seg_core.bags.opened import open_bag
from any2seg_core.bags.reader import Recording, header_stamp_ns
from any2seg_core.bags.sets import BagSet, SetStream
from any2seg_core.bags.topics import choose_topics
from any2seg_core.base.error_codes import MESSAGE_REASONS
from any2seg_core.base.errors import UserError
from any2seg_core.base.video import VideoReader
from any2seg_core.data.extract import ExtractOptions, extract
from any2seg_core.data.recording_truth import NO_TRUTH, TruthFolder
from any2seg_core.evaluation.metrics import ConfusionMatrix
from any2seg_core.evaluation.recording.evaluate import evaluate_bag
from any2seg_core.evaluation.recording.record import LABEL_INFO, OUTPUTS
from any2seg_core.evaluation.recording.run import RecordingRun
from any2seg_core.evaluation.recording.scores import phases_of
from any2seg_core.evaluation.recording.settings import EvaluateRequest
from any2seg_core.faults.grammar import parse_drop, parse_fault, read_plan
from any2seg_core.faults.injector import FaultInjector
from any2seg_core.messages import image_to_array, serialise
from any2seg_core.messages.carla_tags import CARLA_0_9_10
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.reports.recording import write_evaluation
from any2seg_core.reports.recording_tables import absent_rows, injected_rows
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.runtime.frame import Frame
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.sensors.calibration import load_calibration, save_calibration
from any2seg_core.sync.parameters import sync_config
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.labels import DELIVER
from any2seg_core.vocabulary.modalities import VEHICLE, all_subsets

LETTERS = [VEHICLE.subset_letters(subset) for subset in all_subsets(VEHICLE.members)]
PLAN = read_plan(["camera@1:2,lidar@1.5:"], ["noise:event@0.5:1,rate_hz=9"])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model with random weights and 2.5 s of the fake car."""
    path = tmp_path_factory.mktemp("evaluate")
    torch.manual_seed(0)
    save_checkpoint(path / "m.safetensors", Any2Seg(ModelConfig(head_width=32)), InputContract(height=32, width=64), {})
    fake_car.write_bag(path / "bag", 2.5)
    return path


@pytest.fixture(scope="module")
def faulty(folder):
    """(result, summary, folder) of an evaluation with faults and a recording of its results."""
    request = request_of(folder, folder / "faulty", faults=PLAN, record=folder / "faulty" / "out.mcap")
    result = evaluate_bag(request)
    return result, write_evaluation(result, request.out, "any2seg bag evaluate"), request.out


def request_of(folder, out, **changes):
    return EvaluateRequest(changes.pop("bag", folder / "bag"), folder / "m.safetensors", out, **changes)


def lines_of(out):
    conditions, *frames = [json.loads(line) for line in (out / "frames.jsonl").read_text().splitlines()]
    return conditions, frames


def test_value_a_stream_continues_from_set_to_set_and_outages_have_figures_of_their_own(folder, tmp_path):
    faults, found = parse_drop("camera@0.5:1.2"), {}
    for stream in ("off", "filter", "anchor"):
        request = request_of(folder, tmp_path / stream, subsets="D,full", every=2, stream=stream, faults=faults)
        found[stream] = write_evaluation(evaluate_bag(request), request.out, "x"), lines_of(request.out)
    (off, (_, plain)) = found["off"]
    for stream in ("filter", "anchor"):
        summary, (conditions, frames) = found[stream]
        assert conditions["stream"] == stream
        assert frames[0]["subsets"] == plain[0]["subsets"]
        crcs = [[line["subsets"][name]["labels_crc32"] for name in ("D", "RDEL")] for line in (frames[4], plain[4])]
        assert crcs[0][1] != crcs[1][1]
        assert set(summary["windows"]) == {"outage", "first second after", "sensors changed", "otherwise"}
        counts = {window: subsets["RDEL"]["frames"] for window, subsets in summary["windows"].items()}
        changes = sum(one["used"] != two["used"] for one, two in pairwise(frames))
        assert counts["sensors changed"] == changes >= 2
        apart = sum(counts[window] for window in ("outage", "first second after", "otherwise"))
        assert apart == summary["subsets"]["RDEL"]["frames"] == off["subsets"]["RDEL"]["frames"]
    report = (tmp_path / "filter" / "report.html").read_text()
    assert "first second after" in report and "Outages" in report


def test_value_two_runs_write_the_same_bytes(folder, faulty, tmp_path):
    request = request_of(folder, tmp_path, faults=PLAN)
    write_evaluation(evaluate_bag(request), tmp_path, "any2seg bag evaluate")
    for name in ("frames.jsonl", "summary.json", "report.html"):
        assert (tmp_path / name).read_bytes() == (faulty[2] / name).read_bytes(), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frames.jsonl", "report.html", "summary.json"]


def test_value_faults_are_in_the_conditions_the_summary_and_the_report(faulty):
    _, summary, out = faulty
    conditions, frames = lines_of(out)
    texts = ["drop:rgb@1:2", "drop:lidar@1.5:", "noise:event@0.5:1,rate_hz=9"]
    assert [fault["text"] for fault in conditions["faults"]] == texts
    assert conditions["seed"] == 0
    assert conditions["engine"]["name"] == "cpu" and conditions["engine"]["precision"] == conditions["precision"]
    assert len(conditions["checkpoint"]["sha256"]) == 64
    html = (out / "report.html").read_text()
    assert all(text in html for text in texts)
    assert "http" not in html.replace("http://www.w3.org", "")
    # 10 Hz: pictures of 1.0 to 1.9 s; sweeps 15 ms before each of 1.6 to 2.4 s; packets of 0.5 to 0.9 s
    assert summary["injected"] == {texts[0]: {"rgb": 10}, texts[1]: {"lidar": 9}, texts[2]: {"event": 5}}
    names = ["as recorded", "noise event", "drop rgb", "drop rgb + drop lidar", "drop lidar"]
    assert [phase["name"] for phase in summary["phases"]] == names
    used = {frame["used"] for frame in frames if 1.7 <= frame["time_s"] < 2.0}
    assert used == {"DE"}
    assert {frame["missing"]["rgb"] for frame in frames if 1.7 <= frame["time_s"] < 2.0} == {"dead"}


def test_value_reliability_falls_with_a_sensor_and_is_in_lines_summary_and_report(faulty):
    """The camera is silent from 1 to 2 s: 0 once the last of its sets is a second old; it comes back after."""
    _, summary, out = faulty
    _, frames = lines_of(out)
    camera = {frame["time_s"]: frame["reliability"]["rgb"] for frame in frames}
    assert all(0 <= each["score"] == min(each["parts"].values()) <= 1 for each in camera.values())
    scores = {time_s: each["score"] for time_s, each in camera.items()}
    assert {score for time_s, score in scores.items() if time_s < 0.95} == {1.0}
    assert min(scores.values()) <= 0.1 and min(scores, key=scores.get) > 1.8
    assert scores[max(scores)] > min(scores.values())
    entry = summary["reliability"]["rgb"]
    assert entry["min"] == min(scores.values()) and entry["min_part"] == "presence"
    assert entry["frames"] == len(scores)
    assert entry["mean"] == pytest.approx(np.mean(list(scores.values())), abs=1e-3)
    html = (out / "report.html").read_text()
    assert "Reliability per sensor" in html and html.count('<path d="M') == len(summary["reliability"]) == 4


def test_value_steps_of_adding_a_sensor_have_an_error_over_frames(faulty):
    _, summary, out = faulty
    steps = summary["monotonicity"]
    miou = {letters: row["miou_present"] for letters, row in summary["subsets"].items()}
    drops = [
        miou[more] - miou[few] for more in miou for few in miou if len(more) == len(few) + 1 and set(few) < set(more)
    ]
    assert (steps["steps"], steps["violations"]) == (len(drops), sum(drop < -1.0 for drop in drops))
    assert 0 <= steps["violations_low"] <= steps["violations_high"] <= steps["steps"]
    assert "Adding a sensor" in (out / "report.html").read_text()


def test_value_a_lidar_out_of_sight_is_missing_in_every_set(folder, tmp_path):
    """Its pose is turned round: all of its points lie behind the camera."""
    calibration = load_calibration(folder / "bag" / "calibration.yaml")
    turned = np.diag([-1.0, 1.0, -1.0, 1.0]) @ calibration.lidar_to_camera
    save_calibration(tmp_path / "turned.yaml", replace(calibration, lidar_to_camera=turned))
    request = request_of(folder, tmp_path / "out", calibration=tmp_path / "turned.yaml", subsets="L,RL")
    summary = write_evaluation(evaluate_bag(request), request.out, "any2seg bag evaluate")
    _, frames = lines_of(request.out)
    assert not any("L" in frame["used"] for frame in frames)
    assert "points falls into the picture" in frames[-1]["missing"]["lidar"]
    assert summary["absent"]["lidar"]["empty"] >= len(frames) - 2
    assert summary["subsets"]["L"]["frames_with_label"] == 0 and summary["subsets"]["RL"]["frames_with_label"] > 20
    assert summary["reliability"]["lidar"]["mean"] == 0.0 and summary["reliability"]["rgb"]["mean"] > 0.8


def test_value_coverage_counts_frames_without_any_sensor_of_the_subset(faulty):
    _, summary, out = faulty
    _, frames = lines_of(out)
    assert list(summary["subsets"]) == LETTERS
    for letters in LETTERS:
        alive = sum(bool(set(letters) & set(frame["used"])) for frame in frames)
        score = summary["subsets"][letters]
        assert (score["frames"], score["frames_with_label"]) == (len(frames), alive), letters
    assert summary["subsets"]["R"]["coverage"] < 70
    assert summary["subsets"]["D"]["coverage"] == 96  # 24 of 25: no set at 1.0 s, while the camera is waited for
    (none,) = [frame for frame in frames if not frame["used"]]
    assert (none["stamp_ns"] - fake_car.START_NS, none["truth"]) == (fake_car.NS_PER_S, True)
    assert summary["silent_frames"] == 1
    silent = [frame for frame in frames if "R" not in frame["used"]]
    assert {frame["subsets"]["R"]["labels_crc32"] for frame in silent} == {None}
    assert {frame["subsets"]["R"]["miou_present"] for frame in silent if frame["truth"]} == {0.0}
    assert summary["subsets"]["RDEL"]["agreement"] == 100


def sets_of(folder):
    contract = InputContract(height=32, width=64)
    with Recording(folder / "bag") as bag:
        frames = FrameBuilder(load_calibration(folder / "bag" / "calibration.yaml"), contract.event_window_ns)
        sync = sync_config({}, VEHICLE.members, contract.event_window_ns)
        for bag_set in SetStream(bag.messages(), fake_car.TOPICS, sync, frames):
            yield bag_set, bag_set.frame(), frames.rig


def test_value_scores_are_those_of_the_plain_predictor_on_the_same_sets(folder, tmp_path):
    """Independent road: one predictor call per set and subset; the full set must be bit-equal."""
    result = evaluate_bag(request_of(folder, tmp_path, subsets="L,RL"))
    _, frames = lines_of(tmp_path)
    predictor = Predictor.load(folder / "m.safetensors")
    matrix, agreeing, compared = ConfusionMatrix.of(DELIVER), 0, 0
    sets = list(sets_of(folder))
    assert len(sets) == len(frames) >= 24  # nothing is missed
    for (bag_set, frame, rig), line in zip(sets, frames, strict=True):
        labels = predictor(frame.planes, rig, bag_set.stamp_ns).labels
        assert line["subsets"]["RDEL"]["labels_crc32"] == zlib.crc32(labels)
        if bag_set.truth is not None:
            matrix.update(labels, image_to_array(bag_set.truth))
        if "L" in line["used"]:
            alone = predictor({"lidar": frame.planes["lidar"]}, rig, bag_set.stamp_ns).labels
            agreeing, compared = agreeing + int((alone == labels).sum()), compared + alone.size
    total = result.total()
    assert list(total) == ["L", "RL", "RDEL"]
    np.testing.assert_array_equal(total["RDEL"].confusion.counts, matrix.counts)
    assert total["L"].compared == compared
    assert total["L"].agreeing == agreeing


def test_value_truth_of_a_folder_equals_truth_of_a_topic(folder, tmp_path):
    labels = tmp_path / "labels"
    labels.mkdir()
    with Recording(folder / "bag") as bag:
        for message in bag.messages([fake_car.TOPICS.truth]):
            image = Image.frombytes("P", (fake_car.WIDTH, fake_car.HEIGHT), image_to_array(message.value).tobytes())
            image.putpalette([0, 0, 142] * 256)  # ids are its indices
            image.save(labels / f"{message.stamp_ns}.png")
            (labels / f"._{message.stamp_ns}.png").write_bytes(b"\0\5\x16\7")
    by_topic = evaluate_bag(request_of(folder, tmp_path / "a", subsets="all", truth=fake_car.TOPICS.truth))
    by_folder = evaluate_bag(request_of(folder, tmp_path / "b", subsets="all", truth=str(labels)))
    np.testing.assert_array_equal(by_topic.total()["RDEL"].confusion.counts, by_folder.total()["RDEL"].confusion.counts)
    assert by_topic.total()["RDEL"].confusion.counts.sum() > 0
    assert lines_of(tmp_path / "b")[0]["truth"] == str(labels)


def test_value_truth_of_an_extracted_data_set_equals_truth_of_a_topic(folder, tmp_path):
    """The folder that `bag extract` writes, ids + 1 in a colour PNG, at any level; a copy beside it is ambiguous."""
    with open_bag(folder / "bag") as opened:
        written = extract(opened, ExtractOptions(tmp_path / "data", "val", "night")).written
    by_topic = evaluate_bag(request_of(folder, tmp_path / "a", subsets="all"))
    labels = tmp_path / "data" / "semantic" / "night" / "val" / "bag_bag"
    for place in (tmp_path / "data", labels):
        by_folder = evaluate_bag(request_of(folder, tmp_path / "b", subsets="all", truth=str(place)))
        judged = [line["truth"] for line in lines_of(tmp_path / "b")[1]]
        assert sum(judged) == written >= 20
        assert len(judged) - sum(judged) <= 2  # only sets with all sensors were extracted
        kept = by_folder.total()["RDEL"].confusion.counts
        assert kept.sum() == written * fake_car.WIDTH * fake_car.HEIGHT
        assert (kept <= by_topic.total()["RDEL"].confusion.counts).all()
    copied = tmp_path / "data" / "semantic" / "sun" / "val" / "other_bag"
    shutil.copytree(labels, copied)
    with user_error("truth-ambiguous"):
        TruthFolder(tmp_path / "data")


def test_value_a_truth_of_other_moments_is_told_and_compared_with_nothing(folder, tmp_path):
    labels = tmp_path / "labels"
    labels.mkdir()
    Image.fromarray(np.zeros((fake_car.HEIGHT, fake_car.WIDTH), np.uint8)).save(labels / "5.png")
    request = request_of(folder, tmp_path / "out", subsets="all", truth=str(labels), every=5)
    summary = write_evaluation(evaluate_bag(request), request.out, "x")
    assert [warning for warning in summary["warnings"] if "no judged frame has one within" in warning]
    assert not any(key.startswith("miou") for key in summary["subsets"]["RDEL"])
    assert not {"subset_mean", "monotonicity"} & set(summary)


def test_value_without_truth_and_every_second_set(folder, tmp_path):
    request = request_of(folder, tmp_path, subsets="R,full", truth=NO_TRUTH, every=2, noise="high", seed=5)
    summary = write_evaluation(evaluate_bag(request), tmp_path, "x")
    conditions, frames = lines_of(tmp_path)
    assert conditions["truth"] is None
    assert conditions["noise"] == "high"
    assert len(frames) == -(-len(list(sets_of(folder))) // 2)
    score = summary["subsets"]["R"]
    assert {"agreement", "flicker", "confidence", "coverage"} <= set(score)
    assert not any(key.startswith("miou") for key in score)
    assert "noise high" in (tmp_path / "report.html").read_text()
    evaluate_bag(request_of(folder, tmp_path / "clean", subsets="R,full", truth=NO_TRUTH, every=2))
    for noisy, clean in zip(frames, lines_of(tmp_path / "clean")[1], strict=True):
        for name in ("R", "RDEL"):
            assert noisy["subsets"][name]["labels_crc32"] != clean["subsets"][name]["labels_crc32"]


def test_value_recorded_labels_lie_beside_the_inputs_with_their_headers(folder, faulty):
    _, _, out = faulty
    _, frames = lines_of(out)
    by_stamp = {frame["stamp_ns"]: frame["subsets"]["RDEL"]["labels_crc32"] for frame in frames}
    with Recording(out / "out.mcap") as bag, Recording(folder / "bag") as inputs:
        assert bag.warnings == []
        counts = {name: topic.count for name, topic in bag.topics.items()}
        assert counts[fake_car.TOPICS.streams["rgb"]] == inputs.topics[fake_car.TOPICS.streams["rgb"]].count - 10
        assert counts[fake_car.TOPICS.streams["depth"]] == inputs.topics[fake_car.TOPICS.streams["depth"]].count
        assert [counts[topic] for topic in OUTPUTS.values()] == [len([f for f in frames if f["used"]])] * 3
        for message in bag.messages(OUTPUTS.values()):
            image = message.value
            assert image.header.frame_id == fake_car.CAMERA.frame_id
            assert (image.width, image.height) == (fake_car.WIDTH, fake_car.HEIGHT)
            assert image.encoding == ("rgb8" if message.topic == OUTPUTS["overlay"] else "mono8")
            if message.topic == OUTPUTS["label"]:
                assert zlib.crc32(image_to_array(image)) == by_stamp[message.stamp_ns]


def test_value_the_classes_of_recorded_labels_come_once_before_them_and_stay(faulty):
    with Recording(faulty[2] / "out.mcap") as bag:
        first = next(iter(bag.messages([OUTPUTS["label"], LABEL_INFO])))
        assert first.topic == LABEL_INFO and bag.topics[LABEL_INFO].count == 1
        assert [profile.durability for profile in bag.topics[LABEL_INFO].qos] == ["transient_local"]
        document = json.loads(first.value.data)
    assert [entry["class_name"] for entry in document["class_map"]] == list(DELIVER.classes)
    assert (document["label_space"], document["unlabelled"], document["threshold"]) == ("deliver-25", 255, 0.0)


@pytest.mark.parametrize(
    ("entries", "camera", "subsets"),
    [(kitti_entries, KITTI_CAMERA, ["R", "L", "RL"]), (lidar_entries, lidar_calibration().camera, ["L"])],
)
def test_value_foreign_recordings_need_no_code(folder, tmp_path, entries, camera, subsets):
    """KITTI: 1242x375 camera, 64-beam LiDAR, extrinsics on /tf_static; and a LiDAR alone, which needs a calibration.

    Neither has depth, events or a truth.
    """
    bag = write_bag(tmp_path / "bag", entries(5))
    file = None
    if entries is lidar_entries:
        file = tmp_path / "calibration.yaml"
        save_calibration(file, lidar_calibration())
    request = request_of(folder, tmp_path / "out", bag=bag, calibration=file, record=tmp_path / "out.mcap")
    summary = write_evaluation(evaluate_bag(request), request.out, "x")
    assert list(summary["subsets"]) == subsets
    assert summary["subsets"]["L"]["frames_with_label"] >= 3
    _, frames = lines_of(request.out)
    with Recording(tmp_path / "out.mcap") as recorded:
        label = next(recorded.messages([OUTPUTS["label"]])).value
        assert (label.width, label.height) == (camera.width, camera.height)
        assert recorded.topics[OUTPUTS["label"]].count == len(frames)


def test_value_what_was_not_fused_is_counted_with_its_reason(folder, faulty, tmp_path):
    _, summary, out = faulty
    _, frames = lines_of(out)
    for name, reasons in summary["absent"].items():
        said = [frame["missing"][name] for frame in frames if name in frame["missing"]]
        assert reasons == {why: said.count(why) for why in set(said)}
    assert summary["absent"]["rgb"].keys() == {"dead"}
    assert summary["unusable_sets"] == {}
    topic, entries = fake_car.TOPICS.streams["rgb"], []
    for k in range(10):
        stamp_ns = fake_car.START_NS + k * fake_car.PERIOD_NS
        data = fake_car.black_image(stamp_ns) if 3 <= k < 7 else fake_car.message("rgb", stamp_ns)
        entries.append((stamp_ns, topic, fake_car.TYPES["rgb"], data))
    entries[8] = (*entries[8][:3], fake_car.broken_image(entries[8][0]))
    entries.append((entries[9][0] + 1, topic, fake_car.TYPES["rgb"], b"\0\1\0\0"))
    request = request_of(folder, tmp_path, bag=write_bag(tmp_path / "bag", entries))
    summary = write_evaluation(evaluate_bag(request), tmp_path, "x")
    assert summary["unusable_sets"] == {"camera black": 4, "camera step": 1}
    score = summary["subsets"]["R"]
    assert (score["frames"], score["frames_with_label"], score["coverage"]) == (10, 5, 50)
    assert [line["used"] for line in lines_of(tmp_path)[1]] == ["R"] * 3 + [""] * 4 + ["R", "", "R"]
    (told,) = summary["warnings"]
    assert told.startswith("rgb: 1 messages could not be used") and told.endswith("[message-length]")
    assert "camera black 4: no labels" in (tmp_path / "report.html").read_text()


CAMERA_ALONE = ("depth=none", "event=none", "lidar=none")
PIXELS = fake_car.WIDTH * fake_car.HEIGHT


@pytest.mark.parametrize("truth", ["", NO_TRUTH])
@pytest.mark.parametrize(
    ("drop", "topics", "every", "labelled", "missed"),
    [
        # 25 pictures and truths at 0.0 .. 2.4 s. The sweep of 0.785 s is not lost: its set is compared with 0.8 s.
        ("R+D+E+L@0.8:1.6", (), 1, 18, 7),
        ("camera@1:2", CAMERA_ALONE, 1, 15, 10),
        ("camera@2:", CAMERA_ALONE, 1, 20, 5),  # to the last message of the recording
        ("camera@1:2", CAMERA_ALONE, 2, 8, 5),  # sets 0, 2 .. 8 and 20, 22, 24 of 25
        ("camera@:1", CAMERA_ALONE, 1, 15, 0),  # before its first set a system only starts
    ],
)
def test_value_silence_of_all_is_missed(folder, tmp_path, truth, drop, topics, every, labelled, missed):
    request = request_of(folder, tmp_path, faults=read_plan([drop]), topics=topics, every=every, subsets="all",
                         truth=truth)  # fmt: skip
    result = evaluate_bag(request)
    summary = write_evaluation(result, tmp_path, "x")
    (score,) = summary["subsets"].values()
    assert (score["frames_with_label"], summary["silent_frames"]) == (labelled, missed)
    assert score["frames"] == labelled + missed == len(lines_of(tmp_path)[1])
    assert score["coverage"] == round(100 * labelled / (labelled + missed), 3)
    counts = next(iter(result.total().values())).confusion.counts
    assert counts[:, -1].sum() == (0 if truth else missed * PIXELS)
    assert counts.sum() == (0 if truth else (labelled + missed) * PIXELS)
    window_s = result.phases[-1 if drop.endswith(":") else 1] if missed else None
    for line in lines_of(tmp_path)[1]:
        if not line["used"]:
            assert window_s.start_s - 1e-9 <= line["time_s"] < window_s.end_s
    if missed:
        assert any(f"{missed} times a set was due" in warning for warning in summary["warnings"])
        for name in result.conditions["streams"]:  # hatched in the timeline
            length_s = 0.6 * (window_s.end_s - window_s.start_s)
            assert any(end - start > length_s for start, end in summary["silent_s"][name])


def test_value_the_timeline_ends_with_the_last_set(folder, tmp_path):
    late = [parse_fault("delay:rgb@1:,delay_s=0.5")]
    request = request_of(folder, tmp_path, faults=late, topics=CAMERA_ALONE, subsets="all", every=3)
    result = evaluate_bag(request)
    write_evaluation(result, tmp_path, "x")
    assert max(line["time_s"] for line in lines_of(tmp_path)[1]) > result.end_s + 0.4
    found = re.findall('<circle cx="([0-9.]+)"', (tmp_path / "report.html").read_text())
    assert max(float(x) for x in found) == 980 - 14  # the edge of the chart, not behind it


def test_value_bars_of_silence_are_the_same_however_few_sets_are_evaluated(folder, tmp_path):
    """A camera that is dead between two evaluated sets is hatched there, and a LiDAR out of sight all the time."""
    calibration = load_calibration(folder / "bag" / "calibration.yaml")
    turned = np.diag([-1.0, 1.0, -1.0, 1.0]) @ calibration.lidar_to_camera
    save_calibration(tmp_path / "turned.yaml", replace(calibration, lidar_to_camera=turned))
    silent = []
    for every in (1, 11):
        request = request_of(
            folder, tmp_path / str(every), faults=read_plan(["camera@1.3:1.8"]), every=every, subsets="all",
            calibration=tmp_path / "turned.yaml",
        )  # fmt: skip
        silent.append(write_evaluation(evaluate_bag(request), request.out, "x")["silent_s"])
        _, frames = lines_of(request.out)
    assert [frame for frame in frames if "R" not in frame["used"]] == []  # no evaluated set is in the outage
    assert silent[0] == silent[1]
    [(begin, end)] = silent[1]["rgb"]
    assert begin == pytest.approx(1.4, abs=0.11) and end == pytest.approx(1.8, abs=0.11)
    assert len(silent[1]["lidar"]) == 1


def test_value_reasons_are_said_in_words(faulty):
    _, summary, out = faulty
    html = (out / "report.html").read_text()
    assert "(silent for too long)" in html
    assert absent_rows(summary)[0][1].startswith("dead ")
    conditions = {"conditions": {"noise": None, "suite": VEHICLE.to_document()}}
    summary = {"absent": {"rgb": {"frame": 1}}, "unusable_sets": {}, "silent_frames": 0} | conditions
    assert absent_rows(summary) == [["camera", f"frame 1 ({MESSAGE_REASONS['frame']})"]]
    hits = {"injected": {"x": {"depth": 1, "lidar": 2, "rgb": 3}}, "unreadable": {"x": {}}}
    assert injected_rows(hits | conditions) == [["x", "camera 3, depth 1, LiDAR 2"]]


def test_exception_a_run_without_any_set_says_why(folder, tmp_path):
    with user_error("bag-no-sets") as caught:
        evaluate_bag(request_of(folder, tmp_path / "out", faults=read_plan(["R+D+E+L"]), subsets="all"))
    assert "camera 0, depth 0, event 0, LiDAR 0" in str(caught.value)
    assert "hit 99" in str(caught.value)  # 25 pictures, 25 of depth, 25 packets, 24 sweeps
    assert "\n" not in str(caught.value)


def changed(folder, path, spoil, topic=fake_car.TOPICS.truth):
    """The recording with `spoil(index, data)` instead of its truths, or of the messages of another topic."""
    entries, index = [], 0
    with Recording(folder / "bag") as bag:
        for message in bag.messages():
            data = message.data
            if message.topic == topic:
                data, index = spoil(index, data), index + 1
            entries.append((message.time_ns, message.topic, message.kind, data))
    shutil.copy(folder / "bag" / "calibration.yaml", write_bag(path, entries))
    return path


def picture(pixels, encoding, data):
    return serialise.image(pixels, encoding, header_stamp_ns(data), "x")


def test_value_a_bad_truth_costs_its_own_frame(folder, tmp_path):
    spoilt = {
        3: lambda data: data[:200],
        5: lambda data: picture(np.full((fake_car.HEIGHT, fake_car.WIDTH), 99, np.uint8), "mono8", data),
        7: lambda data: picture(np.zeros((7, 5), np.uint8), "mono8", data),
        9: lambda data: picture(np.zeros((fake_car.HEIGHT, fake_car.WIDTH, 3), np.uint8), "rgb8", data),
    }
    bag = changed(folder, tmp_path / "bag", lambda k, data: spoilt.get(k, bytes)(data))
    request = request_of(folder, tmp_path / "out", bag=bag, subsets="all", topics=CAMERA_ALONE)
    summary = write_evaluation(evaluate_bag(request), request.out, "x")
    assert summary["subsets"]["R"]["frames_with_truth"] == 21
    assert [k for k, line in enumerate(lines_of(request.out)[1]) if not line["truth"]] == [3, 5, 7, 9]
    (told,) = [warning for warning in summary["warnings"] if warning.startswith("truth ")]
    assert "4 frames are judged without it, the first at 0.3" in told
    labels = tmp_path / "labels"
    labels.mkdir()
    for k in range(25):
        pixels = np.zeros((fake_car.HEIGHT, fake_car.WIDTH), np.uint8)
        Image.fromarray(pixels).save(labels / f"{fake_car.START_NS + k * fake_car.PERIOD_NS}.png")
    (labels / f"{fake_car.START_NS}.png").write_bytes(b"no picture")
    request = request_of(folder, tmp_path / "b", subsets="all", truth=str(labels), topics=CAMERA_ALONE)
    summary = write_evaluation(evaluate_bag(request), request.out, "x")
    assert summary["subsets"]["R"]["frames_with_truth"] == 24
    assert "not a readable image" in "".join(summary["warnings"])


def test_value_how_16_bits_are_read_is_a_warning(folder, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 4096, (fake_car.HEIGHT, fake_car.WIDTH), np.uint16)

    def as_12_bits(_index, data):
        return serialise.image(pixels, "mono16", header_stamp_ns(data), fake_car.CAMERA.frame_id)

    bag = changed(folder, tmp_path / "bag", as_12_bits, fake_car.TOPICS.streams["rgb"])
    result = evaluate_bag(request_of(folder, tmp_path / "out", bag=bag, subsets="all", truth=NO_TRUTH, every=5))
    told = [warning for warning in result.warnings if warning.startswith("rgb: ")]
    assert told == ["rgb: 16-bit image stays below 4096: read as 12 bits; image_bits fixes it"]


def test_exception_not_one_truth_can_be_read(folder, tmp_path):
    bag = changed(folder, tmp_path / "bag", lambda k, data: picture(np.full((4, 3), k, np.uint8), "mono8", data))
    for every in (1, 9):  # seen after a few frames, or at the end
        with user_error("truth-unusable", "0.05", "3x4"):
            evaluate_bag(request_of(folder, tmp_path / "out", bag=bag, subsets="all", every=every))
    assert not list(tmp_path.glob("out/*"))


def test_value_compressed_camera_packets_and_a_panning_lidar_with_faults_twice(folder, tmp_path):
    """Types that are not ROS's own are recorded with the definition that the bag holds."""
    bag = write_bag(tmp_path / "bag", pan_entries(10))
    faults = read_plan(["lidar@1.7:1.9"], ["exposure:rgb@1.2:1.6,stops=2", "noise:event@1.3:1.7", "freeze:event@1.8:"])
    summaries = []
    for name in ("a", "b"):
        request = request_of(folder, tmp_path / name, bag=bag, faults=faults, subsets="all", seed=3,
                             record=tmp_path / f"{name}.mcap")  # fmt: skip
        summaries.append(write_evaluation(evaluate_bag(request), request.out, "x"))
    for file in ("frames.jsonl", "summary.json", "report.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    assert summaries[0]["injected"] == {
        "drop:lidar@1.7:1.9": {"lidar": 2}, "exposure:rgb@1.2:1.6,stops=2": {"rgb": 4}, "noise:event@1.3:1.7":
        {"event": 4}, "freeze:event@1.8:": {"event": 2},
    }  # fmt: skip
    assert "followed" in summaries[0]["conditions"]["extrinsics"]["lidar_to_camera"]
    with Recording(tmp_path / "a.mcap") as recorded, Recording(bag) as source:
        assert recorded.warnings == []
        topics = choose_topics(source).map
        injector = FaultInjector(faults, topics, 3, source.start_ns)
        names = [topic for topic in recorded.topics if topic not in (*OUTPUTS.values(), LABEL_INFO)]
        assert set(names) == set(source.topics)
        assert [m.data for m in recorded.messages(names)] == [m.data for m in injector(source.messages())]


def test_value_memory_is_bounded_by_the_sets_ahead(folder, tmp_path, monkeypatch):
    alive, most = weakref.WeakSet(), 0
    make = BagSet.frame

    def counted(bag_set):
        nonlocal most
        made = make(bag_set)
        alive.add(made)
        most = max(most, len(alive))
        return made

    monkeypatch.setattr(Frame, "__hash__", object.__hash__)
    monkeypatch.setattr(BagSet, "frame", counted)
    evaluate_bag(request_of(folder, tmp_path, subsets="all"))
    assert 1 <= most <= 3 + 3  # in the queue, before it, in the consumer's hands


def test_value_phases_cut_where_a_fault_begins_or_ends():
    phases = phases_of([*parse_drop("camera@2:4,lidar@3:"), parse_fault("blur:rgb@0:2")], 5.0)
    assert [(p.start_s, p.end_s, p.name) for p in phases] == [
        (0.0, 2.0, "blur rgb"),
        (2.0, 3.0, "drop rgb"),
        (3.0, 4.0, "drop rgb + drop lidar"),
        (4.0, 5.0, "drop lidar"),
    ]
    assert [(p.start_s, p.end_s, p.name) for p in phases_of([], 5.0)] == [(0.0, 5.0, "as recorded")]
    assert phases_of(parse_drop("camera@7:9"), 5.0)[0].name == "as recorded"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"subsets": "RX"}, ("sensor-unknown", "--subsets RX", "'RX'", "rgb (R, camera)")),
        ({"subsets": ","}, ("sensor-unknown", "''")),
        ({"every": 0}, ("value-range", "--every 0")),
        ({"truth": "/nowhere"}, ("bag-topic-missing", "/nowhere", "/carla/ego_vehicle/")),
        ({"truth": "/carla/ego_vehicle/rgb_front/image"}, ("truth-unusable", "bgra8")),
        ({"noise": "loud"}, ("value-unknown", "low, mid, high")),
        ({"topics": ("rgb=/nowhere",)}, ("bag-topic-missing", "/nowhere")),
        ({"device": "cuda:99"}, ("device-missing", "cuda:99")),
        ({"precision": "half"}, ("value-unknown", "float32 or bfloat16")),
    ],
)
def test_exception_bad_options_leave_nothing_behind(folder, tmp_path, changes, told):
    out = tmp_path / "out"
    with user_error(*told) as caught:
        outputs = {"record": tmp_path / "deep" / "er" / "out.mcap", "video": tmp_path / "films" / "v.webm"}
        evaluate_bag(request_of(folder, out, **outputs, **changes))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.rglob("*")) == []


def test_exception_recordings_that_cannot_be_judged(folder, tmp_path):
    lidar = write_bag(tmp_path / "lidar", lidar_entries(3))
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(b"not an mcap file" * 20)
    for bag, told in (
        (lidar, ("calibration-missing",)),
        (tmp_path / "nowhere", ("bag-missing", tmp_path / "nowhere")),
        (cut, ("bag-format", "cut.mcap")),
    ):
        with user_error(*told) as caught:
            evaluate_bag(request_of(folder, tmp_path / "out", bag=bag))
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_value_a_video_shows_every_set_and_every_missed_moment(folder, tmp_path):
    """18 sets and 7 moments at which all sensors are silent: the counts of `test_value_silence_of_all_is_missed`."""
    request = request_of(folder, tmp_path / "out", faults=read_plan(["R+D+E+L@0.8:1.6"]), subsets="all",
                         video=tmp_path / "v.webm")  # fmt: skip
    evaluate_bag(request)
    reader = VideoReader(tmp_path / "v.webm")
    pictures = np.stack(list(reader))
    assert reader.rate_hz == pytest.approx(10, abs=0.6) and len(pictures) == 25
    height, width = fake_car.HEIGHT, fake_car.WIDTH
    assert pictures.shape[1:] == (height + 36, 3 * width + 8, 3)
    camera, labels, truth = (pictures[:, :height, k * (width + 4) : k * (width + 4) + width] for k in range(3))
    is_black = labels.mean(axis=(1, 2, 3)) < 8
    assert is_black.sum() == 7 and (camera[is_black].mean(axis=(1, 2, 3)) < 8).all()
    times_s = [line["time_s"] for line in lines_of(tmp_path / "out")[1] if not line["used"]]
    first = int(is_black.argmax())
    assert len(times_s) == 7 and np.flatnonzero(is_black).tolist() == list(range(first, first + 7))
    road = np.abs(truth[0, -8:].astype(int) - DELIVER.colours[6]).max(axis=2) < 20
    assert road.mean() > 0.9  # below, in the truth of the fake car


@pytest.mark.parametrize(("name", "code"), [("v.avi", "file-name"), ("bag/v.webm", "output-is-input")])
def test_exception_a_video_of_another_kind_or_in_the_recording(folder, tmp_path, name, code):
    path = folder / name if "/" in name else tmp_path / name
    with user_error(code, path):
        evaluate_bag(request_of(folder, tmp_path / "out", video=path))
    assert list(tmp_path.iterdir()) == [] and not path.exists()


def test_exception_record_into_the_recording_or_another_format(folder, tmp_path):
    for record, code in ((tmp_path / "out.db3", "file-name"), (folder / "bag" / "out.mcap", "output-is-input")):
        with user_error(code, f"--record {record}", "out.mcap"):
            evaluate_bag(request_of(folder, tmp_path, record=record))
    assert not (folder / "bag" / "out.mcap").exists()


def test_exception_an_output_that_cannot_be_is_known_before_the_work(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(RecordingRun, "frames", None)  # nothing is judged
    (tmp_path / "old.mcap").mkdir()
    for changes, told in (({"record": tmp_path / "old.mcap"}, ("output-unwritable", "--record", "old.mcap")),
                          ({"out": folder / "bag"}, ("output-is-input", "--out")),
                          ({"out": folder / "bag" / "x"}, ("output-is-input", "--out"))):  # fmt: skip
        with user_error(*told):
            evaluate_bag(request_of(folder, changes.pop("out", tmp_path / "out"), **changes))
    assert [path.name for path in tmp_path.rglob("*")] == ["old.mcap"]
    assert not (folder / "bag" / "x").exists()


def test_exception_a_report_that_fails_leaves_the_results_of_before(folder, tmp_path):
    request = request_of(folder, tmp_path, subsets="all", every=5, record=tmp_path / "out.mcap")
    evaluate_bag(request, report=lambda result, place: write_evaluation(result, place, "first"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(before) == ["frames.jsonl", "out.mcap", "report.html", "summary.json"]

    def fails(result, place):
        write_evaluation(result, place, "second")
        raise UserError("disk full", "output-unwritable")

    with user_error("output-unwritable"):
        evaluate_bag(replace(request, seed=1, every=4), report=fails)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_exception_a_command_that_is_ended_leaves_nothing(folder, tmp_path, number, code):
    command = [sys.executable, "-m", "any2seg_core", "bag", "evaluate", str(folder / "bag"), "--out"]
    command += [str(tmp_path / "out"), "--checkpoint", str(folder / "m.safetensors"), "--record"]
    command += [str(tmp_path / "record" / "out.mcap")]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a job in the background ignores Ctrl-C
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heard) as process:
        while process.poll() is None and not list(tmp_path.rglob("*.mcap")):  # until the work has begun
            time.sleep(0.02)
        process.send_signal(number)
        said = process.communicate(timeout=120)[1]
    assert process.returncode == code, said
    words = [line for line in said.splitlines() if not line.startswith("evaluate bag: ")]  # progress, every ten seconds
    assert words == (["any2seg: interrupted, nothing written"] if code == 130 else [])
    assert list(tmp_path.iterdir()) == []


def test_smoke_command_prints_json_and_refuses_in_one_line(folder, tmp_path):
    command = [sys.executable, "-m", "any2seg_core", "bag", "evaluate", str(folder / "bag"), "--out", str(tmp_path)]
    command += ["--checkpoint", str(folder / "m.safetensors"), "--subsets", "all"]
    done = subprocess.run([*command, "--every", "9", "--json"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((tmp_path / "summary.json").read_text())
    done = subprocess.run([*command, "--drop", "camera@2"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 2
    assert_refused(done.stderr, "value-format", "camera@2")


def test_value_truth_of_carlas_semantic_camera_scores_as_train_ids_do(folder, tmp_path):
    """The same truth, road below sky, as train ids and in the colours of the ROS bridge."""
    colours = {deliver: colour for _, colour, deliver in CARLA_0_9_10.tags.values()}

    def painted(_index, data):
        labels = image_to_array(fake_car_truth(data))
        pixels = np.zeros((*labels.shape, 4), np.uint8)
        for train_id in np.unique(labels):
            pixels[labels == train_id, :3] = colours[DELIVER.classes[train_id]][::-1]
        return picture(pixels, "bgra8", data)

    bag = changed(folder, tmp_path / "bag", painted)
    requests = {
        "ids": request_of(folder, tmp_path / "ids", subsets="all", every=5),
        "palette": request_of(folder, tmp_path / "palette", bag=bag, subsets="all", every=5,
                              truth=fake_car.TOPICS.truth, truth_coding="palette"),
    }  # fmt: skip
    scores = {name: evaluate_bag(request).total()["RDEL"] for name, request in requests.items()}
    assert scores["ids"].with_truth == scores["palette"].with_truth > 0
    np.testing.assert_array_equal(scores["ids"].confusion.counts, scores["palette"].confusion.counts)


def fake_car_truth(data):
    return serialise.typestore().deserialize_cdr(data, "sensor_msgs/msg/Image")
