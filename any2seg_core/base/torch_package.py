"""PyTorch, which only checkpoints, training and data-set evaluation need: exported models run without it."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from any2seg_core.base.errors import UserError


def torch_missing(what: str) -> UserError:
    """What to tell where PyTorch is not there, and ``what`` needs it."""
    return UserError(
        f"PyTorch is not installed for {sys.executable}: {what} needs it, as folders of `any2seg export` do not; "
        "activate the environment that has it, or install it from the project's folder with `pip install . -c "
        "constraints.txt` (docs/ros_install.md)",
        "package-missing",
    )


def require_torch(what: str) -> None:
    """UserError where PyTorch is not installed; it is not loaded to find out."""
    if "torch" in sys.modules:
        is_there = sys.modules["torch"] is not None
    else:
        try:
            is_there = find_spec("torch") is not None
        except ModuleNotFoundError:  # of a finder that refuses it
            is_there = False
    if not is_there:
        raise torch_missing(what)
