"""The table of shipped recipes in docs/datasets.md is what the files say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from any2seg_core.data.kinds import shipped_recipes
from any2seg_core.data.recipe import Recipe, read_recipe
from any2seg_core.vocabulary.labels import label_space

PAGE = Path(__file__).resolve().parents[4] / "docs" / "datasets.md"
ROWS = {cells[0].strip("`"): cells[1:] for cells in (
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text().split("## Shipped recipes")[1].split("\n## ")[0].splitlines()
    if line.startswith("| `")
)}  # fmt: skip


def coding(recipe: Recipe) -> str:
    """How the labels of train say their classes."""
    if recipe.labels is None:
        return "none"
    return "points" if recipe.labels.of else recipe.labels.coding_of("train")


def calibration(recipe: Recipe) -> str:
    if recipe.tables is not None:
        return "tables"
    return "none" if recipe.calibration is None else recipe.calibration.kind


def test_value_the_table_has_a_row_for_each_recipe():
    assert sorted(ROWS) == sorted(shipped_recipes())


@pytest.mark.parametrize("name", shipped_recipes())
def test_value_a_row_says_what_the_file_says(name: str):
    recipe = read_recipe(name)
    assert recipe.name == name
    assert re.search(r"\w", recipe.about)
    sensors, splits, space, classes, labels, geometry, terms = ROWS[name]
    assert sensors.split() == list(recipe.sensors)
    assert splits.split() == list(recipe.split_names)
    assert space == label_space(recipe.label_space).name == recipe.label_space
    assert int(classes) == len(label_space(recipe.label_space))
    assert (labels, geometry) == (coding(recipe), calibration(recipe))
    assert terms
