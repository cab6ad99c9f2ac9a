"""Recordings as data sets: what `bag extract` would write, without writing it; sets that lack sensors; all caches."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import time
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from bag_files import (
    NS_PER_S,
    START_NS,
    kitti_entries,
    labelled_kitti_entries,
    lidar_calibration,
    lidar_entries,
    small_entries,
    write_bag,
    write_ros1,
    write_split,
)  # fmt: skip
from hypothesis import given, settings
from hypothesis import strategies as st
from raised import user_error
from rosbags.rosbag2 import StoragePlugin

from any2seg_core.bags.conditions import write_conditions
from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.data import bag_store
from any2seg_core.data.bag import BagDataset
from any2seg_core.data.bag_settings import BagSettings, read_settings
from any2seg_core.data.catalogue import detect_kind, open_dataset
from any2seg_core.data.check import check_tree
from any2seg_core.data.deliver import DeliverDataset
from any2seg_core.data.extract import ExtractOptions, extract
from any2seg_core.data.plane_cache import PLANE_FOLDER
from any2seg_core.data.sparse import SparseConfig
from any2seg_core.data.usable_sets import ResumePoint, Selection, Tally, UsableSets
from any2seg_core.evaluation.batches import evaluation_batches
from any2seg_core.messages import serialise
from any2seg_core.sensors.calibration import save_calibration
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.labels import NOT_ANNOTATED

CACHES = ("none", "ram", "disk")


@pytest.fixture(scope="module")
def kitti(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("kitti") / "drive", kitti_entries(10))


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    return write_bag(tmp_path / "labelled", labelled_kitti_entries(8))


def same(one, other) -> None:
    np.testing.assert_array_equal(one.labels, other.labels)
    assert list(one.planes) == list(other.planes)
    for name, plane in one.planes.items():
        np.testing.assert_array_equal(plane, other.planes[name], err_msg=name)


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("has_truth", [True, False])
def test_value_frames_are_those_of_bag_extract(labelled: Path, tmp_path: Path, cache: str, has_truth: bool):
    """Same sets, planes and labels as the folder that `bag extract` writes of the complete sets."""
    topics = {} if has_truth else {"truth": "none"}
    with open_bag(labelled, BagOptions([f"{role}={topic}" for role, topic in topics.items()])) as opened:
        report = extract(opened, ExtractOptions(tmp_path / "out", every=2))
    written = DeliverDataset(tmp_path / "out", "train", ("rgb", "lidar"), labelled=has_truth)
    bag = {"complete": True, "every": 2}
    direct = open_dataset("auto", labelled, "train", cache=cache, labelled=has_truth, bag=bag)
    assert type(direct) is BagDataset
    assert len(direct) == len(written) == report.written == 4
    assert (direct.modalities, direct.encodings) == (written.modalities, written.encodings)
    assert direct.index.tally.skipped == report.skipped
    for index in (3, 0, 2, 1):  # random access
        assert direct.frames[index].name == f"labelled/{written.frames[index].stem}"
        same(direct[index], written[index])


@pytest.mark.parametrize("cache", CACHES)
def test_value_sets_that_lack_a_sensor_are_kept_with_what_they_have(kitti: Path, cache: str):
    """The first camera image comes before any sweep; the node would segment it too."""
    dataset = open_dataset("bag", kitti, "train", cache=cache, labelled=False)
    assert dataset.modalities == ("rgb", "lidar")
    assert [frame.present for frame in dataset.frames] == [("rgb",)] + 9 * [("rgb", "lidar")]
    for frame, sample in zip(dataset.frames, map(dataset.__getitem__, range(10)), strict=True):
        assert tuple(sample.planes) == frame.present == dataset.present(frame)
        assert sample.labels.shape == (375, 1242) and (sample.labels == NOT_ANNOTATED).all()
    assert {dataset.condition(frame) for frame in dataset.frames} == {"bag"}


def test_value_sensors_that_were_asked_for_and_are_not_there(kitti: Path, caplog: pytest.LogCaptureFixture):
    """A model of four sensors learns from a bag of two; a bag of none of them is an error."""
    dataset = open_dataset("bag", kitti, "train", ["rgb", "depth", "lidar"], cache="ram", labelled=False)
    assert dataset.modalities == ("rgb", "depth", "lidar")
    assert set(dataset.encodings) == {"rgb", "depth", "lidar"}
    assert {name for frame in dataset.frames for name in frame.present} == {"rgb", "lidar"}
    assert "no topic for depth: no frame has that sensor" in caplog.text
    alone = open_dataset("bag", kitti, "train", ["lidar"], cache="ram", labelled=False)
    assert {frame.present for frame in alone.frames} == {("lidar",)}
    with user_error("bag-sensor-missing", "depth, event"):
        open_dataset("bag", kitti, "train", ["depth", "event"], labelled=False)
    with user_error("sensor-unknown", "'radar'"):
        open_dataset("bag", kitti, "train", ["radar"], labelled=False)


@pytest.mark.parametrize("kind", ["mcap", "db3", "split", "ros1"])
def test_value_every_kind_of_bag(tmp_path: Path, kind: str):
    """A single file, sqlite3, a split folder and ROS 1, with a LiDAR alone and a calibration beside it."""
    entries = lidar_entries(6)
    if kind == "ros1":
        bag = write_ros1(tmp_path / "drive.bag", entries)
    elif kind == "split":
        bag = write_split(tmp_path / "drive", [entries[:3], entries[3:]])
    else:
        storage = StoragePlugin.MCAP if kind == "mcap" else StoragePlugin.SQLITE3
        folder = write_bag(tmp_path / "drive", entries, storage)
        bag = next(path for path in folder.iterdir() if path.suffix == f".{kind}")
    plane = tmp_path / "plane.yaml"
    save_calibration(plane, lidar_calibration())
    assert detect_kind(bag) == "bag"
    dataset = open_dataset("auto", bag, "train", cache="disk", labelled=False, bag={"calibration": str(plane)})
    assert len(dataset) == 6
    assert {sample.planes["lidar"].shape for sample in map(dataset.__getitem__, range(6))} == {(96, 160, 3)}
    home = bag if bag.is_dir() else bag.parent
    assert len(list((home / PLANE_FOLDER).glob("*/lidar/*.png"))) == 6
    with user_error("calibration-missing"):
        open_dataset("auto", bag, "train", labelled=False)


def test_value_settings_beside_the_recording(kitti: Path, tmp_path: Path):
    """any2seg.yaml holds for every user of the bag; what is given goes over it, topic by topic."""
    bag = write_bag(tmp_path / "drive", labelled_kitti_entries(8))
    (bag / "params.yaml").write_text("/**:\n  ros__parameters:\n    lidar: {offset_s: -0.03}\n")
    (bag / "any2seg.yaml").write_text("every: 3\nparams: params.yaml\ntopics: {lidar: none}\ncondition: rain\n")
    settings = read_settings(bag, {"every": 2, "topics": {"truth": "none"}})
    assert (settings.every, settings.params) == (2, bag / "params.yaml")
    assert settings.topics == {"lidar": "none", "truth": "none"}
    dataset = open_dataset("auto", bag, "train", cache="ram")
    assert (len(dataset), dataset.modalities) == (3, ("rgb",))
    assert dataset.condition(dataset.frames[0]) == "rain"
    assert len(open_dataset("auto", bag, "train", cases=["rain"], cache="ram", bag=BagSettings(every=4))) == 2
    file = next(bag.glob("*.mcap"))
    (bag / f"{file.stem}.any2seg.yaml").write_text("start_s: 0.35\n")
    assert len(open_dataset("auto", file, "train", cache="ram")) == 4  # pictures 4 to 7 arrive later


def test_value_splits_are_stretches_of_time(labelled: Path):
    """8 sets in 0.74 s: without val_share all are train; a quarter of the time at the end is two sets."""
    whole = open_dataset("bag", labelled, "train", cache="disk")
    assert len(whole) == 8
    folders = list((labelled / PLANE_FOLDER).iterdir())
    parts = [open_dataset("bag", labelled, split, cache="disk", bag={"val_share": 0.25}) for split in ("train", "val")]
    assert [frame.name for part in parts for frame in part.frames] == [frame.name for frame in whole.frames]
    assert len(parts[1]) == 2
    assert list((labelled / PLANE_FOLDER).iterdir()) == folders  # one pass serves all splits
    same(open_dataset("bag", labelled, "val", cache="ram", bag={"val_share": 0.25})[1], whole[7])
    with user_error("data-empty", "bag.val_share"):
        open_dataset("bag", labelled, "val", cache="ram")
    with user_error("data-empty", "test"):
        open_dataset("bag", labelled, "test", cache="ram")


def test_value_condition_of_a_simulated_drive(labelled: Path):
    write_conditions(labelled, [(0.3, "night"), (0.2, "fog")], seed=3)
    dataset = open_dataset("bag", labelled, "train", cache="ram")
    assert [dataset.condition(frame) for frame in dataset.frames] == 3 * ["night"] + 5 * ["fog"]  # the last one goes on
    assert len(open_dataset("bag", labelled, "train", cases=["night"], cache="ram")) == 3
    (labelled / "drive.json").write_text('{"segments": [{"seconds": 1, "condition": "hail"}]}')
    with user_error("file-content", "drive.json"):
        open_dataset("bag", labelled, "train", cache="ram")


def test_value_a_stamp_that_comes_again_is_a_frame_of_its_own(tmp_path: Path):
    """A recording of a loop: time jumps back by ten seconds, and each set of each round stays a frame."""
    rounds = [small_entries(3, start_ns=START_NS + offset_s * NS_PER_S) for offset_s in (10, 0, 10)]
    starts_ns = (START_NS + 20 * NS_PER_S * k - entries[0][0] for k, entries in enumerate(rounds))
    looped = [
        (time_ns + shift_ns, topic, kind, data)
        for entries, shift_ns in zip(rounds, starts_ns, strict=True)
        for time_ns, topic, kind, data in entries
    ]
    bag = write_bag(tmp_path / "bag", looped)
    dataset = open_dataset("bag", bag, "train", cache="disk", labelled=False)
    stems = [frame.name.partition("/")[2] for frame in dataset.frames]
    assert len(set(stems)) == len(stems) == 9
    assert stems[6:] == [f"{stem}_2" for stem in stems[:3]]
    with open_bag(bag) as opened:
        assert extract(opened, ExtractOptions(tmp_path / "out")).written == 9
    written = DeliverDataset(tmp_path / "out", "train", ["rgb"], labelled=False)
    assert sorted(frame.stem for frame in written.frames) == sorted(stems)


def test_value_the_cache_follows_content_and_settings(kitti: Path, tmp_path: Path):
    """Another setting, another recording at the same place or a lost file is made anew; else nothing is read again."""
    bag = write_bag(tmp_path / "bag", small_entries(4))
    options = {"cache": "disk", "labelled": False}
    first = open_dataset("bag", bag, "train", **options)
    stamps = {path: path.stat().st_mtime_ns for path in bag.rglob("*.png")}
    again = open_dataset("bag", bag, "train", **options)
    assert stamps == {path: path.stat().st_mtime_ns for path in bag.rglob("*.png")} and len(stamps) == 4
    same(first[2], again[2])
    assert len(open_dataset("bag", bag, "train", bag={"every": 3}, **options)) == 2
    assert len(list((bag / PLANE_FOLDER).iterdir())) == 2
    first.files(first.frames[1])["rgb"][0].unlink()
    restored = open_dataset("bag", bag, "train", **options)
    assert restored[1].planes["rgb"][0, 0].tolist() == [1, 1, 1]
    file = next(bag.glob("*.mcap"))
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 5))
    open_dataset("bag", bag, "train", **options)
    assert len(list((bag / PLANE_FOLDER).iterdir())) == 3
    elsewhere = tmp_path / "fast_disk"
    open_dataset("bag", bag, "train", bag={"planes": str(elsewhere)}, **options)
    assert len(list(elsewhere.glob(f"{PLANE_FOLDER}/*/rgb/*.png"))) == 4


def slow_build(bag: Path, delay_s: float, barrier, results) -> None:
    """In a process of its own: open the bag with slow writing, and tell what was written and what is read."""
    written = []
    write = bag_store.write_png

    def slowly(path: Path, image: np.ndarray) -> None:
        time.sleep(delay_s)
        write(path, image)
        written.append(path)

    bag_store.write_png = slowly
    if barrier is not None:
        barrier.wait()
    dataset = BagDataset(bag, "train", cache="disk", labelled=False)
    if results is not None:
        results.put((len(written), checksum(dataset)))


def checksum(dataset: BagDataset) -> int:
    planes = [plane.tobytes() for index in range(len(dataset)) for plane in dataset[index].planes.values()]
    return zlib.crc32(b"".join(planes))


def start(*arguments) -> multiprocessing.Process:
    process = multiprocessing.get_context("spawn").Process(target=slow_build, args=arguments)
    process.start()
    return process


def test_value_a_killed_build_goes_on_where_it_was(kitti: Path, tmp_path: Path):
    """kill -9 while planes are written: no half is taken for the whole, and what was whole is not written again."""
    bag = write_bag(tmp_path / "bag", kitti_entries(10))
    process = start(bag, 0.3, None, None)
    deadline = time.monotonic() + 120
    while not (found := [path for path in bag.rglob("sets.jsonl") if path.read_text().count("\n") >= 2]):
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.join()
    folder = found[0].parent
    with found[0].open("a") as journal:
        journal.write('{"index": 9, "fra')  # as a kill within a write would leave it
    assert not (folder / "index.json").exists()
    frames = [json.loads(line)["frame"]["name"].rpartition("/")[2] for line in found[0].read_text().splitlines()[:-1]]
    assert 2 <= len(frames) < 10
    before = {p: p.stat().st_mtime_ns for name in frames for p in folder.glob(f"*/{name}.png")}
    dataset = BagDataset(bag, "train", cache="disk", labelled=False)
    assert before and before == {path: path.stat().st_mtime_ns for path in before}
    fresh = BagDataset(kitti, "train", cache="ram", labelled=False)
    assert checksum(dataset) == checksum(fresh)
    assert dataset.index.tally == fresh.index.tally
    assert [frame.present for frame in dataset.frames] == [frame.present for frame in fresh.frames]


def test_value_of_two_processes_at_once_one_builds_and_the_other_reads(kitti: Path, tmp_path: Path):
    bag = write_bag(tmp_path / "bag", kitti_entries(10))
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    processes = [start(bag, 0.02, barrier, results) for _ in range(2)]
    outcomes = sorted(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
    assert [count for count, _ in outcomes] == [0, 19]  # nine sweeps and ten pictures, by one of them
    assert {crc for _, crc in outcomes} == {checksum(BagDataset(kitti, "train", cache="ram", labelled=False))}


def test_value_temporary_planes_go_with_their_owner_alone(kitti: Path):
    """cache=none: a copy in a loading process reads them, and its end does not take them away."""
    bag = write_bag(kitti.parent / "temporary", kitti_entries(3))
    dataset = BagDataset(bag, "train", labelled=False)
    folder = dataset.files(dataset.frames[0])["rgb"][0].parents[1]
    copy = pickle.loads(pickle.dumps(dataset))
    same(copy[2], dataset[2])
    del copy
    assert folder.is_dir() and bag not in folder.parents
    part = dataset.part([2, 0])
    twin = BagDataset(bag, "train", labelled=False)  # nothing is read twice
    assert twin.files(twin.frames[0]) == dataset.files(dataset.frames[0])
    del dataset, twin
    assert part[0].planes["rgb"].shape == (375, 1242, 3)
    del part
    assert not folder.exists()


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 pictures of 7x5; number 15 to number 70 are the same."""
    entries = []
    for number, (time_ns, topic, kind, _) in enumerate(small_entries(80)):
        seed = 15 if 15 <= number <= 70 else number
        pixels = np.random.default_rng(seed).integers(0, 256, (5, 7), np.uint8)
        entries.append((time_ns, topic, kind, serialise.image(pixels, "mono8", time_ns - 10, "camera")))
    return write_bag(tmp_path_factory.mktemp("frozen") / "drive", entries)


