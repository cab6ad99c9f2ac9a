"""What message_filters.SimpleFilter does, for machines that do not have message_filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class SimpleFilter:
    """Base of everything that hands messages on: callbacks are registered, and called in that order."""

    def __init__(self) -> None:
        self.callbacks: dict[int, tuple[Callable[..., Any], tuple[Any, ...]]] = {}

    def registerCallback(self, cb: Callable[..., Any], *args: Any) -> int:  # noqa: N802 name of message_filters
        """Call `cb(*messages, *args)` for every output; returns the number of the connection."""
        connection = len(self.callbacks)
        self.callbacks[connection] = (cb, args)
        return connection

    def signalMessage(self, *msg: Any) -> None:  # noqa: N802 name of message_filters
        """Hand one output on to all callbacks."""
        for cb, args in self.callbacks.values():
            cb(*(msg + args))
