"""How every command line of this project ends: bad input and wrong usage are one line with a code, exit code 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import typer

from any2seg_core.base.errors import UserError
from any2seg_core.base.screen import one_line, refusal, say

_UsageError = typer.BadParameter.__bases__[0]  # newer versions of typer bring a click of their own
_CODES = {
    "NoSuchOption": "argument-unknown",
    "NoSuchCommand": "argument-unknown",
    "MissingParameter": "argument-missing",
    "BadParameter": "value-invalid",
}


def _usage_line(error: Any, program: str) -> str:
    path = error.ctx.command_path if error.ctx else program
    code = _CODES.get(type(error).__name__, "argument-unknown")
    text = one_line(error.format_message()).rstrip(".")
    return f"{path}: {text}; see {path} --help [{code}]"


def run(app: typer.Typer, program: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command line, by default on the process' arguments, and end the process.

    UserError, what the file system refuses and wrong usage become one line on stderr and exit code 2.
    """
    try:
        code = app(args=arguments, prog_name=program, standalone_mode=False)
    except (UserError, OSError) as error:
        say(f"{program}: {refusal(error)}", err=True)
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
