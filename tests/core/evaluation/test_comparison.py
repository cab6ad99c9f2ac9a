"""Comparison of two evaluations: intervals beside scipy's bootstrap, refusals, the three forms of files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from raised import user_error
from scipy.stats import bootstrap

from any2seg_core.base.errors import UserError
from any2seg_core.cli.main import main
from any2seg_core.evaluation.bootstrap import mean_iou
from any2seg_core.evaluation.comparison import FrameCounts, compare
from any2seg_core.evaluation.metrics import ConfusionMatrix
from any2seg_core.evaluation.policies import POLICIES
from any2seg_core.evaluation.scores import SubsetScore
from any2seg_core.evaluation.settings import CompareSettings
from any2seg_core.reports.comparison import comparison_report
from any2seg_core.vocabulary.labels import DELIVER

HEAD = {"kind": "evaluation", "protocol": "drop", "label_space": "deliver-25", "split": "val", "eval_size": None}


def labels_of(truth: np.ndarray, quality: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.where(random.random(truth.shape) < quality, truth, random.integers(0, 6, truth.shape)).astype(np.uint8)


def scores_of(count: int, quality: float, seed: int) -> list[dict[str, SubsetScore]]:
    """Per frame the scores of two subsets against a truth that depends on the frame alone."""
    frames = []
    for number in range(count):
        truth = np.random.default_rng(100 + number).integers(0, 6, (9, 5)).astype(np.uint8)
        frames.append({})
        for place, letters in enumerate(("R", "RL")):
            score = SubsetScore.of(DELIVER)
            score.add(labels_of(truth, quality + 0.1 * place, 10 * number + seed + place), truth)
            frames[-1][letters] = score
    return frames


def written(folder: Path, frames: list[dict[str, SubsetScore]], **changes: object) -> Path:
    """As `any2seg evaluate --out` writes it."""
    folder.mkdir(parents=True)
    lines = [HEAD | changes, {"kind": "subset", "sensors": "R"}]
    for number, frame in enumerate(frames):
        counts = {letters: score.class_counts() for letters, score in frame.items()}
        lines.append({"kind": "frame", "frame": f"f{number}", "counts": counts})
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def of_one_frame(counts: dict[str, object]) -> str:
    return json.dumps(HEAD | {"per_frame": [{"frame": "a", "counts": {"R": counts}}]})


def settings(**changes: object) -> CompareSettings:
    return CompareSettings(first=Path("a"), second=Path("b"), **changes)


@pytest.mark.parametrize("policy", POLICIES)
def test_value_miou_of_counts_is_that_of_the_confusion(policy):
    matrix = ConfusionMatrix.of(DELIVER)
    for frame in scores_of(4, 0.5, 0):
        matrix.merge(frame["R"].confusion)
    counts = np.stack(matrix.class_counts(), axis=-1)
    assert mean_iou(counts, policy, matrix.other) == pytest.approx(100 * matrix.miou(policy))
    assert np.isnan(mean_iou(np.zeros((25, 3)), "present"))


def test_value_interval_is_that_of_scipy(tmp_path):
    frames = scores_of(30, 0.5, 0), scores_of(30, 0.6, 7)
    a, b = (written(tmp_path / name, each) for name, each in zip("ab", frames, strict=True))
    document = compare(FrameCounts.read(a), FrameCounts.read(b), settings(resamples=4000))

    def difference(drawn: np.ndarray) -> float:
        reached = []
        for each in frames:
            matrix = ConfusionMatrix.of(DELIVER)
            for number in drawn.astype(int):
                matrix.merge(each[number]["R"].confusion)
            reached.append(100 * matrix.miou("present"))
        return reached[1] - reached[0]

    own = document["subsets"]["R"]
    assert own["difference"] == pytest.approx(difference(np.arange(30)), abs=2e-3)
    reference = bootstrap(
        (np.arange(30),), difference, vectorized=False, n_resamples=1500, method="percentile", rng=0
    ).confidence_interval
    width = reference.high - reference.low
    assert own["low"] == pytest.approx(reference.low, abs=0.15 * width)
    assert own["high"] == pytest.approx(reference.high, abs=0.15 * width)
    assert own["is_significant"] == (own["low"] > 0)
    mean = [document["subsets"][letters]["difference"] for letters in ("R", "RL")]
    assert document["subset_mean"]["difference"] == pytest.approx(np.mean(mean), abs=2e-3)


def test_property_an_evaluation_beside_itself_differs_by_nothing_and_swapping_changes_the_sign(tmp_path):
    a = FrameCounts.read(written(tmp_path / "a", scores_of(7, 0.5, 0)))
    b = FrameCounts.read(written(tmp_path / "b", scores_of(7, 0.8, 1)))
    same = compare(a, a, settings())["subsets"]["RL"]
    assert (same["difference"], same["low"], same["high"], same["is_significant"]) == (0.0, 0.0, 0.0, False)
    there, back = (compare(*pair, settings(block=3))["subsets"]["R"] for pair in ((a, b), (b, a)))
    assert there["difference"] == -back["difference"]
    assert (there["low"], there["high"]) == pytest.approx((-back["high"], -back["low"]), abs=2e-3)


def test_value_blocks_of_like_frames_widen_the_interval(tmp_path):
    """Each frame four times over: drawn one by one they look like four times as much evidence as there is."""
    frames = [[frame for frame in scores_of(8, *given) for _ in range(4)] for given in ((0.5, 0), (0.6, 7))]
    a, b = (FrameCounts.read(written(tmp_path / n, each)) for n, each in zip("ab", frames, strict=True))
    alone, together = (compare(a, b, settings(block=block))["subsets"]["R"] for block in (1, 4))
    widths = [each["high"] - each["low"] for each in (alone, together)]
    assert widths[1] / widths[0] == pytest.approx(2.0, rel=0.25)  # the square root of four


def test_value_folder_document_and_recording_are_read_alike(tmp_path):
    frames = scores_of(3, 0.5, 0)
    folder = written(tmp_path / "a", frames)
    counts = [{letters: score.class_counts() for letters, score in frame.items()} for frame in frames]
    per_frame = [{"frame": f"f{number}", "counts": each} for number, each in enumerate(counts)]
    (tmp_path / "document.json").write_text(json.dumps(HEAD | {"per_frame": per_frame}))
    lines = [{"bag": {"name": "x"}, "label_space": "deliver-25", "protocol": "drop", "every": 1}]
    lines += [{"stamp_ns": number, "subsets": {letters: {"counts": row} for letters, row in each.items()}}
              for number, each in enumerate(counts)]  # fmt: skip
    lines.insert(2, {"stamp_ns": 9, "subsets": {"R": {"confidence": 3.0}}})  # a frame without a truth
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "frames.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "bag" / "summary.json").write_text("{}")
    read = [
        FrameCounts.read(path)
        for path in (folder, tmp_path / "document.json", tmp_path / "bag", tmp_path / "bag" / "summary.json")
    ]
    for other in read[1:]:
        assert {name: each.tolist() for name, each in other.counts.items()} == {
            name: each.tolist() for name, each in read[0].counts.items()
        }
    assert [each.facts["kind"] for each in read] == ["data set", "data set", "recording", "recording"]
    assert read[2].names == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("changes", "frames", "says"),
    [
        ({"protocol": "zero"}, scores_of(3, 0.5, 0), "differ in protocol (drop and zero)"),
        ({"eval_size": 1024}, scores_of(3, 0.5, 0), "differ in eval size (None and 1024)"),
        ({"label_space": "muses-19"}, scores_of(3, 0.5, 0), "differ in label space"),
        ({"bag": {}}, scores_of(3, 0.5, 0), "differ in kind (data set and recording)"),
        ({}, scores_of(2, 0.5, 0), "have 3 and 2 frames"),
        ({}, scores_of(4, 0.5, 0)[1:], "have another truth of the same frames"),
        ({}, [{"D": frame["R"]} for frame in scores_of(3, 0.5, 0)], "have no subset in common (R, RL; D)"),
    ],
)
def test_exception_evaluations_that_cannot_be_compared_are_refused(tmp_path, changes, frames, says):
    a, b = written(tmp_path / "a", scores_of(3, 0.5, 0)), written(tmp_path / "b", frames, **changes)
    with pytest.raises(UserError) as refused:
        compare(FrameCounts.read(a), FrameCounts.read(b), settings())
    assert refused.value.code == "value-conflict"
    assert says in str(refused.value)


MAPPING = {"name": "m", "labels": "cityscapes-19", "truth": "deliver-25", "classes": {"road": "Road", "car": "Cars"}}


def test_exception_labels_that_were_counted_as_other_classes(tmp_path):
    """Same frames, truth and compared classes; of one the trucks of the model count as cars."""
    frames = scores_of(3, 0.5, 0)
    wider = MAPPING | {"name": "wider", "classes": MAPPING["classes"] | {"truck": "Cars"}}
    a, b = (written(tmp_path / m["name"], frames, mapping=m) for m in (MAPPING, wider))
    for first, second in ((a, b), (b, a)):
        with user_error("value-conflict", "m", "wider", "truck", "Cars", "--map") as refused:
            compare(FrameCounts.read(first), FrameCounts.read(second), settings())
        assert "\n" not in str(refused.value)


def test_value_models_of_other_classes_on_one_truth_are_compared(tmp_path):
    """Each by its own mapping onto the same classes of the same truth; one needs none."""
    frames = scores_of(3, 0.5, 0)
    a = written(tmp_path / "a", frames, mapping=MAPPING)
    other = MAPPING | {"labels": "carla-0.9.14", "classes": {"Roads": "Road"}}
    for name, mapping in (("b", other), ("c", None), ("d", MAPPING), ("e", "damaged")):
        b = written(tmp_path / name, frames, mapping=mapping)
        assert compare(FrameCounts.read(a), FrameCounts.read(b), settings())["subset_mean"]["difference"] == 0


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("none", None, "file-missing"), ("x.json", "[1]", "file-content"), ("x.json", "{", "text-syntax"),
        ("x.json", json.dumps(HEAD), "file-content"), ("x.jsonl", "", "file-content"),
        ("x.json", of_one_frame({"77": [1, 1, 1]}), "file-content"),
        ("x.json", of_one_frame({"7": "x"}), "file-content"),
    ],
)  # fmt: skip
def test_exception_what_is_no_evaluation_is_refused(tmp_path, name, content, code):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as refused:
        FrameCounts.read(tmp_path / name)
    assert refused.value.code == code


def test_smoke_command_line_writes_table_json_and_report(tmp_path, monkeypatch, capsys):
    a, b = written(tmp_path / "a", scores_of(6, 0.3, 0)), written(tmp_path / "b", scores_of(6, 0.9, 1))
    arguments = [str(a), str(b), "--out", str(tmp_path / "o"), "--json"]
    monkeypatch.setattr("sys.argv", ["any2seg", "compare", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "o" / "comparison.json").read_text())
    assert printed["subsets"]["R"]["is_significant"] is True
    html = (tmp_path / "o" / "report.html").read_text()
    assert f"{printed['subsets']['RL']['difference']:+.2f}" in html
    assert html.count("<circle") == 3 and "http" not in html.replace("http://www.w3.org", "")
    assert comparison_report(printed).markdown().count("| yes |") == 3
