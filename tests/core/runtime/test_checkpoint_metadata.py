"""What a checkpoint says without its weights: the same as with them, and without PyTorch."""

from __future__ import annotations

import subprocess
import sys

import torch

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import load_checkpoint, save_checkpoint
from any2seg_core.runtime.checkpoint_metadata import read_contract
from any2seg_core.vocabulary.contract import InputContract

PROGRAM = """
import sys
from any2seg_core.runtime.checkpoint_metadata import read_contract
print(read_contract(sys.argv[1]).width, "torch" in sys.modules)
"""


def test_value_contract_is_that_of_the_loaded_checkpoint_and_needs_no_torch(tmp_path):
    torch.manual_seed(0)
    path, contract = tmp_path / "model.safetensors", InputContract(height=32, width=96)
    save_checkpoint(path, Any2Seg(ModelConfig()), contract, {})
    assert read_contract(path) == contract == load_checkpoint(path)[1]
    run = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["96", "False"]
