"""Which classes a mean over classes is taken over. Light to import: settings name it too."""

from __future__ import annotations

from typing import Literal, get_args

Policy = Literal["present", "all", "without_other"]
"""See `ConfusionMatrix.miou`."""
POLICIES: tuple[Policy, ...] = get_args(Policy)
