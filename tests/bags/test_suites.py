"""Recordings of other sensors than the vehicle's: topics, geometry and labels by the suite, against hand counts."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO

import numpy as np
import pytest
import van_files
import yaml
from bag_files import small_entries, write_bag
from PIL import Image
from raised import user_error
from rich.console import Console
from van_files import CAMERAS, OFFSETS_NS, PERIOD_NS, START_NS, TOPICS, VAN

from any2seg_core.bags.inspection import inspect_bag
from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.bags.reader import Recording
from any2seg_core.bags.topics import choose_topics
from any2seg_core.cli.inspect_tables import render_inspection
from any2seg_core.data.bag_settings import read_settings
from any2seg_core.data.catalogue import open_dataset
from any2seg_core.evaluation.recording.evaluate import evaluate_bag
from any2seg_core.evaluation.recording.settings import EvaluateRequest
from any2seg_core.faults.grammar import read_plan
from any2seg_core.vocabulary.modalities import MUSES, SensorSuite

LONGEST_GAP_S = 0.25 + 0.05 + 0.1  # silence of a dead leader, wait for the others, and the period itself
DEAD_S, ALIVE_S = 0.8, 0.6


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp("van") / "bag", van_files.entries(1.0, with_truth=True))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return van_files.checkpoint(tmp_path_factory.mktemp("checkpoint") / "van.safetensors")


def choice(path, suite=VAN, *fixed):
    with Recording(path) as recording:
        return choose_topics(recording, None, fixed, suite)


def test_value_topics_by_name_type_and_suite(bag):
    found = choice(bag)
    assert found.map.streams == TOPICS
    assert found.map.camera_infos == {name: f"{TOPICS[name].rpartition('/')[0]}/camera_info" for name in CAMERAS}
    assert found.map.truth == "/truth/label"
    assert "sensor suite van" in found.reasons["radar"] and "thermal" in found.reasons["thermal"]
    remappings = found.map.node_remappings()
    assert remappings["~/in/thermal"] == TOPICS["thermal"]
    assert remappings["~/in/thermal_camera_info"] == "/flir_thermal/camera_info"
    assert len(remappings) == 8


def test_value_the_only_sensor_of_a_kind_needs_no_name(bag):
    """A suite of one LiDAR: the radar's topic is none of a LiDAR by its name, neither is that of a thermal camera."""
    suite = SensorSuite.of_document({
        "name": "two",
        "sensors": {"main": {"kind": "image", "letter": "M"}, "velo": {"kind": "points", "letter": "V"}},
    })  # fmt: skip
    assert choice(bag, suite).map.streams == {"main": TOPICS["front"], "velo": TOPICS["lidar"]}


def test_value_a_topic_that_is_given_wins_over_that_of_the_suite(bag):
    assert choice(bag, VAN, "radar=none").map.streams == {name: TOPICS[name] for name in VAN.members[:-1]}
    assert choice(bag, VAN, "radar=/van/lidar/points", "lidar=none").map.streams["radar"] == "/van/lidar/points"


def test_value_a_topic_that_fits_but_for_its_name_is_told_with_the_way_out(bag):
    """A radar whose topic the suite does not name, and a thermal camera that is called otherwise."""
    document = VAN.to_document()
    del document["sensors"]["radar"]["topic"]
    document["sensors"]["infrared"] = document["sensors"].pop("thermal")
    found = choice(bag, SensorSuite.of_document(document))
    assert set(found.map.streams) == {"front", "left", "lidar"}
    notes = [note for note in found.notes if "--topic" in note]
    assert len(notes) == 2 and all("its name does not say so" in note for note in notes)
    assert "--topic infrared=/flir_thermal/image" in notes[1] and "--topic radar=/ars/detections" in notes[0]


def test_exception_a_role_that_the_suite_does_not_have(bag):
    with user_error("value-unknown", "'depth'", "thermal"):
        choice(bag, VAN, "depth=/van/front/image_raw")


def test_value_geometry_of_every_sensor_comes_from_camera_info_and_transforms(bag):
    with open_bag(bag, BagOptions(suite=VAN)) as opened:
        assert opened.modalities == VAN.members
        assert opened.calibration.missing == ()
        (first, *_) = [found.frame() for found in opened.sets() if len(found.sample_set.samples) == 5]
    assert set(first.planes) == set(VAN.members)
    assert first.errors == {}
    assert all(plane.shape == (64, 96, 3) and plane.any() for plane in first.planes.values())


def test_value_inspect_names_the_sensors_of_the_suite(bag):
    found = inspect_bag(bag, BagOptions(suite=VAN), suite="van.yaml")
    assert set(found.parameters["modalities"]) == set(VAN.members)
    assert found.parameters["radar"]["offset_s"] == pytest.approx(-0.02)
    assert "-p checkpoint:=CHECKPOINT.safetensors" in found.document()["node_command"]
    assert "calibration.yaml --suite van.yaml &&" in found.document()["node_command"]
    assert found.replay_command.endswith(" --suite van.yaml")
    console = Console(width=100, record=True, file=StringIO())
    console.print(render_inspection(found))
    text = console.export_text()
    assert "front camera" in text and "radar: " in text and "not recorded" not in text


def settings_of(path, content):
    folder = write_bag(path, van_files.entries(0.3))
    (path.parent / "van.yaml").write_text(yaml.safe_dump(VAN.to_document(), sort_keys=False))
    (folder / "any2seg.yaml").write_text(yaml.safe_dump(content))
    return folder


