"""The machine that measures, and which source of the program runs on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from any2seg_core.base.processor import instruction_sets, processor_name
from any2seg_core.bench.document import Machine


def this_machine(device: str) -> Machine:
    """What this process may use; of a GPU its name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    accelerator = ""
    if device.startswith("cuda"):
        import torch

        accelerator = torch.cuda.get_device_name(device)
    return Machine(
        processor=processor_name(),
        instruction_sets=instruction_sets(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(memory / 2**30, 1),
        accelerator=accelerator,
    )


def commit() -> str:
    """Of the checkout that the package lies in, "+" for changes; empty for an installed one."""
    tree = Path(__file__).resolve().parents[2]
    if not (tree / ".git").exists():
        return ""
    words = ("git", "-C", str(tree), "describe", "--always", "--dirty=+", "--exclude=*")
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def load() -> float:
    """Processes that want to run, mean of the last minute."""
    return os.getloadavg()[0]


def resident_mb() -> float:
    """Memory of this process; of what the kernel counts, the part that lies in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def python() -> str:
    """The interpreter that further processes are started with."""
    return sys.executable
