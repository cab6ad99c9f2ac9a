"""What stands on the command line of a node: --help, what is no ROS argument, and what ROS cannot read."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import rclpy
from rclpy.utilities import remove_ros_args

from any2seg_core.base.entry import typed_name
from any2seg_core.base.errors import UserError
from any2seg_core.base.screen import refusal, say
from any2seg_core.base.versions import __version__


def node_help(document: str, parameters: Mapping[str, tuple[Any, str]], topics: Sequence[tuple[str, str]] = ()) -> str:
    """Text of --help.

    Args:
        document: docstring of the module, with its example. parameters: name -> (default, description).
        topics: (name, what it carries).
    """
    lines = [f"usage: {typed_name()} [--help] [--version] --ros-args [-p NAME:=VALUE] [-r '~/in/NAME:=/TOPIC'] ...", ""]
    lines += [document.strip(), ""]
    if topics:
        lines += ["Topics, remapped with -r (quoted: a shell takes ~ for the home folder):", ""]
        lines += [f"  {name}\n      {text}" for name, text in topics] + [""]
    lines += ["Parameters, set with -p or in a file with --params-file:", ""]
    lines += [f"  {name} (default {_shown(default)})\n      {text}" for name, (default, text) in parameters.items()]
    return "\n".join(lines)


def require_ros_arguments(arguments: Sequence[str] | None, text: str) -> None:
    """Answers --help and --version; any other argument before --ros-args ends the program with one line, exit code 2.

    Args:
        arguments: with the name of the program; None: those of the process. text: of --help.
    """
    words = own_arguments(arguments)
    if "--help" in words or "-h" in words:
        say(text)
        raise SystemExit(0)
    if "--version" in words:
        say(f"any2seg {__version__}")
        raise SystemExit(0)
    if words:
        end(UserError(
            f"argument {words[0]!r} is unknown: parameters and remappings stand behind --ros-args, such as "
            "--ros-args -p NAME:=VALUE; --help lists them",
            "argument-unknown",
        ))  # fmt: skip


def own_arguments(arguments: Sequence[str] | None) -> list[str]:
    """What is not for ROS, without the name of the program; None: of the process."""
    with _one_line():
        return list(remove_ros_args(list(sys.argv if arguments is None else arguments))[1:])


def init(arguments: list[str] | None) -> None:
    """`rclpy.init`; arguments that ROS cannot read end the program with one line, exit code 2."""
    with _one_line():
        rclpy.init(args=arguments)


@contextmanager
def _one_line() -> Iterator[None]:
    """Ends the program with one line, exit code 2, where ROS cannot read an argument."""
    try:
        yield
    except Exception as error:  # rclpy's own classes are private, and differ between distributions
        if type(error).__name__ not in ("RCLError", "RCLInvalidROSArgsError", "UnknownROSArgsError"):
            raise
        why = " ".join(str(error).split()).partition(", at /")[0].removesuffix(". Error: error not set")
        end(UserError(f"ROS arguments: {why}; write -p NAME:=VALUE and -r FROM:=TO", "argument-unknown"))


def end(error: UserError) -> NoReturn:
    """One line and exit code 2."""
    say(f"{typed_name()}: {refusal(error)}", err=True)
    raise SystemExit(2)


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return (f"[{', '.join(default)}]" if isinstance(default, list) else str(default)) or "empty"
