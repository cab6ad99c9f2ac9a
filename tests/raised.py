"""What tests say of an error that they expect: its code and the values that it must name, none of its sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from any2seg_core.base.error_codes import CODES
from any2seg_core.base.errors import UserError


@contextmanager
def user_error(code: str, *named: Any, kind: type[UserError] = UserError) -> Iterator[pytest.ExceptionInfo]:
    """The block raises a UserError of this code, in one line that holds each of the values ``named`` (as ``str``).

    Args:
        code: key of CODES. named: files, keys, numbers. kind: the class, where the caller must be able to tell it.
    """
    assert code in CODES, f"{code!r} is no code"
    with pytest.raises(kind) as caught:
        yield caught
    error = caught.value
    assert error.code == code, error.with_code
    _require_named(str(error), named)


def assert_refused(told: str, code: str, *named: Any) -> None:
    """What a program wrote to stderr is one line of this code that holds each of the values ``named``."""
    (line,) = told.splitlines()
    assert line.endswith(f" [{code}]"), line
    _require_named(line, named)


def _require_named(text: str, values: Sequence[Any]) -> None:
    lacking = [str(value) for value in values if str(value) not in text]
    assert not lacking, f"{text} does not name {lacking}"
