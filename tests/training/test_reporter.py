"""What a run logs: each step once, also after it was killed, in JSON lines and TensorBoard alike."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from raised import user_error
from tiny_run import ALONE, settings

import any2seg_training.train as train_module
from any2seg_training.config import TrainConfig
from any2seg_training.reporter import Reporter, cut_log
from any2seg_training.train import train


def test_smoke_tensorboard(data: Path, tmp_path: Path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(settings(data, tmp_path / "run", steps=2, tensorboard=True), ALONE)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    logged = [line["loss"] for line in log if line["kind"] == "step"]
    assert [entry.value for entry in events.Scalars("step/loss")] == pytest.approx(logged)
    assert [entry.step for entry in events.Scalars("step/loss")] == [1, 2]


def test_value_steps_that_are_repeated_stand_once_in_the_logs(data: Path, tmp_path: Path, monkeypatch):
    """The run dies after step 3, its last state is that of step 2: step 3 is logged again, and nothing twice."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def logged() -> list[dict]:
        return [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]

    rate = train_module.learning_rate

    def dies(config: TrainConfig, step: int, done: float) -> float:
        if step == 3:
            raise KeyboardInterrupt
        return rate(config, step, done)

    options = {"tensorboard": True, "eval_every": 3, "eval_frames": 1}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train_module, "learning_rate", dies)
        train(settings(data, tmp_path / "run", **options), ALONE)
    before = logged()
    assert [(line["kind"], line["step"]) for line in before] == [
        ("step", 1), ("step", 2), ("step", 3), ("evaluation", 3)
    ]  # fmt: skip
    with (tmp_path / "run" / "log.jsonl").open("a") as file:
        file.write('{"kind": "step", "prog')  # the process ended within a line
    train(settings(data, tmp_path / "run", resume=True, **options), ALONE)
    after = logged()
    assert [(line["kind"], line["step"]) for line in after] == [
        ("step", 1), ("step", 2), ("step", 3), ("evaluation", 3), ("step", 4), ("final", 4)
    ]  # fmt: skip
    assert after[:2] == before[:2]
    assert after[2]["loss"] == before[2]["loss"]  # bit by bit the step that it was
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [entry.step for entry in events.Scalars("step/loss")] == [1, 2, 3, 4]
    assert [entry.step for entry in events.Scalars("evaluation/full")] == [3]

    train(settings(data, tmp_path / "run", resume=True, **options), ALONE)  # nothing left but the final result
    assert logged() == after
    train(settings(data, tmp_path / "run", steps=1), ALONE)  # a new run in its place
    assert [(line["kind"], line["step"]) for line in logged()] == [("step", 1), ("final", 1)]


def test_value_a_log_is_cut_in_one_piece(tmp_path: Path, monkeypatch):
    path = tmp_path / "log.jsonl"
    cut_log(path, 3)
    assert not path.exists()
    lines = [json.dumps({"kind": kind, "step": step}) for kind, step in (("step", 1), ("evaluation", 2), ("step", 4))]
    path.write_text("\n".join(lines) + "\n[1]\n")
    whole = path.read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        with user_error("output-unwritable", "log.jsonl"):
            cut_log(path, 3)
    assert path.read_text() == whole
    cut_log(path, 3)
    assert path.read_text() == "\n".join(lines[:2]) + "\n"
    assert list(tmp_path.iterdir()) == [path]


def test_exception_tensorboard_is_not_installed(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with user_error("package-missing", "'any2seg[tensorboard]'"):
        Reporter(tmp_path / "log.jsonl", True, tmp_path / "board")
    assert Reporter(tmp_path / "log.jsonl", False, tmp_path / "board").enabled is False
