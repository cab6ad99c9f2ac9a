"""`any2seg evaluate` from end to end on a tiny data set, and everything that must stop it."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_data import write_deliver
from raised import assert_refused
from untrained import write_checkpoint

from any2seg_core.cli.main import main
from any2seg_core.evaluation.dataset import EvaluationTarget, evaluate_dataset
from any2seg_core.evaluation.settings import EvaluateSettings
from any2seg_core.reports.dataset import dataset_report, sections, text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evaluate")
    write_deliver(root / "data", {"train": 1, "val": 3}, (37, 66))
    write_checkpoint(root / "all.safetensors")
    write_checkpoint(root / "depth.safetensors", ("depth",), seed=1)
    (root / "specialists.json").write_text(json.dumps({"camera": 57.2, "D": "depth.safetensors"}))
    return root


@pytest.fixture(scope="module")
def document(folder: Path) -> dict:
    settings = EvaluateSettings(
        checkpoint=folder / "all.safetensors", data=folder / "data", noise=True, batch_size=4,
        specialists=folder / "specialists.json",
    )  # fmt: skip
    seen: list[tuple[str, int, int]] = []
    document = evaluate_dataset(settings, lambda *state: seen.append(state))
    assert seen[-1][1:] == (48, 48)  # 6 frames: subsets, one specialist, three rates, three noise levels
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    return document


def test_value_tables_agree_with_each_other(document: dict, folder: Path):
    assert len(document["subsets"]) == 15
    assert document["frames"] == 6
    assert document["data_set"] == "deliver"
    full = document["subsets"]["RDEL"]["miou_all"]
    assert document["cases"]["cloud"]["frames"] == 3
    assert list(document["cases"]) == ["cloud", "night", "motionblur"]
    assert document["cases"]["night"]["miou_all"] == document["cases"]["motionblur"]["miou_all"]
    assert document["retention"]["R"]["specialist"] == 57.2
    alone = EvaluateSettings(checkpoint=folder / "depth.safetensors", data=folder / "data")
    specialist = evaluate_dataset(alone, lambda *_: None)["subsets"]["D"]["miou_all"]
    assert document["retention"]["D"]["specialist"] == pytest.approx(specialist, abs=0.006)
    assert document["retention"]["D"]["model"] == pytest.approx(document["subsets"]["D"]["miou_all"], abs=0.006)
    assert document["noise"]["rmm"]["0.25"]["subsets"]["RDEL"] == pytest.approx(full, abs=0.006)  # nothing is missing
    assert set(document["noise"]["nm"]) == {"low", "mid", "high"}
    assert 0 <= document["calibration"]["E"]["ece"] <= 100
    assert sum(document["calibration"]["E"]["bins"]["pixels"]) == 6 * 35 * 66  # two rows are unlabelled
    json.dumps(document, allow_nan=False)


def test_value_counts_of_the_frames_add_up_to_the_confusion(document: dict):
    confusion = np.array(document["confusion"]["counts"])
    assert confusion.shape == (25, 26) and document["confusion"]["classes"][-1] == "no label"
    totals = np.zeros((25, 3), int)
    for frame in document["per_frame"]:
        for number, counts in frame["counts"]["RDEL"].items():
            totals[int(number)] += counts
    np.testing.assert_array_equal(totals, np.stack([np.diag(confusion), confusion.sum(1), confusion[:, :25].sum(0)], 1))
    reached = 100 * np.trace(confusion) / confusion.sum()
    assert document["subsets"]["RDEL"]["pixel_accuracy"] == pytest.approx(reached, abs=6e-4)


def test_value_batches_do_not_change_the_numbers(document: dict, folder: Path):
    settings = EvaluateSettings(checkpoint=folder / "all.safetensors", data=folder / "data", noise=True, batch_size=1)
    alone = evaluate_dataset(settings, lambda *_: None)
    for letters, row in document["subsets"].items():
        assert alone["subsets"][letters] == pytest.approx(row, abs=0.1)
    for name, value in document["noise"]["nm"].items():
        assert alone["noise"]["nm"][name] == pytest.approx(value, abs=0.1)


def test_value_protocol_zero_is_missing_at_rate_one(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("any2seg_core.evaluation.dataset.MISSING_RATES", (1.0,))
    settings = EvaluateSettings(
        checkpoint=folder / "all.safetensors", data=folder / "data", protocol="zero", noise=True, frames=2
    )
    document = evaluate_dataset(settings, lambda *_: None)
    for letters, value in document["noise"]["rmm"]["1"]["subsets"].items():
        assert value == pytest.approx(document["subsets"][letters]["miou_all"], abs=0.006)


def test_value_truth_size(folder: Path):
    settings = EvaluateSettings(checkpoint=folder / "all.safetensors", data=folder / "data", eval_size=16)
    batch = next(EvaluationTarget.open(settings, settings.checkpoint).batches())
    assert tuple(batch.truth.shape[1:]) == (16, 29)  # 37 x 66


def test_value_documents_show_every_table(document: dict):
    titles = [section.title for section in sections(document)]
    assert titles == [
        "Sensor subsets", "Beside published numbers", "Conditions and failures", "Robustness", "Retention",
        "Damaged sensors", "Calibration", "Classes",
    ]  # fmt: skip
    for section in sections(document):
        assert all(len(row) == len(section.table.headings) for row in section.table.rows), section.title
    shown = dataset_report(document).markdown()
    assert "| Any2Seg, MiT-B2 | drop | 39.02 |" in shown
    assert "48.03" in shown
    assert "printed mean 48.29" in shown
    assert "| 37.90 | 37.07 | 44.97 | 44.85 | 41.98 |" in shown  # the benchmark's means over all subsets
    assert "| 47.49 | 42.41 | 48.19 | 49.31 | 48.33 |" in shown  # half of the values missing
    assert "| 2.31 | 3.30 | 3.98 | 8.70 | 9.25 |" in shown
    page = dataset_report(document).html()
    assert page.count("<svg") == 4
    assert "http" not in page.replace("http://www.w3.org", "")
    for row in document["subsets"].values():
        assert f"{row['miou_all']:.2f}" in page


def test_value_the_terminal_shows_all_that_was_asked_for(document: dict):
    lines = text(document).splitlines()
    assert max(map(len, lines)) <= 100
    for title in ("Conditions and failures", "Robustness", "Retention", "Damaged sensors"):
        assert title in lines
    noise = f"{document['noise']['nm']['high']:.2f}"
    assert next(line for line in lines if line.startswith("NM high")).endswith(f" {noise}")
    (row,) = (line for line in lines[lines.index("Retention") :] if line.startswith("R "))
    share = 100 * document["subsets"]["R"]["miou_all"] / 57.2
    assert [float(cell) for cell in row.split()[1:]] == pytest.approx(
        [document["subsets"]["R"]["miou_all"], 57.2, share], abs=0.011
    )
    case = next(line for line in lines if line.startswith("mean   "))
    cases = [entry["miou_all"]["RDEL"] for entry in document["cases"].values()]
    assert float(case.split()[1]) == pytest.approx(sum(cases) / 3, abs=0.006)


def test_smoke_command_line(folder: Path, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    arguments = [str(folder / "all.safetensors"), str(folder / "data"), "--frames", "2", "--out", str(tmp_path / "o")]
    monkeypatch.setattr("sys.argv", ["any2seg", "evaluate", *arguments, "--json", "--case", "night"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["frames"] == 2
    lines = [json.loads(line) for line in (tmp_path / "o" / "results.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["evaluation"] + ["subset"] * 15 + ["frame"] * 2
    assert [line["frame"] for line in lines[16:]] == [entry["frame"] for entry in printed["per_frame"]]
    assert lines[15]["sensors"] == "RDEL"
    assert lines[15]["miou_all"] == printed["subsets"]["RDEL"]["miou_all"]
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["report.html", "report.md", "results.jsonl"]
    page = (tmp_path / "o" / "report.html").read_text()
    assert page.count("<img") == 2 * 7  # of each frame four planes, prediction, truth, what is wrong
    assert all(entry["frame"] in page for entry in printed["per_frame"])


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    monkeypatch.setattr("sys.argv", ["any2seg", "evaluate", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_exception_bad_input_is_one_line_and_exit_2(folder: Path, tmp_path: Path, monkeypatch, capsys):
    checkpoint, data = folder / "all.safetensors", folder / "data"
    for arguments, told in (
        ((tmp_path / "none.safetensors", data), ("checkpoint-missing", "none.safetensors")),
        ((checkpoint, tmp_path / "none"), ("data-missing", "none")),
        ((checkpoint, data, "--protocol", "black"), ("value-unknown", "--protocol black", "'drop'", "'zero'")),
        ((checkpoint, data, "--case", "snow"), ("value-unknown", "'snow'")),
    ):
        assert_refused(run(monkeypatch, capsys, *arguments), *told)
    for content, told in (
        ("{", ("text-syntax", "s.json")),
        ("[]", ("file-content", "s.json")),
        ('{"X": 3}', ("sensor-unknown", "s.json", "'X'")),
        ('{"R": -1}', ("value-type", "s.json", "R is -1")),
        ('{"R": "depth.safetensors"}', ("checkpoint-mismatch", "depth.safetensors", "rgb")),
    ):
        (tmp_path / "s.json").write_text(content)
        shutil.copy(folder / "depth.safetensors", tmp_path)
        assert_refused(run(monkeypatch, capsys, checkpoint, data, "--specialists", tmp_path / "s.json"), *told)


def test_exception_nothing_labelled_is_said_first(folder: Path, tmp_path: Path, monkeypatch, capsys):
    root = write_deliver(tmp_path / "data", {"train": 1, "val": 1}, (37, 66))
    for path in (root / "semantic").rglob("val/*/*.png"):
        assert cv2.imwrite(str(path), np.zeros((37, 66), np.uint8))
    monkeypatch.setattr("any2seg_core.evaluation.dataset.frame_scores", lambda *_: pytest.fail("computed"))
    message = run(monkeypatch, capsys, folder / "all.safetensors", root)
    assert_refused(message, "data-unlabelled", "2 frames", "val")


def test_exception_checkpoint_of_another_label_space(folder: Path, monkeypatch, capsys):
    (folder / "muses" / "frame_camera").mkdir(parents=True, exist_ok=True)
    message = run(monkeypatch, capsys, folder / "all.safetensors", folder / "muses")
    assert "all.safetensors was trained on labels deliver-25" in message
    assert "is muses with muses-19: give the data set of the checkpoint" in message


def test_exception_corrupt_image_is_named_or_skipped_and_counted(folder: Path, tmp_path: Path, monkeypatch, capsys):
    root = tmp_path / "data"
    shutil.copytree(folder / "data", root)
    broken = next((root / "lidar" / "night" / "val").glob("*/*.png"))
    broken.write_bytes(broken.read_bytes()[:40])
    message = run(monkeypatch, capsys, folder / "all.safetensors", root)
    assert str(broken) in message
    settings = EvaluateSettings(checkpoint=folder / "all.safetensors", data=root, skip_corrupt=True)
    document = evaluate_dataset(settings, lambda *_: None)
    assert document["frames"] == 5
    assert len(document["skipped"]) == 1
    assert "5 frames, 1 corrupt ones skipped" in dataset_report(document).markdown()


def test_value_no_train_split_means_no_floors_and_says_so(folder: Path, tmp_path: Path, caplog):
    write_deliver(tmp_path / "data", {"val": 1}, (37, 66))
    settings = EvaluateSettings(checkpoint=folder / "all.safetensors", data=tmp_path / "data")
    with caplog.at_level(logging.WARNING):
        document = evaluate_dataset(settings, lambda *_: None)
    assert "prior_baselines" not in document
    assert "no prior baselines" in caplog.text