@settings(max_examples=10, deadline=None)
@given(cut=st.integers(0, 60), every=st.integers(1, 3), motion=st.sampled_from(["", "3%", "12%"]))
def test_property_a_pass_that_goes_on_gives_what_one_pass_gives(frozen: Path, cut: int, every: int, motion: str):
    """Counts, motion and the memory for frozen sensors are those of an uninterrupted pass, wherever it was cut."""
    selection = Selection(every=every, min_motion=motion, complete=False)
    with open_bag(frozen) as opened:
        tally, whole, states = Tally(), [], []
        for found in UsableSets(opened, selection, tally):
            whole.append(found)
            states.append(Tally(sets=tally.sets, skipped=Counter(tally.skipped), problems=Counter(tally.problems)))
        done = whole[: cut % len(whole)]
        planes = {found.number: (lambda found=found: found.planes["rgb"]) for found in done}
        known = ResumePoint(done[-1].number, planes, states[len(done) - 1]) if done else ResumePoint()
        again = UsableSets(opened, selection, None, known=known)
        rest = list(again)
    assert [found.number for found in [*done, *rest]] == [found.number for found in whole]
    for found, expected in zip(rest, whole[len(done) :], strict=True):
        np.testing.assert_array_equal(found.planes["rgb"], expected.planes["rgb"])
    assert again.tally == tally
    if every == 1 and not motion:
        assert tally.skipped == {"unreadable": 7}  # the 50th of the 56 equal pictures and those after it


