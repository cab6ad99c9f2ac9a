"""Pointers of Git LFS: small texts that stand in a clone for files that were not fetched."""

from __future__ import annotations

from pathlib import Path

from any2seg_core.base.errors import UserError

_START = b"version https://git-lfs.github.com/spec/"

WAY_OUT = "a pointer of Git LFS, not the file itself: fetch it with git lfs pull"


def is_pointer(start: bytes | memoryview) -> bool:
    """Whether a file that begins like this is a pointer."""
    return bytes(start[: len(_START)]) == _START


def refuse_pointer(path: Path, code: str = "file-format") -> None:
    """UserError for a pointer; OSError as of `Path.open`."""
    with path.open("rb") as file:
        if is_pointer(file.read(len(_START))):
            raise UserError(f"{path} is {WAY_OUT}", code)
