"""Options made of a settings model, beside the same options written by hand for typer."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from pydantic import BaseModel, Field
from typer.testing import CliRunner

from any2seg_core.base.command_options import finite, with_settings
from any2seg_core.base.errors import UserError


class Wishes(BaseModel):
    data: Path = Field(description="folder")
    mode: Literal["fast", "exact"] = Field("fast", description="how")
    cases: tuple[str, ...] | None = Field(None, description="only these")
    frames: int | None = Field(None, gt=0, description="at most so many")
    seed: int = Field(3, ge=0, description="of the draw")
    noise: bool = Field(False, description="also with noise")
    hidden: str = "own"


@dataclass(frozen=True)
class Plain:
    bag: Annotated[Path, Field(description="recording")]
    topics: Annotated[tuple[str, ...], Field(description="fix a topic")] = ()
    length: Annotated[float, Field(ge=1.0, le=30.0, description="seconds")] = 6.0
    faults: tuple[object, ...] = ()


@dataclass(frozen=True)
class Timed:
    length: Annotated[float, Field(ge=0, description="seconds")] = 1.0


def application(command) -> typer.Typer:
    app = typer.Typer(add_completion=False)
    app.command()(command)
    return app


def run(command, *arguments: str):
    return CliRunner().invoke(application(command), list(arguments), env={"COLUMNS": "120"})


seen: list[object] = []


@with_settings(Wishes, arguments=("data",), without=("hidden",), names={"cases": "--case"})
def derived(settings: Wishes, as_json: Annotated[bool, typer.Option("--json", help="JSON.")] = False) -> None:
    """Does it."""
    seen[:] = [settings, as_json]


def by_hand(
    data: Annotated[Path, typer.Argument(help="folder")],
    mode: Annotated[str, typer.Option(help="how")] = "fast",
    case: Annotated[list[str] | None, typer.Option(help="only these")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="at most so many")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the draw")] = 3,
    noise: Annotated[bool, typer.Option("--noise", help="also with noise")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON.")] = False,
) -> None:
    """Does it."""
    seen[:] = [Wishes(data=data, mode=mode, cases=case and tuple(case), frames=frames, seed=seed, noise=noise), as_json]


def test_value_help_is_that_of_the_same_options_by_hand():
    helps = [run(command, "--help").output for command in (derived, by_hand)]
    assert helps[0].replace("derived", "by-hand") == helps[1]
    assert "--case" in helps[0] and "--hidden" not in helps[0]


@pytest.mark.parametrize(
    "given",
    [["d"], ["d", "--mode", "exact", "--case", "fog", "--case", "night", "--frames", "5", "--noise", "--json"]],
)
def test_value_settings_are_those_given(given):
    assert run(derived, *given).exit_code == 0
    settings, as_json = seen
    run(by_hand, *given)
    assert [settings, as_json] == seen
    assert settings.hidden == "own"


@pytest.mark.parametrize("given", ["d --frames 0", "d --seed -1", "", "d --seed x", "d -z"])
def test_exception_typer_refuses_the_same_with_the_same_words(given):
    made, written = run(derived, *given.split()), run(by_hand, *given.split())
    assert made.exit_code == written.exit_code == 2
    assert made.output.replace("derived", "by-hand") == written.output


def test_exception_what_the_model_refuses_names_the_option():
    error = run(derived, "d", "--mode", "black").exception
    assert isinstance(error, UserError)
    assert error.code == "value-unknown" and str(error).startswith("--mode black: ") and "'exact'" in str(error)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_exception_what_is_no_finite_number_names_the_option(value):
    def direct(rate: Annotated[float, typer.Option(callback=finite)] = 0.0) -> None:
        seen[:] = [rate]

    error = run(direct, "--rate", value).exception
    assert isinstance(error, UserError) and error.code == "value-range"
    assert str(error).startswith(f"--rate {value}: ")
    assert run(direct, "--rate", "2.5").exit_code == 0
    assert seen == [2.5]


def test_exception_settings_are_never_nan():
    @with_settings(Timed, names={"length": "--seconds"})
    def settled(timed: Timed) -> None:
        seen[:] = [timed.length]

    assert run(settled, "--seconds", "nan").exit_code != 0  # by typer itself, where its version does
    assert run(settled, "--seconds", "inf").exit_code == 0 and seen == [math.inf]


def test_value_inherited_options_come_after_those_of_the_command():
    @dataclass(frozen=True, kw_only=True)
    class Shared:
        seed: Annotated[int, Field(description="of the draw")] = 0

    @dataclass(frozen=True)
    class Own(Shared):
        bag: Annotated[Path, Field(description="recording")]
        every: Annotated[int, Field(description="n-th")] = 1

    command = with_settings(Own, arguments=("bag",))(lambda own: None)
    assert list(inspect.signature(command).parameters) == ["bag", "every", "seed"]


def test_value_a_dataclass_declares_options_too():
    @with_settings(Plain, arguments=("bag",), without=("faults",), names={"topics": "--topic"})
    def evaluate(plain: Plain) -> None:
        seen[:] = [plain]

    assert run(evaluate, "b").exit_code == 0
    assert seen == [Plain(Path("b"))]
    assert run(evaluate, "b", "--topic", "rgb=/a", "--topic", "depth=none", "--length", "7.5").exit_code == 0
    assert seen == [Plain(Path("b"), ("rgb=/a", "depth=none"), 7.5)]
    assert run(evaluate, "b", "--length", "31").exit_code == 2
