from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from any2seg_core.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    for _ in range(20):
        del [torch.ones(2_000_000) for _ in range(6)][:]  # 48 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_value_reused_tensors_no_longer_fault_their_pages_in():
    """The kernel's own count of page faults, with and without; a process each, as the setting cannot be undone."""
    faults = {}
    for mode in ("default", "keep"):
        command = [sys.executable, "-c", PROGRAM, mode]
        faults[mode] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert faults["keep"] < 0.1 * faults["default"]
