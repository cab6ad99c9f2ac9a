"""The one exception that means: the input is at fault, and here is what to do about it."""

from __future__ import annotations

from typing import Any

from any2seg_core.base.error_codes import CODES, MESSAGE_REASONS


def _restored(kind: type[UserError], args: tuple[Any, ...], state: dict[str, Any]) -> UserError:
    """For pickle: an exception with all attributes, whatever its constructor takes."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class UserError(ValueError):
    """Bad input from outside: one line that names the file or argument, what is wrong and the fix.

    The command line prints it and exits with code 2; the node logs it and goes on.

    Args:
        text: that line. code: key of `error_codes.CODES`.

    Attributes:
        code: what kind of error it is; stable, while texts may change. An error that passes another one on keeps its
            code. It travels between processes.

    Examples:
        >>> from any2seg_core import UserError, load_calibration
        >>> try:
        ...     load_calibration("nowhere.yaml")
        ... except UserError as error:
        ...     print(error.code, "|", error)
        file-missing | nowhere.yaml: ...
    """

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        if code not in CODES:
            raise KeyError(f"{code!r} is no key of CODES in any2seg_core/base/error_codes.py")
        self.code = code

    @property
    def with_code(self) -> str:
        """The text and behind it the code, as programs print it: ``... [file-missing]``."""
        return f"{self} [{self.code}]"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, self.__dict__)


class MessageError(UserError):
    """A message that contradicts itself or holds what this project cannot read; the caller drops it and goes on.

    Args:
        text: as for UserError. reason: key of MESSAGE_REASONS.

    Attributes:
        reason: what to count by. code: ``message-<reason>``.
    """

    def __init__(self, text: str, reason: str) -> None:
        if reason not in MESSAGE_REASONS:
            raise KeyError(f"{reason!r} is no key of MESSAGE_REASONS")
        super().__init__(text, f"message-{reason}")
        self.reason = reason
