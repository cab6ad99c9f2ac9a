"""Settings of a run of a few steps, and that run as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from any2seg_training.build import Run
from any2seg_training.config import TrainConfig
from any2seg_training.processes import Processes
from any2seg_training.train import train

ALONE = Processes(0, 1, torch.device("cpu"))


def values(data: Path, out: Path, /, **changes: object) -> dict:
    small = {"height": 64, "width": 96, "crop_height": 64, "crop_width": 64, "head_width": 16, "batch_size": 2}
    short = {"steps": 4, "warmup_steps": 1, "workers": 0, "threads": 1, "device": "cpu", "save_every": 2}
    return {"data": data, "out": out, **small, **short, "log_every": 1, **changes}


def settings(data: Path, out: Path, /, **changes: object) -> TrainConfig:
    return TrainConfig(**values(data, out, **changes))


def command_line(arguments: dict) -> list[str]:
    """Settings as arguments of the training command."""
    return [
        f"{key}={json.dumps(value, default=str) if isinstance(value, tuple | dict) else value}"
        for key, value in arguments.items()
    ]


def started(program: str, arguments: dict, **environment: str) -> subprocess.Popen:
    """The training command line in a process of its own, after ``program`` has changed what it must."""
    code = f"import sys\nimport any2seg_training.train as t\n{program}\nsys.exit(t.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *command_line(arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def state(out: Path) -> dict:
    return torch.load(out / "last.pt", weights_only=True)


class _KilledError(Exception):
    """Stands for the end of a process."""


def train_until_killed(config: TrainConfig) -> None:
    """The run up to the first state that it saves, and no further."""
    save = Run.save

    def save_then_die(run: Run, path: Path) -> None:
        save(run, path)
        raise _KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "save", save_then_die)
        with pytest.raises(_KilledError):
            train(config, ALONE)
