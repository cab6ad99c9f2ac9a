"""Groups of settings: dotted keys, short forms, merging, and errors that name the dotted key."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator
from raised import user_error

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
    ("arguments", "told"),
    [
        (["source.roof=a"], ("key-unknown", "'source.roof'", "root?")),
        (["source.chimney=a"], ("key-unknown", "'source.chimney'", "root, share, sparse")),
        (["sauce.root=a"], ("key-unknown", "'sauce.root'", "source, weights, json")),
        (["source.rood.x=a"], ("key-unknown", "'source.rood.x'", "root?")),
        (["source=a", "source.share=2"], ("value-range", "source.share=2", "1")),
        (["source.share=1"], ("key-missing", "source.root=<value>")),
        (["json=1"], ("key-missing", "source=<value>")),
        (["source=a", "weights.R=2"], ("key-unknown", "weights.R: ", "weights=<value>")),
        (["source=a", "source.root.x=2"], ("key-unknown", "source.root.x: ", "source.root=<value>")),
        (["source=a", "source.sparse={kind: points, count: 0}"], ("value-range", "source.sparse.count=0")),
        (["source=a", "source.sparse=7"], ("value-type", "source.sparse=7")),
        (["source=[1"], ("text-syntax", "source=[1")),
    ],
)
def test_exception_names_the_dotted_key(arguments: list[str], told: tuple[str, ...]):
    with user_error(*told) as caught:
        load(*arguments)
    assert "\n" not in str(caught.value)
