"""What a user should know about the labels of one set: how sure the model is, and what it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LOW_CONFIDENCE = 0.5
"""Mean confidence below which the labels of a set are called unsure."""

_DRIVE = "drive"


def prediction_note(mean_confidence: float, provenance: Mapping[str, Any]) -> str:
    """One line, or "" where there is nothing to say.

    Args:
        mean_confidence: 0..1, over the pixels of the label image.
        provenance: of the checkpoint, as `read_metadata` gives it.
    """
    parts = []
    if mean_confidence < LOW_CONFIDENCE:
        parts.append(f"mean confidence {mean_confidence:.2f} is low: the model is unsure of these labels")
    if is_of_simulated_drive(provenance):
        parts.append("the checkpoint knows only the simulated drive: do not trust it on real roads")
    return "; ".join(parts)


def is_of_simulated_drive(provenance: Mapping[str, Any]) -> bool:
    """Whether a checkpoint was trained on nothing but the simulated drive."""
    data = provenance.get("data")
    return isinstance(data, Mapping) and data.get("name") == _DRIVE
