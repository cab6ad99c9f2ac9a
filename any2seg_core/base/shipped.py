"""Files that come with the packages: they are found in a checkout and in an installed wheel alike."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def shipped_file(package: str, *parts: str) -> Path:
    """Path of a file below an importable package, links followed. pip unpacks wheels, so it is a file on disk."""
    return Path(str(files(package).joinpath(*parts))).resolve()


def default_checkpoint() -> Path:
    """The checkpoint that is part of the package: MiT-B0 for the simulated drive.

    Examples:
        >>> from any2seg_core import default_checkpoint
        >>> default_checkpoint().name
        'drive_b0.safetensors'
    """
    return shipped_file("any2seg_core", "checkpoints", "drive_b0.safetensors")
