"""Arithmetic that the encoder of a model in use may have. Light to import: for command lines and launch files."""

from __future__ import annotations

from typing import Literal, get_args

Precision = Literal["float32", "bfloat16", "auto"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
AUTO = "auto"
"""The faster one of the others, measured when the model is loaded."""
PRECISION_HELP = "Of the encoder: float32, bfloat16, or auto, which measures both."
