"""What a student is judged by: agreement counted by hand, faults, temperatures of other frames, regions to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import ALONE

import any2seg_training.teach.judge as judge_module
from any2seg_core.evaluation.fault_table import GONE, Trial, frame_labeller
from any2seg_core.evaluation.scores import SubsetScore
from any2seg_core.vocabulary.labels import DELIVER, is_labelled
from any2seg_training.build import build_run
from any2seg_training.splits import open_split
from any2seg_training.teach.documents import apart_classes
from any2seg_training.teach.judge import Judge, silent
from any2seg_training.teach.recipe import student_config
from any2seg_training.teach.recordings import inspected, start_of
from any2seg_training.teach.report import _largest
from any2seg_training.teach.settings import TeachSettings


@pytest.fixture(scope="module")
def judge(recording: Path, teacher: Path, tmp_path_factory) -> Judge:
    """A student that has not learned anything yet: its camera is the teacher's."""
    out = tmp_path_factory.mktemp("out")
    given = TeachSettings(recordings=(recording,), teacher=(str(teacher),), out=out, held_out=0.4, device="cpu")
    sources, start = inspected(given.recordings, ""), start_of(given.teacher)
    config = student_config(given, sources, start, 1, 1, cache="ram", threads=1)
    run = build_run(config, ALONE)
    frames = open_split(config, "val", "ram")
    return Judge(run.average.model, run.contract, frames, run.method.lessons, torch.device("cpu"), seed=3)


def test_value_agreement_is_what_one_counts(judge: Judge):
    found = judge.verdict(silent)
    right, taught = dict.fromkeys(judge.letters, 0), 0
    for index in range(len(judge.frames)):
        _, labels, word = judge.labels_of(index)
        taught += int(is_labelled(word).sum())
        for letters, own in labels.items():
            right[letters] += int(((own == word) & is_labelled(word)).sum())
    assert found.frames == len(judge.frames) == 4 and found.truth == {} and found.teacher_truth is None
    for letters, score in found.agreement.items():
        assert score.confusion.pixel_accuracy() == pytest.approx(right[letters] / taught)
    assert found.agreement["R"].confusion.pixel_accuracy() > 0.98 > found.agreement["L"].confusion.pixel_accuracy()
    shares = [share for share, _ in found.apart]
    assert shares == sorted(shares, reverse=True) and sorted(index for _, index in found.apart) == [0, 1, 2, 3]
    rows = {(row["sensor"], row["fault"]): row for row in found.faults}
    assert rows["lidar", "gone"]["agreement"] == pytest.approx(found.agreement["R"].confusion.pixel_accuracy())
    assert rows["rgb", "gone"]["agreement"] == pytest.approx(found.agreement["L"].confusion.pixel_accuracy())
    assert rows["rgb", "gone"]["teacher_agreement"] == 0.0 and rows["lidar", "beams"]["teacher_agreement"] is None
    assert 0 < rows["rgb", "freeze"]["teacher_agreement"] < 1 and rows["rgb", "noise"]["teacher_agreement"] < 1


def test_value_teachers_without_a_sensor_are_asked_of_the_others(judge: Judge, monkeypatch):
    """They say the same of any sensor, and nothing of none."""

    def same(images, available, size, said=None):
        found = torch.zeros(len(available), 3, *size)
        found[:, 1] = available.any(dim=1).float()[:, None, None]
        return found

    monkeypatch.setattr(judge.lessons.teachers, "probabilities", same)
    rows = {(row["sensor"], row["fault"]): row for row in judge.faults([0], silent)}
    assert rows["rgb", "gone"]["teacher_agreement"] == 1.0
    alone = judge.frames[0]._replace(planes={"rgb": judge.frames[0].planes["rgb"]})
    assert judge._teachers_under(Trial(GONE, "rgb", None), alone, 0, judge.lessons.labels(alone))[0] == 0
    labels_of = frame_labeller(judge.target, alone, 0, 0)
    assert (labels_of(Trial(GONE, "rgb", None)) == 255).all() and (labels_of(None) < 3).all()
    assert np.array_equal(labels_of(Trial(GONE, "lidar", None)), labels_of(None))


def test_value_temperatures_are_found_on_other_frames_than_their_errors(judge: Judge, monkeypatch):
    asked = []

    def stand_in(target, _progress, others):
        asked.append((target.indices, others.indices))
        return target.contract.model_copy(update={"temperatures": {"R": 2.0}}), {}

    before = judge.target
    monkeypatch.setattr(judge_module, "calibrated", stand_in)
    judge.calibrate(silent)
    assert asked == [([0, 2], [1, 3])] and judge.target.contract.temperature(["rgb"]) == 2.0
    judge.target = before


def test_value_the_largest_region_and_what_both_call_it():
    word, own = np.full((12, 17), 6, np.uint8), np.full((12, 17), 6, np.uint8)
    own[1:3, 1:3] = 9
    own[5:10, 4:15] = 0
    own[5, 4:15] = 13
    region, told = _largest(word != own, word, own, DELIVER)
    assert region == (4, 5, 11, 5) and told == f"largest region {100 * 55 / 204:.1f} %: Road, or Building"
    assert _largest(word != word, word, word, DELIVER) == (None, "nothing differs")


def test_value_pairs_of_classes_that_differ_most_come_first():
    score = SubsetScore.of(DELIVER)
    word = np.array([[0, 0, 0, 6, 6, 9, 255, 9]], np.uint8)
    own = np.array([[6, 6, 0, 6, 0, 9, 0, 255]], np.uint8)
    score.add(own, word)
    found = [(row["teacher"], row["student"]) for row in apart_classes(score, DELIVER)]
    assert found == [("Building", "Road"), ("Road", "Building")]
    assert apart_classes(score, DELIVER)[0]["percent"] == pytest.approx(100 * 2 / 6, abs=0.01)


def test_value_drawn_labels_are_as_frequent_as_the_teacher_is_sure(judge: Judge, monkeypatch):
    """Three columns of probabilities: 0.8 and 0.2, a third each, and one that does not count."""
    said = torch.zeros(1, 3, 90, 90)
    said[0, :2, :, :30] = torch.tensor([0.8, 0.2]).view(2, 1, 1)
    said[0, :, :, 30:] = 1 / 3
    counted = torch.ones(1, 90, 90, dtype=torch.bool)
    counted[:, :, 60:] = False
    monkeypatch.setattr(judge.lessons, "_said", lambda _: (said, counted))
    drawn = judge.lessons.drawn(judge.frames[0], np.random.default_rng(0))
    assert (drawn == 0)[:, :30].mean() == pytest.approx(0.8, abs=0.03) and set(np.unique(drawn[:, :30])) == {0, 1}
    assert all((drawn == k)[:, 30:60].mean() == pytest.approx(1 / 3, abs=0.03) for k in range(3))
    assert (drawn[:, 60:] == 255).all()
    frames = judge_module.DrawnFrames(judge.frames, judge.lessons)
    again = judge_module.DrawnFrames(judge.frames, judge.lessons)
    assert np.array_equal(frames.readable(1).labels, again.readable(1).labels)
