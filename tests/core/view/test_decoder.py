"""The thread that decodes: the newest request first, nothing twice, and no failure ends it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from raised import user_error

from any2seg_core.base.errors import UserError
from any2seg_core.view.decoder import Decoder, OvertakenError
from any2seg_core.view.moments import Moment
from any2seg_core.vocabulary.modalities import VEHICLE


class Reader:
    """Notes what is asked for; the first moment waits until it may go on."""

    predictor = None
    opened = SimpleNamespace(suite=VEHICLE)

    def __init__(self):
        self.asked, self.may_go_on, self.has_begun = [], threading.Event(), threading.Event()

    def at(self, time_s):
        self.asked.append(time_s)
        self.has_begun.set()
        self.may_go_on.wait(10)
        if time_s == 13.0:
            raise UserError("no moment 13", "value-range")
        if time_s == 99.0:
            raise ZeroDivisionError
        return Moment(time_s)


@contextmanager
def decoding(reader, idle=()):
    opened = []

    @contextmanager
    def open_reader(drive_id):
        if drive_id == "none":
            raise UserError("no drive", "data-missing")
        opened.append(drive_id)
        yield reader
        opened.remove(drive_id)

    with Decoder(open_reader, iter(idle)) as decoder:
        yield decoder, opened
    assert opened == []  # all are closed in the end


def test_value_the_newest_request_comes_first_and_old_ones_are_overtaken():
    reader = Reader()
    with decoding(reader) as (decoder, _):
        first = decoder.shown("a", 0.0)
        assert reader.has_begun.wait(10)
        later = {time_s: decoder.shown("a", time_s) for time_s in map(float, range(1, 10))}
        again = decoder.shown("a", 5.0)
        assert again is later[5.0]
        reader.may_go_on.set()
        assert first.result(10).moment.time_s == 0.0
        assert later[4.0].result(10).moment.time_s == 4.0
    assert reader.asked == [0.0, 5.0, 9.0, 8.0, 7.0, 6.0, 4.0]
    for time_s in (1.0, 2.0, 3.0):
        with pytest.raises(OvertakenError):
            later[time_s].result(0)


def test_exception_failures_belong_to_who_asked_and_work_goes_on():
    reader = Reader()
    reader.may_go_on.set()
    with decoding(reader) as (decoder, _):
        with user_error("value-range"):
            decoder.shown("a", 13.0).result(10)
        with user_error("data-missing"):
            decoder.shown("none", 1.0).result(10)
        with pytest.raises(ZeroDivisionError):
            decoder.shown("a", 99.0).result(10)
        assert decoder.shown("a", 2.0).result(10).moment.time_s == 2.0


def test_value_two_recordings_are_open_at_most():
    reader = Reader()
    reader.may_go_on.set()
    with decoding(reader) as (decoder, opened):
        for drive_id in ("a", "b", "a", "c"):
            decoder.shown(drive_id, 1.0).result(10)
        assert opened == ["a", "c"]


def test_value_idle_work_goes_on_between_requests_and_may_fail():
    done, has_ended = [], threading.Event()

    def idle():
        for step in range(3):
            done.append(step)
            yield
        has_ended.set()
        raise UserError("damaged", "bag-format")

    reader = Reader()
    reader.may_go_on.set()
    with decoding(reader, idle()) as (decoder, _):
        assert has_ended.wait(10) and done == [0, 1, 2]
        assert decoder.shown("a", 1.0).result(10).moment.time_s == 1.0


def test_value_idle_work_that_is_not_done_is_closed_in_the_end():
    closed, has_begun = threading.Event(), threading.Event()

    def idle():
        try:
            while True:
                has_begun.set()
                yield
        finally:
            closed.set()

    with decoding(Reader(), work := idle()):
        assert has_begun.wait(10)
    assert closed.is_set() and work.gi_frame is None


def test_value_a_request_that_nobody_waits_for_any_more_harms_nobody():
    reader = Reader()
    with decoding(reader) as (decoder, _):
        decoder.shown("a", 0.0)
        assert reader.has_begun.wait(10)
        dropped = decoder.shown("a", 1.0)
        assert dropped.cancel()
        reader.may_go_on.set()
        assert decoder.shown("a", 2.0).result(10).moment.time_s == 2.0
    assert 1.0 not in reader.asked
