"""SHA-256 of files, and the list of them that `sha256sum --check` reads."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_text

CHECKSUMS = "SHA256SUMS"
"""Name of the list in a folder."""
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\0]+)")
_BLOCK = 1 << 20


def sha256_of(path: Path) -> str:
    """Of the bytes of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_checksums(folder: Path) -> None:
    """The list of all other files that lie in a folder."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name != CHECKSUMS]
    lines = [f"{sha256_of(path)}  {path.name}\n" for path in files]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def require_checksums(folder: Path, names: Iterable[str], way_out: str) -> None:
    """UserError where a listed file is gone or has other bytes, or where one of ``names`` is not listed."""
    listed = {}
    for number, line in enumerate(read_text(folder / CHECKSUMS, "list of checksums").splitlines(), start=1):
        found = _LINE.fullmatch(line)
        if found is None:
            raise UserError(f"{folder / CHECKSUMS}: line {number} is no checksum; {way_out}", "checkpoint-damaged")
        listed[found[2]] = found[1]
    if missing := [name for name in names if name not in listed]:
        raise UserError(f"{folder / CHECKSUMS}: does not list {', '.join(missing)}; {way_out}", "checkpoint-damaged")
    for name, expected in listed.items():
        try:
            found_sum = sha256_of(folder / name)
        except OSError as error:
            raise UserError(
                f"{folder / name}: cannot be read ({error.strerror or error}); {way_out}", "checkpoint-damaged"
            ) from None
        if found_sum != expected:
            raise UserError(
                f"{folder / name}: has other bytes than {CHECKSUMS} says (sha256 {found_sum[:12]}..., expected "
                f"{expected[:12]}...); {way_out}",
                "checkpoint-damaged",
            )
