"""``~`` at the beginning of a path that no shell has expanded: behind ``:=``, behind ``--option=``, in a file."""

from __future__ import annotations

import os
import re
from pathlib import Path


def expanded(path: Path) -> Path:
    """The path with ``~`` and ``~name`` replaced by the home folder; as it stands where nobody has that name."""
    return Path(os.path.expanduser(path))


def expanded_text(path: str) -> str:
    """`expanded` for a path or a ``file://`` URL as text; an empty one stays empty."""
    scheme, colon, rest = path.partition("file://")
    return os.path.expanduser(path) if scheme or not colon else f"file://{os.path.expanduser(rest)}"


def expanded_argument(word: str) -> str:
    """A word of a command line: ``~/x``, ``--option=~/x`` and ``key=~/x`` name the same file as elsewhere."""
    option = re.match(r"(?:(?:--?)?[\w.-]+=)?", word)
    start = option.end() if option else 0
    return word[:start] + os.path.expanduser(word[start:]) if word[start:].startswith("~") else word