def test_value_a_recording_names_its_suite_and_topics(tmp_path):
    folder = settings_of(tmp_path / "bag", {"suite": "../van.yaml", "topics": {"radar": "none"}})
    settings = read_settings(folder)
    assert settings.sensors == VAN
    with open_bag(folder, settings.bag_options((), labelled=False)) as opened:
        assert opened.modalities == VAN.members[:-1]
    assert settings.topics_for(VAN, ["radar=/ars/detections"]) == ["radar=/ars/detections"]
    assert settings.topics_for(MUSES) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"suite": "nowhere.yaml"}, ("file-missing", "nowhere.yaml")),
        ({"suite": 3}, ("value-type", "suite")),
        ({"sensors": {}}, ("key-unknown", "sensors", "suite")),
    ],
)
def test_exception_a_suite_that_cannot_be_read(tmp_path, content, told):
    folder = settings_of(tmp_path / "bag", content)
    with user_error(*told):
        _ = read_settings(folder).sensors


def test_exception_a_checkpoint_of_a_suite_that_contradicts_that_of_the_recording(tmp_path, checkpoint):
    folder = settings_of(tmp_path / "bag", {"suite": "../other.yaml"})
    document = VAN.to_document()
    document["sensors"]["thermal"] = {"kind": "depth", "letter": "T"}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    with user_error("checkpoint-mismatch", "thermal", "any2seg.yaml", "depth"):
        evaluate_bag(EvaluateRequest(folder, checkpoint, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_exception_a_checkpoint_of_other_sensors_than_recorded(tmp_path, checkpoint):
    path = write_bag(tmp_path / "bag", small_entries(3))
    with user_error("bag-sensor-missing", "front camera"):
        evaluate_bag(EvaluateRequest(path, checkpoint, tmp_path / "out", topics=("front=none",)))


def lines_of(folder):
    return [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()[1:]]


def test_property_each_of_the_31_subsets_survives_and_whoever_returns_is_used(tmp_path, checkpoint):
    """One drive through all subsets: all others die for 0.8 s and come back for 0.6 s, in the real order of a set."""
    subsets = VAN.all_subsets()
    assert len(subsets) == 31
    windows = {k * (DEAD_S + ALIVE_S) + ALIVE_S: alive for k, alive in enumerate(subsets)}
    drops = [
        f"{'+'.join(name for name in VAN.members if name not in alive)}@{start_s:.1f}:{start_s + DEAD_S:.1f}"
        for start_s, alive in windows.items() if len(alive) < 5
    ]  # fmt: skip
    length_s = len(subsets) * (DEAD_S + ALIVE_S) + ALIVE_S
    path = write_bag(tmp_path / "bag", van_files.entries(length_s))
    request = EvaluateRequest(
        path, checkpoint, tmp_path / "out", subsets="all", faults=read_plan(drops, suite=VAN)
    )
    evaluate_bag(request)
    lines = [line for line in lines_of(tmp_path / "out") if line["used"]]
    times_s = np.array([line["time_s"] for line in lines])
    assert np.diff([line["stamp_ns"] for line in lines]).min() > 0
    assert np.diff(times_s).max() <= LONGEST_GAP_S and times_s[-1] >= length_s - 0.2
    for start_s, alive in windows.items():
        inside = [line["used"] for line in lines if start_s + 0.45 <= line["time_s"] < start_s + DEAD_S]
        assert inside and set(inside) == {VAN.subset_letters(alive)}, (alive, inside)
        after = [line["used"] for line in lines if start_s + DEAD_S + 0.35 <= line["time_s"] < start_s + 1.35]
        assert after and set(after) == {"FSTLR"}, (alive, after)
    for line in lines:  # made of what came, and nothing else
        named = VAN.subset_letters(line["stamps_ns"])
        assert set(line["used"]) <= set(named)
        for name, stamps_ns in line["stamps_ns"].items():
            for stamp_ns in stamps_ns:
                assert (stamp_ns - OFFSETS_NS[name] - START_NS) % PERIOD_NS == 0
                at_s = (stamp_ns - START_NS) / 1e9
                assert not any(start_s <= at_s < start_s + DEAD_S and name not in alive
                               for start_s, alive in windows.items()), (name, at_s)  # fmt: skip


def test_value_a_recording_is_a_data_set_of_its_suite(tmp_path, checkpoint):
    """Planes are those that the node makes; without the file, and without a suite, its sensors are not known."""
    folder = settings_of(tmp_path / "bag", {"suite": "../van.yaml"})
    frames = open_dataset("bag", folder, "train", labelled=False)
    assert (frames.suite, frames.modalities) == (VAN, VAN.members)
    with open_bag(folder, BagOptions(suite=VAN)) as opened:
        sets = [found.frame() for found in opened.sets() if len(found.sample_set.samples) == 5]
    samples = {int(sample.frame.name.rpartition("/")[2]): sample for sample in frames}
    assert len(sets) >= 2
    for frame in sets:
        for name, plane in frame.planes.items():
            np.testing.assert_array_equal(samples[frame.stamp_ns].planes[name], plane)
    (folder / "any2seg.yaml").unlink()
    asked = open_dataset("bag", folder, "train", ["F", "thermal"], labelled=False, suite=VAN)
    assert asked.modalities == ("front", "thermal")


def test_smoke_predict_of_a_recording_shows_the_camera_of_the_suite(tmp_path, checkpoint, bag):
    run = subprocess.run(
        [sys.executable, "-m", "any2seg_core", "predict", str(bag), "--checkpoint", str(checkpoint), "--every", "4",
         "--out", str(tmp_path / "out")], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in (tmp_path / "out" / "frames.jsonl").read_text().splitlines()]
    assert lines[-1]["used"] == list(VAN.members)
    pixels = np.asarray(Image.open(tmp_path / "out" / "overlay" / f"{lines[-1]['name']}.jpg")).astype(float)
    assert pixels.shape == (64, 96, 3) and pixels.std(axis=(0, 1)).min() > 20  # a picture of noise shines through
