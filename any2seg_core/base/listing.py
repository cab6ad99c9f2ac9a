"""What lies in a folder of a user, without what an operating system has left there."""

from __future__ import annotations

from pathlib import Path

_LEFT_BEHIND = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "system volume information")


def is_left_behind(path: Path) -> bool:
    """Whether a file or folder is none of the user's: hidden by a dot (``._a.png`` beside ``a.png`` on disks that a Mac
    wrote, ``.DS_Store``), or one of Windows' (``Thumbs.db``).
    """
    return path.name.startswith(".") or path.name.lower() in _LEFT_BEHIND


def listed(folder: Path, pattern: str = "*") -> list[Path]:
    """Sorted paths below a folder that match a pattern (of `Path.glob`); nothing in a hidden folder below it counts.

    The folder itself may be hidden, or not be there: then there is nothing in it.
    """
    return sorted(path for path in folder.glob(pattern) if not _is_hidden_below(path, folder))


def _is_hidden_below(path: Path, folder: Path) -> bool:
    while path != folder:
        if is_left_behind(path):
            return True
        path = path.parent
    return False


def held_by(folder: Path) -> str:
    """Names of what lies in a folder, for an error message."""
    return ", ".join(path.name for path in listed(folder)[:12]) or "nothing"
