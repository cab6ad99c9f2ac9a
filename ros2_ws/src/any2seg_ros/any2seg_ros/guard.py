"""The second line of defence: a callback that raises what nobody expected costs one call, not the node."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any


class Guard:
    """Wraps callbacks: what they raise is reported and they return a fallback. MemoryError included.

    Args:
        report: called with the name of the callback and the exception; what it raises itself is lost.

    Examples:
        >>> guard = Guard(lambda name, error: ...)
        >>> node.create_subscription(Image, "image", guard("image", on_image), 10)
    """

    def __init__(self, report: Callable[[str, Exception], Any]) -> None:
        self._report = report

    def __call__(
        self, name: str, callback: Callable[..., Any], fallback: Callable[..., Any] | None = None
    ) -> Callable[..., Any]:
        """A callback of the same signature.

        Args:
            name: for the report. fallback: called with the same arguments for what to return instead of None.
        """

        @wraps(callback)  # rclpy asks for the signature to know whether a subscription wants the message's info
        def guarded(*arguments: Any) -> Any:
            try:
                return callback(*arguments)
            except Exception as error:
                with suppress(Exception):
                    self._report(name, error)
                return None if fallback is None else fallback(*arguments)

        return guarded
