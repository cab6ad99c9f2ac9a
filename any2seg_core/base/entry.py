"""How every command line of this project ends: bad input and wrong usage are one line with a code, exit code 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import typer

from any2seg_core.base.errors import UserError
from any2seg_core.base.home import expanded_argument
from any2seg_core.base.screen import one_line, refusal, say
from any2seg_core.base.torch_package import torch_missing

_UsageError: Any = typer.BadParameter.__bases__[0]  # newer versions of typer bring a click of their own
_CODES = {
    "NoSuchOption": "argument-unknown",
    "NoSuchCommand": "argument-unknown",
    "MissingParameter": "argument-missing",
    "BadParameter": "value-invalid",
}


def typed_name() -> str:
    """The program as it was typed: ``any2seg-segment-node``, ``train.py``, ``python -m any2seg_training.train``."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and sys.argv[0] == getattr(spec, "origin", ""):
        return f"python -m {spec.name.removesuffix('.__main__')}"
    return os.path.basename(sys.argv[0])


def _usage_line(error: Any, program: str) -> str:
    path = error.ctx.command_path if error.ctx else program
    code = _CODES.get(type(error).__name__, "argument-unknown")
    text = one_line(error.format_message()).rstrip(".")
    return f"{path}: {text}; see {path} --help [{code}]"


def run(app: typer.Typer, program: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command line, by default on the process' arguments, and end the process.

    UserError, what the file system refuses and wrong usage become one line on stderr and exit code 2. ``~`` is the home
    folder, also where no shell has said so.
    """
    words = [expanded_argument(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    try:
        code = app(args=words, prog_name=program, standalone_mode=False)
    except (UserError, OSError) as error:
        say(f"{program}: {refusal(error)}", err=True)
        raise SystemExit(2) from None
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "torch":
            raise
        say(f"{program}: {torch_missing('this command').with_code}", err=True)
        raise SystemExit(2) from None
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
        else:
            say(_usage_line(error, program), err=True)
        raise SystemExit(2) from None
    except typer.Abort:
        say(f"{program}: aborted", err=True)
        raise SystemExit(1) from None
    raise SystemExit(code if isinstance(code, int) else 0)
