"""Where this program keeps what it can make again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path | None:
    """$ANY2SEG_CACHE, else any2seg in $XDG_CACHE_HOME, else in ~/.cache; None where there is no such place.

    As the XDG base directory rules have it, a path that is not absolute counts as not given. The folder need not exist.
    """
    own = Path(os.path.expanduser(os.environ.get("ANY2SEG_CACHE", "")))
    if own.is_absolute():
        return own
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not shared.is_absolute():
        shared = Path(os.path.expanduser("~")) / ".cache"
    return shared / "any2seg" if shared.is_absolute() else None
