"""`any2seg figure`: results of evaluations side by side, from every kind of file, and what is no evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from raised import user_error
from typer.testing import CliRunner
from untrained import write_checkpoint

from any2seg_core.cli.main import app
from any2seg_core.evaluation.subset_tables import read_tables, rivals
from any2seg_core.runtime.checkpoint import load_checkpoint, save_checkpoint

ROWS = {"R": 10.0, "D": 20.0, "RD": 33.0}


def summary(shift: float = 0.0, **facts: object) -> dict:
    rows = {letters: {"miou_present": value + shift, "miou_all": value / 2} for letters, value in ROWS.items()}
    return {"frames": 7, "protocol": "drop", "subsets": rows} | facts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one.json").write_text(json.dumps(summary()))
    (tmp_path / "run").mkdir()
    document = summary(1.0, split="val")
    lines = [{"kind": "evaluation"} | {key: value for key, value in document.items() if key != "subsets"}]
    lines += [{"kind": "subset", "sensors": letters} | row for letters, row in document["subsets"].items()]
    lines += [{"kind": "frame", "counts": {}}, {"kind": "frame", "counts": {}}]
    (tmp_path / "run" / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    model, contract, _ = load_checkpoint(write_checkpoint(tmp_path / "untrained.safetensors"))
    save_checkpoint(tmp_path / "final.safetensors", model, contract, {"results": summary(2.0)})
    return tmp_path


def test_value_a_json_a_folder_and_a_checkpoint(folder: Path):
    given = [f"one={folder / 'one.json'}", f"a run={folder / 'run'}", str(folder / "final.safetensors")]
    tables = read_tables(given)
    assert [table.label for table in tables] == ["one", "a run", "final"]
    assert [dict(table.miou) for table in tables] == [
        {letters: value + shift for letters, value in ROWS.items()} for shift in (0.0, 1.0, 2.0)
    ]
    assert [table.mean for table in tables] == [21.0, 22.0, 23.0]
    assert tables[1].facts == {"frames": 7, "protocol": "drop", "split": "val"}
    assert read_tables(given[:1], "all")[0].miou["RD"] == 16.5


def test_value_published_rows_that_have_the_subsets():
    four = ["R", "D", "RD", "RDEL"]
    assert {len(row.subsets) for row in rivals("deliver", four)} == {15}
    assert {row.method for row in rivals("muses", four)} >= {"AnySeg", "MAGIC"}  # other sensors: its own subsets
    assert rivals("none", four) == []


def test_value_the_command_writes_picture_and_numbers(folder: Path):
    out = folder / "s.svg"
    given = ["figure", f"ours={folder / 'one.json'}", f"other={folder / 'run'}", "-o", str(out)]
    result = CliRunner().invoke(app, [*given, "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert [entry["mean"] for entry in document["evaluations"]] == [21.0, 22.0]
    assert all(entry["source"] for entry in document["published"])
    svg = out.read_text()
    assert "ours (mean 21.0)" in svg
    assert "7 frames, protocol drop" in svg
    assert "Other data, not comparable: published on DELIVER" in svg
    assert CliRunner().invoke(app, [*given, "--published", "none"]).exit_code == 0
    assert "Other data" not in out.read_text()


def test_exception_what_is_no_evaluation_or_not_alike(folder: Path):
    (folder / "list.json").write_text("[1]")
    with user_error("file-content", "list.json", "miou_present"):
        read_tables([str(folder / "list.json")])
    with user_error("file-content", "untrained.safetensors"):
        read_tables([str(folder / "untrained.safetensors")])
    with user_error("value-twice", "one"):
        read_tables([str(folder / "one.json"), str(folder / "one.json")])
    (folder / "more.json").write_text(json.dumps(summary(frames=9)))
    with user_error("value-conflict", "frames", 7, 9):
        read_tables([str(folder / "one.json"), str(folder / "more.json")])
    (folder / "few.json").write_text(json.dumps(summary() | {"subsets": {"R": {"miou_present": 1.0}}}))
    with user_error("value-conflict", "R, D, RD"):
        read_tables([str(folder / "one.json"), str(folder / "few.json")])
