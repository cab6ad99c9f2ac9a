"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from any2seg_core.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` that replaces it on success; on any failure nothing is left behind.

    Folders above ``path`` are made. UserError where the place cannot be written.
    """
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror or error}): choose another place") from None
    finally:
        with suppress(OSError):  # where nothing could be written there is nothing to remove
            partial.unlink()


def make_empty(folder: Path) -> None:
    """Makes an empty folder, and the folders above it; what a killed process left at its place goes. UserError if not.

    For work that takes long: whether the place can be written is known before it begins.
    """
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write below {folder.parent} ({reason}): choose another place") from None
