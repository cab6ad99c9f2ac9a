"""What a set of a stream takes from the sets before it. Light to import: for command lines and launch files."""

from __future__ import annotations

from typing import Literal, get_args

StreamMode = Literal["off", "anchor", "filter"]
STREAM_MODES: tuple[str, ...] = get_args(StreamMode)
OFF: Literal["off"] = "off"
"""Nothing: every set by itself."""
ANCHOR = "anchor"
"""Its fused features are the anchor of MFF, f_ma^(t-1) of Any2Seg."""
FILTER = "filter"
"""Its logits, moved with the camera where that is known, are averaged with the new ones."""
STREAM_HELP = "What a set takes from the one before: off, anchor (fused features), filter (logits)."
