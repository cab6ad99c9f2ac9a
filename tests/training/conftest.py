"""Data and loss scale of the runs of a few steps."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from fake_data import write_deliver


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deliver(tmp_path_factory.mktemp("deliver"), {"train": 6, "val": 2}, (64, 96))


@pytest.fixture
def low_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss scale that this little model can bear from the first step on: at 65536 its first steps overflow."""
    monkeypatch.setattr(torch.amp, "GradScaler", partial(torch.amp.GradScaler, init_scale=64.0))
