"""Text for people on a terminal: names and messages out of files are shown as they are, and steer nothing.

A topic, a provenance or a path may hold rich's markup, or control characters that move the cursor, colour the screen or
turn the direction of writing.
"""

from __future__ import annotations

import re
from typing import Any

import typer
from rich.console import Console
from rich.progress import Task, TextColumn
from rich.text import Text

from any2seg_core.base.errors import UserError

# Control characters but line feed and tab; directions of writing; lone surrogates, which stand for undecodable bytes.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def plain(text: str) -> str:
    """The text with everything that steers a terminal written out, as in ``\\x1b[31m``."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def one_line(text: str) -> str:
    """`plain`, and line feeds and tabs written out too: for error messages."""
    return plain(text).replace("\n", "\\n").replace("\t", "\\t")


def refusal(error: UserError | OSError) -> str:
    """What a program says, in one line, when an input or the file system is at fault; it ends with exit code 2.

    The line ends with the error's code, as in ``... [file-missing]``.
    """
    if isinstance(error, UserError):
        return one_line(error.with_code)
    where = f"{error.filename}: " if error.filename else ""
    way_out = "check the path, its permissions and the free space"
    return one_line(f"{where}{error.strerror or error}: {way_out} [file-system]")


def say(text: str, err: bool = False) -> None:
    """Print a text, made `plain`, to stdout or stderr."""
    typer.echo(plain(text), err=err)


class Screen(Console):
    """rich's Console that takes every string as it is: no markup, no emoji names, no control characters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """What becomes of each string that is printed or stands in a table."""
        return super().render_str(plain(text), **options)


class PlainColumn(TextColumn):
    """A column of a progress bar whose text is taken as it is."""

    def render(self, task: Task) -> Text:
        """See rich."""
        return Text(plain(self.text_format.format(task=task)))
