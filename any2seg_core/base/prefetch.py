"""Read ahead in a thread: disk and decoding go on while the consumer computes or sleeps. Bounded, so memory is too."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")
_PATIENCE_S = 0.2


def mapped_ahead(function: Callable[[S], T], items: Iterable[S], threads: int) -> Iterator[T]:
    """``map`` by threads: results in order, of at most twice as many items as threads ahead of the consumer."""
    waiting = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        pending = deque(pool.submit(function, item) for item in islice(waiting, 2 * threads))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(function, item) for item in islice(waiting, 1))
            yield result


class _End:
    """Marks the end of the items, with what the iterable raised."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class Prefetched(Generic[T]):
    """Iterates over `items` in a thread of its own, at most `depth` items ahead.

    Iterating gives the items in order and raises what the iterable raised. A context manager: leaving it ends the
    thread, and closes a generator, without reading the rest.

    Examples:
        >>> with Prefetched(bag.messages(), depth=400) as messages:
        ...     for message in messages: ...
    """

    def __init__(self, items: Iterable[T], depth: int) -> None:
        self._items = items
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, name="any2seg-prefetch", daemon=True)
        self._thread.start()

    def __enter__(self) -> Prefetched[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        while not isinstance(item := self._queue.get(), _End):
            yield item
        self._put(item)  # whoever iterates again meets the end again
        if item.error is not None:
            raise item.error

    def _read(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    break
            self._put(_End())
        except BaseException as error:  # it belongs to the consumer, whatever it is
            self._put(_End(error))
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()

    def _put(self, item: T | _End) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=_PATIENCE_S)
                return True
            except queue.Full:
                continue
        return False
