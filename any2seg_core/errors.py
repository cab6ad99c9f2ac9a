"""The one exception that means: the input is at fault, and here is what to do about it."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input from outside: one line that names the file or argument, what is wrong and the fix.

    The command line prints it and exits with code 2; the node logs it and goes on.
    """


class MessageError(UserError):
    """A message that contradicts itself or holds what this project cannot read; the caller drops it and goes on."""
