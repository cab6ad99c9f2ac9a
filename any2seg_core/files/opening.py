"""Opens a file that a user named; what keeps it from being read is one line."""

from __future__ import annotations

from pathlib import Path

from any2seg_core.base.errors import UserError
from any2seg_core.base.git_lfs import WAY_OUT, is_pointer


def read_start(path: Path, most_bytes: int = -1) -> bytes:
    """At most so many bytes of the beginning of a file, -1: all.

    UserError where it is missing, cannot be read, or is a pointer of Git LFS.
    """
    try:
        with path.open("rb") as file:
            start = file.read(most_bytes)
    except FileNotFoundError:
        raise UserError(f"no file at {path}: check the path", "file-missing") from None
    except OSError as error:
        raise UserError(
            f"cannot read {path} ({error.strerror}): check that it is a file you may read", "file-unreadable"
        ) from None
    if is_pointer(start):
        raise UserError(f"{path} is {WAY_OUT}", "file-format")
    return start
