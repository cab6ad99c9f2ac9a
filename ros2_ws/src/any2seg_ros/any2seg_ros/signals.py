"""A signal ends a program in one line, wherever it comes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import rclpy
from rclpy.executors import ExternalShutdownException


@contextmanager
def ended_by_signal() -> Iterator[None]:
    """Passes over what SIGINT and SIGTERM cause.

    Beside KeyboardInterrupt that is whatever rclpy raises where it is busy, as while a node is configured: its own
    handler has shut the context down by then.
    """
    try:
        yield
    except (KeyboardInterrupt, ExternalShutdownException):
        return
    except Exception:
        if rclpy.ok():
            raise
