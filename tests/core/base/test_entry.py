import sys
from typing import Annotated

import pytest
import typer

from any2seg_core.base.entry import run
from any2seg_core.base.errors import UserError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
group = typer.Typer(no_args_is_help=True)
app.add_typer(group, name="group")


@group.command()
def one(name: str, count: Annotated[int, typer.Option(min=1)] = 1) -> None:
    if name == "user":
        raise UserError("bad\nname", "value-unknown")
    if name == "disk":
        raise OSError(28, "No space left on device", "a.png")
    if name == "code":
        raise typer.Exit(count)


@group.command()
def two() -> None:
    raise typer.Abort


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["group", "one", "user"], 2, "value-unknown"),
        (["group", "one", "disk"], 2, "file-system"),
        (["group", "one", "x", "--cuont", "3"], 2, "argument-unknown"),
        (["group", "one", "x", "y"], 2, "argument-unknown"),
        (["group", "three"], 2, "argument-unknown"),
        (["group", "one"], 2, "argument-missing"),
        (["group", "one", "x", "--count", "0"], 2, "value-invalid"),
        (["group", "one", "x", "--count", "a"], 2, "value-invalid"),
    ],
)
def test_exception_what_is_wrong_is_one_line_with_a_code(arguments, status, code, capsys):
    with pytest.raises(SystemExit) as caught:
        run(app, "program", arguments)
    told = capsys.readouterr()
    assert caught.value.code == status and told.out == ""
    (line,) = told.err.splitlines()
    assert line.startswith("program") and line.endswith(f" [{code}]")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["group", "one", "x"], 0),
        (["group", "one", "code", "--count", "3"], 3),
        (["group", "two"], 1),
        (["group", "one", "--help"], 0),
        (["group"], 2),
    ],
)
def test_value_exit_codes_are_those_of_the_command(arguments, status, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x", *arguments])
    with pytest.raises(SystemExit) as caught:
        run(app, "program")
    assert caught.value.code == status


def test_value_usage_names_the_command_and_its_help(capsys):
    with pytest.raises(SystemExit):
        run(app, "program", ["group", "one", "x", "--count", "0"])
    told = capsys.readouterr().err
    assert "'--count'" in told and "program group one --help" in told
