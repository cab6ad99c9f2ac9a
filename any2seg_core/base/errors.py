"""The one exception that means: the input is at fault, and here is what to do about it."""

from __future__ import annotations

from types import MappingProxyType

MESSAGE_REASONS = MappingProxyType(
    {
        "field": "a field is missing or has a wrong type",
        "stamp": "the stamp is negative or no stamp at all",
        "frame": "the frame_id is not the calibrated one",
        "size": "zero, odd or too many pixels, points or bytes",
        "encoding": "unknown or unfitting encoding",
        "step": "step, row_step or point_step contradict the size",
        "length": "more or fewer bytes than the other fields say",
        "layout": "the fields of a cloud do not fit",
        "value": "numbers that mean nothing",
        "codec": "compressed data that cannot be decoded",
        "unsupported": "readable only with a package that is not installed",
        "geometry": "does not fit the calibration",
    }
)
"""Keys by which bad messages are counted, with their meaning. Keys are stable; texts may change."""


class UserError(ValueError):
    """Bad input from outside: one line that names the file or argument, what is wrong and the fix.

    The command line prints it and exits with code 2; the node logs it and goes on.

    Example:
        >>> from any2seg_core import UserError, load_calibration
        >>> try:
        ...     load_calibration("nowhere.yaml")
        ... except UserError as error:
        ...     print(error)
        nowhere.yaml: ...
    """


class MessageError(UserError):
    """A message that contradicts itself or holds what this project cannot read; the caller drops it and goes on.

    Attributes:
        reason: key of MESSAGE_REASONS to count by.
    """

    def __init__(self, text: str, reason: str = "value") -> None:
        super().__init__(text)
        if reason not in MESSAGE_REASONS:
            raise KeyError(f"{reason!r} is no key of MESSAGE_REASONS")
        self.reason = reason
