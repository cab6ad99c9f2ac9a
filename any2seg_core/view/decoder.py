"""One thread that opens recordings and decodes moments of them: what was asked for last comes first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

from any2seg_core.view.moments import Moment, MomentReader
from any2seg_core.view.pictures import Picture, pictures_of
from any2seg_core.vocabulary.labels import LabelSpace
from any2seg_core.vocabulary.modalities import SensorSuite

_MOST_WAITING = 6
_MOST_OPEN = 2


class OvertakenError(Exception):
    """So many moments were asked for since that this one is not decoded any more."""


@dataclass(frozen=True)
class Shown:
    """A moment with its pictures, the suite of its sensors and the classes of its labels, if it has any."""

    moment: Moment
    pictures: list[Picture]
    suite: SensorSuite
    space: LabelSpace | None


@dataclass(frozen=True)
class _Request:
    drive_id: str
    time_s: float
    answer: Future[Shown]

    def refuse(self, error: BaseException) -> None:
        if self.answer.set_running_or_notify_cancel():
            self.answer.set_exception(error)


class Decoder:
    """Decodes on request and, while nobody asks, goes on with other work. A context manager.

    Args:
        open_reader: opens the recording of a drive; UserError where that fails.
        idle: work in small steps for the time in between.
    """

    def __init__(
        self, open_reader: Callable[[str], AbstractContextManager[MomentReader]], idle: Iterator[None]
    ) -> None:
        self._open_reader, self._idle = open_reader, idle
        self._is_idle_done = False
        self._requests: list[_Request] = []
        self._changed = threading.Condition()
        self._is_stopped = False
        self._readers: dict[str, tuple[MomentReader, ExitStack]] = {}
        self._thread = threading.Thread(target=self._run, name="any2seg-view", daemon=True)

    def __enter__(self) -> Decoder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify()
        self._thread.join()

    def shown(self, drive_id: str, time_s: float) -> Future[Shown]:
        """The moment of a drive at a time from its start.

        The future raises UserError where the recording cannot be opened or read, OvertakenError after many others.
        """
        with self._changed:
            same = next((each for each in self._requests if (each.drive_id, each.time_s) == (drive_id, time_s)), None)
            if same is not None:
                self._requests.remove(same)
            request = same or _Request(drive_id, time_s, Future())
            self._requests.append(request)
            for old in self._requests[:-_MOST_WAITING]:
                old.refuse(OvertakenError())
            del self._requests[:-_MOST_WAITING]
            self._changed.notify()
        return request.answer

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    while not self._requests and self._is_idle_done and not self._is_stopped:
                        self._changed.wait()
                    if self._is_stopped:
                        break
                    request = self._requests.pop() if self._requests else None
                if request is None:
                    self._is_idle_done = not self._work_on()
                elif request.answer.set_running_or_notify_cancel():
                    self._answer(request)
        finally:
            for _, stack in self._readers.values():
                stack.close()
            if isinstance(self._idle, Generator):
                self._idle.close()
            for request in self._requests:
                request.refuse(OvertakenError())

    def _work_on(self) -> bool:
        """One step of the idle work; False when it has ended, or failed: it says so itself."""
        try:
            next(self._idle)
        except Exception:  # StopIteration, or what damaged bytes make of it: moments are decoded all the same
            return False
        return True

    def _answer(self, request: _Request) -> None:
        try:
            reader = self._reader(request.drive_id)
            moment, suite = reader.at(request.time_s), reader.opened.suite
            space = None if reader.predictor is None else reader.predictor.label_space
            request.answer.set_result(Shown(moment, pictures_of(moment, suite, space), suite, space))
        except Exception as error:  # it belongs to whoever asked, whatever it is
            request.answer.set_exception(error)

    def _reader(self, drive_id: str) -> MomentReader:
        known = self._readers.pop(drive_id, None)
        if known is None:
            stack = ExitStack()
            known = stack.enter_context(self._open_reader(drive_id)), stack
        self._readers[drive_id] = known  # the newest is the last
        while len(self._readers) > _MOST_OPEN:
            self._readers.pop(next(iter(self._readers)))[1].close()
        return known[0]
