"""A callback that raises costs one call."""

from __future__ import annotations

import inspect
from functools import partial

import pytest

from any2seg_ros.guard import Guard


def test_exception_is_reported_and_answered_with_the_fallback():
    reports = []

    def fail(error, *_arguments):
        raise error

    guard = Guard(lambda name, error: reports.append((name, type(error))))
    for error in (MemoryError("full"), KeyError("odd"), ZeroDivisionError()):
        assert guard("plain", partial(fail, error))(1) is None
        assert guard("service", partial(fail, error), lambda request, response: response)("ask", "answer") == "answer"
    assert reports == [(name, kind) for kind in (MemoryError, KeyError, ZeroDivisionError)
                       for name in ("plain", "service")]  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        guard("stop", partial(fail, KeyboardInterrupt()))()


def test_exception_in_the_report_is_lost_and_the_callback_returns():
    def report(name, error):
        raise MemoryError("again")

    def fail():
        raise MemoryError("full")

    assert Guard(report)("timer", fail)() is None


def test_value_signature_and_result_are_those_of_the_callback():
    """rclpy asks for the signature to know whether a subscription wants the message's info."""

    def receive(name, message, info):
        return name, message, info

    guarded = Guard(print)("topic", partial(receive, "rgb"))
    assert list(inspect.signature(guarded).parameters) == ["message", "info"]
    assert guarded("m", "i") == ("rgb", "m", "i")
