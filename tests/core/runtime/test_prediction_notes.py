"""The one line that predict says of its labels."""

from __future__ import annotations

import pytest

from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.runtime.checkpoint import read_metadata
from any2seg_core.runtime.prediction_notes import prediction_note


@pytest.mark.parametrize(
    ("confidence", "provenance", "words"),
    [
        (0.9, {}, []),
        (0.9, {"data": {"name": "muses"}}, []),
        (0.9, {"data": None}, []),
        (0.31, {}, ["0.31 is low"]),
        (0.9, {"data": {"name": "drive"}}, ["simulated drive"]),
        (0.31, {"data": {"name": "drive"}}, ["0.31 is low", "simulated drive"]),
    ],
)
def test_value_low_confidence_and_the_simulated_drive(confidence, provenance, words):
    note = prediction_note(confidence, provenance)
    assert "\n" not in note
    assert bool(note) == bool(words)
    assert all(word in note for word in words)


def test_value_the_shipped_checkpoint_is_of_the_simulated_drive():
    note = prediction_note(1.0, read_metadata(default_checkpoint())["provenance"])
    assert note.startswith("the checkpoint knows only the simulated drive")