def test_value_a_truncated_recording_is_read_up_to_the_break(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = write_bag(tmp_path / "drive", kitti_entries(10), chunk_every=3)
    file = next(folder.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    dataset = BagDataset(file, "train", cache="ram", labelled=False)
    assert 2 <= len(dataset) < 10
    assert "broken at byte" in caplog.text and str(file) in caplog.text
    file.write_bytes(b"nothing of a bag")
    with user_error("bag-format", "drive.mcap"):
        BagDataset(file, "train", cache="ram", labelled=False)


def test_exception_what_a_user_can_cause(kitti: Path, labelled: Path, tmp_path: Path):
    with user_error("truth-missing"):
        BagDataset(kitti, "train")
    with user_error("bag-no-sets", "10 sets", "start_s"):
        BagDataset(kitti, "train", cache="ram", labelled=False, bag={"start_s": 50})
    with user_error("data-missing", "none.mcap"):
        BagDataset(tmp_path / "none.mcap", "train")
    with user_error("data-missing"):
        BagDataset(tmp_path, "train")
    with user_error("key-unknown", "evry=2"):
        BagDataset(kitti, "train", bag={"evry": 2})
    with user_error("value-invalid", "min_motion='fast'"):
        BagDataset(kitti, "train", bag={"min_motion": "fast"})
    with user_error("value-range", "start_s=3", "end_s=2"):
        BagDataset(kitti, "train", bag={"start_s": 3, "end_s": 2})
    with user_error("option-unsupported", "source=raw"):
        open_dataset("auto", kitti, "train", source="raw")
    (tmp_path / "drive.any2seg.yaml").write_text("every: never\n")
    bag = tmp_path / "drive.bag"
    write_ros1(bag, lidar_entries(2))
    with user_error("value-type", "drive.any2seg.yaml", "every='never'"):
        BagDataset(bag, "train")
    blocked = tmp_path / "file"
    blocked.touch()
    with user_error("output-unwritable", "any2seg_planes", "bag.planes=FOLDER"):
        BagDataset(labelled, "train", cache="disk", bag={"planes": str(blocked)})


def test_value_check_says_in_plain_words_what_is_there(labelled: Path, kitti: Path, tmp_path: Path):
    """Frames, sensors and pixels counted by hand; no file is written by looking."""
    before = sorted(labelled.rglob("*"))
    report = check_tree(labelled)
    assert (report.kind, report.count, report.frames) == ("bag", 0, {"train": {"bag": 8}})
    assert report.sizes == {"rgb": {"1242x375": 8}, "lidar": {"1242x375": 7}, "labels": {"1242x375": 8}}
    assert report.unlabelled == pytest.approx(20 / 375)
    assert sum(report.class_pixels.values()) == 8 * 355 * 1242
    assert "lidar: in 7 of 8 frames" in report.notes
    assert "rgb is /kitti/camera_color_left/image" in report.notes
    assert sorted(labelled.rglob("*")) == before
    quick = check_tree(labelled, read=False)
    assert (quick.frames, quick.sizes) == (report.frames, {})
    unlabelled = check_tree(kitti)
    assert unlabelled.class_pixels == {}
    assert any(note.startswith("labels: no topic: train on it as data.unlabelled") for note in unlabelled.notes)
    with user_error("bag-sensor-missing", "depth"):
        check_tree(kitti, modalities=["rgb", "depth"])
    file = next(write_bag(tmp_path / "broken", kitti_entries(10), chunk_every=3).glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    broken = check_tree(file)
    assert broken.count == 1 and "broken at byte" in broken.problems["train"][0]


def test_value_evaluation_batches_hold_frames_of_the_same_sensors(labelled: Path):
    """The first set has no sweep: it is a batch of its own, without a LiDAR image."""
    dataset = open_dataset("bag", labelled, "train", cache="ram")
    contract = InputContract(modalities=("rgb", "lidar"), height=32, width=64)
    batches = list(evaluation_batches(dataset, range(4), contract, torch.device("cpu"), batch_size=3))
    assert [list(batch.images) for batch in batches] == [["rgb"], ["rgb", "lidar"]]
    assert [batch.indices for batch in batches] == [(0,), (1, 2, 3)]


def test_value_lidar_labels_of_label_images(labelled: Path):
    """Where the truth is dense: at the points of the plane, and nowhere in a frame without LiDAR."""
    dense = open_dataset("bag", labelled, "train", cache="ram")
    sparse = open_dataset("bag", labelled, "train", cache="ram", sparse=SparseConfig(kind="lidar"))
    assert (sparse[0].labels == NOT_ANNOTATED).all()
    kept = sparse[5].labels != NOT_ANNOTATED
    assert 100 < kept.sum() < 4000
    np.testing.assert_array_equal(sparse[5].labels[kept], dense[5].labels[kept])
    assert sparse[5].planes["lidar"][kept].any(axis=1).all()
