"""Checkpoints, weights and training states, damaged in their bytes, their metadata or their pickles."""

from __future__ import annotations

import io
import json
import random
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from mutate import NUMBERS, STRANGE, TEXTS, mutated_bytes

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.models.pretrained import read_state
from any2seg_core.runtime.checkpoint import load_checkpoint, save_checkpoint
from any2seg_core.runtime.checkpoint_metadata import read_metadata
from any2seg_core.vocabulary.contract import InputContract
from any2seg_training.state import load_state


def _torch_file(state: Any, is_zip: bool) -> bytes:
    out = io.BytesIO()
    torch.save(state, out, _use_new_zipfile_serialization=is_zip)
    return out.getvalue()


class Weights:
    """One input is one .safetensors, .pth or .pt file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        model = Any2Seg(ModelConfig(head_width=8, num_classes=25))
        contract = InputContract(height=32, width=32)
        save_checkpoint(folder / "base.safetensors", model, contract, {"command": "x", "results": {"a": 1}})
        self._checkpoint = (folder / "base.safetensors").read_bytes()
        weights = OrderedDict(a=torch.ones(3, 4), b=torch.arange(5), c=torch.zeros(2, dtype=torch.bfloat16))
        states = [weights, {"state_dict": weights, "epoch": 3}, {"model": {"model": weights}, "rng": [1, (2.0, None)]}]
        self._states = [_torch_file(state, is_zip) for state in states for is_zip in (True, False)]

    def one(self, rng: random.Random) -> bool:
        """Write a file and read it; UserError is a refusal."""
        if rng.random() < 0.5:
            return self._of_torch(rng)
        data = self._checkpoint
        if rng.random() < 0.6:
            data = _other_metadata(rng, data)
        elif rng.random() < 0.9:
            data = mutated_bytes(rng, data, 3)
        path = self._folder / "input.safetensors"
        path.write_bytes(data)
        read_metadata(path)
        rng.choice((load_checkpoint, read_state))(path)
        return True

    def _of_torch(self, rng: random.Random) -> bool:
        data = rng.choice(self._states)
        data = mutated_bytes(rng, data, rng.choice((1, 3))) if rng.random() < 0.9 else data
        path = self._folder / rng.choice(("input.pth", "last.pt"))
        path.write_bytes(data)
        rng.choice((read_state, load_state))(path)
        return True


def _other_metadata(rng: random.Random, data: bytes) -> bytes:
    """The header as JSON with another value, key or shape; offsets of the tensors stay as they are."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    if rng.random() < 0.7:
        document = json.loads(header["__metadata__"]["any2seg"])
        _spoil(rng, document)
        text = json.dumps(document, default=str)
        header["__metadata__"]["any2seg"] = mutated_bytes(rng, text.encode(), 1).decode(errors="replace") \
            if rng.random() < 0.2 else text  # fmt: skip
    else:
        _spoil(rng, header)
    text = json.dumps(header, default=str).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _spoil(rng: random.Random, document: Any) -> None:
    while True:
        keys = list(document) if isinstance(document, dict) else list(range(len(document)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(document[key], dict | list) and document[key] and rng.random() < 0.8:
            document = document[key]
            continue
        document[key] = rng.choice((rng.choice(NUMBERS), rng.choice(TEXTS), rng.choice(STRANGE), [document[key]] * 3))
        if rng.random() < 0.1 and isinstance(document, dict):
            del document[key]
        return
