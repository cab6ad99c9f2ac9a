"""Groups of settings: dotted keys, short forms, merging, and errors that name the dotted key."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from any2seg_core.base.errors import UserError
from any2seg_training.config import load_config
from any2seg_training.settings import load_settings


class Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Points(Group):
    kind: Literal["points"]
    count: int = Field(3, gt=0)


class Blocks(Group):
    kind: Literal["blocks"]
    size: int = 8


class Source(Group):
    short_form: ClassVar[str] = "root"
    root: Path
    share: float = Field(1.0, gt=0, le=1)
    sparse: Points | Blocks | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return value if isinstance(value, dict) else {"root": value}


class Whole(Group):
    source: Source
    weights: dict[str, float] = {}
    written: int = Field(0, alias="json")


def load(*arguments: str) -> Whole:
    return load_settings(Whole, arguments)


def test_value_dotted_keys_set_one_setting_and_leave_the_others():
    whole = load("source={root: a, share: 0.5}", "source.share=0.25", "source.sparse.kind=points")
    assert whole.source == Source(root=Path("a"), share=0.25, sparse=Points(kind="points"))
    assert load("source.root=a", "source.sparse={kind: blocks}", "source.sparse.size=2").source.sparse.size == 2


def test_value_a_plain_value_is_the_short_form_in_any_order():
    for arguments in (
        ("source=b", "source.share=0.1"),
        ("source.share=0.1", "source=b"),
        ("source=a", "source.root=b", "source={share: 0.1}"),
    ):
        assert load(*arguments).source == Source(root=Path("b"), share=0.1)


def test_value_yaml_has_groups_as_mappings_paths_or_dotted_keys(tmp_path: Path):
    base, variant = tmp_path / "base.yaml", tmp_path / "variant.yaml"
    base.write_text("source: a\nweights: {R: 1, L: 2}\n")
    variant.write_text("source:\n  share: 0.5\nsource.sparse.kind: blocks\nweights: {R: 3}\n")
    whole = load(str(base), str(variant), "json=4")
    assert whole.source == Source(root=Path("a"), share=0.5, sparse=Blocks(kind="blocks"))
    assert whole.weights == {"R": 3.0}  # a value, not a group: replaced
    assert whole.written == 4


def test_value_the_data_of_a_training_run():
    assert load_config(["data=d", "out=o"]) == load_config(["data.root=d", "out=o"])
    given = ["data=d", "out=o", "lambda_p=0.3", "fisher={wrt: features}", "fisher.locations=7"]
    assert load_config(given).fisher.wrt == "features"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["source.roof=a"], "unknown key 'source.roof': did you mean root?"),
        (["source.chimney=a"], "unknown key 'source.chimney': known are root, share, sparse"),
        (["sauce.root=a"], "unknown key 'sauce.root': known are source, weights, json"),
        (["source.rood.x=a"], "unknown key 'source.rood.x': did you mean root?"),
        (["source=a", "source.share=2"], "source.share=2: Input should be less than or equal to 1"),
        (["source.share=1"], "source.root is not set: add source.root=<value>"),
        (["json=1"], "source is not set: add source=<value>"),
        (["source=a", "weights.R=2"], "weights.R: weights is one value and no group of settings; give weights=<value>"),
        (["source=a", "source.root.x=2"], "source.root.x: source.root is one value"),
        (["source=a", "source.sparse={kind: points, count: 0}"], "source.sparse.count=0: Input should be greater"),
        (["source=a", "source.sparse=7"], "source.sparse=7"),
        (["source=[1"], "not YAML"),
    ],
)
def test_exception_names_the_dotted_key(arguments: list[str], message: str):
    with pytest.raises(UserError) as caught:
        load(*arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
