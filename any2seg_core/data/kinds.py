"""Names of the data sets. Light to import: settings and command lines take them from here."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from any2seg_core.base.shipped import shipped_file

RECIPE_SUFFIXES = (".yaml", ".yml")
_BUILT_IN = ("auto", "deliver", "muses", "mcubes", "bag", "folder")


def shipped_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with the program."""
    return tuple(sorted(path.stem for path in shipped_file("any2seg_core", "data", "recipes").glob("*.yaml")))


def is_recipe_name(word: str) -> bool:
    """Whether a word names a shipped recipe, or a YAML file."""
    return word.endswith(RECIPE_SUFFIXES) or word in shipped_recipes()


def _known(kind: str) -> str:
    if kind not in _BUILT_IN and not is_recipe_name(kind):
        raise ValueError(f"expected one of {', '.join((*_BUILT_IN, *shipped_recipes()))}, or a recipe's YAML file")
    return kind


Kind = Annotated[str, AfterValidator(_known)]
"""auto: look into the folder. folder: by a recipe; so are the names of shipped recipes, and of YAML files."""
