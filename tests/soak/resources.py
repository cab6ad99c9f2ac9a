"""What a process holds, out of /proc: memory, threads and open descriptors."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Held:
    """What a process holds at one moment.

    Attributes:
        memory_mb: resident memory without files and shared memory: what the process itself has asked for.
        shared_mb: resident pages of files and of shared memory. threads, descriptors: how many.
    """

    memory_mb: float
    shared_mb: float
    threads: int
    descriptors: int


def held_by(pid: int | None = None) -> Held:
    """Of a process, this one without a number; ProcessLookupError when it has ended."""
    folder = Path("/proc") / ("self" if pid is None else str(pid))
    try:
        lines = (folder / "status").read_text().splitlines()
        descriptors = len(os.listdir(folder / "fd"))
    except FileNotFoundError:
        raise ProcessLookupError(f"there is no process {pid}") from None
    values = dict(line.split(":", 1) for line in lines)
    if "RssAnon" not in values:  # it has ended, nobody has asked for its exit code yet
        raise ProcessLookupError(f"process {pid} has ended")
    kilobytes = {key: int(values[key].split()[0]) for key in ("RssAnon", "RssFile", "RssShmem")}
    return Held(
        kilobytes["RssAnon"] / 1024,
        (kilobytes["RssFile"] + kilobytes["RssShmem"]) / 1024,
        int(values["Threads"]),
        descriptors,
    )
