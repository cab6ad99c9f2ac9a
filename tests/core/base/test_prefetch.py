from __future__ import annotations

import threading

import pytest

from any2seg_core.base.prefetch import Prefetched


def test_value_order_and_end():
    with Prefetched(range(100), depth=3) as items:
        assert list(items) == list(range(100))
        assert list(items) == []


def test_value_never_more_than_depth_items_ahead():
    """One item in the consumer's hand, `depth` in the queue, one waiting for its place."""
    taken, ahead = 0, []

    def numbers():
        for number in range(200):
            ahead.append(number - taken)
            yield number

    with Prefetched(numbers(), depth=4) as items:
        for _ in items:
            taken += 1
    assert max(ahead) <= 4 + 2


def test_value_leaving_early_closes_the_source():
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield 1
        finally:
            closed.set()

    with Prefetched(endless(), depth=2) as items:
        assert next(iter(items)) == 1
    assert closed.is_set()


def test_exception_of_the_source_reaches_the_consumer():
    def broken():
        yield 1
        raise LookupError("gone")

    with Prefetched(broken(), depth=2) as items:
        seen = []
        with pytest.raises(LookupError, match="gone"):
            for item in items:
                seen.append(item)
    assert seen == [1]
