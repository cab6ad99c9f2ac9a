"""Limits of age and time. The oracles are counts by hand."""

from __future__ import annotations

import pytest

from any2seg_core.runtime.freshness import (
    ERROR,
    OK,
    WARN,
    DeadlineWatch,
    Lateness,
    MessageDelay,
    inference_deadline_ns,
    longest_label_age_ns,
)
from any2seg_core.sync import StreamConfig, SyncConfig

MS, S = 1_000_000, 1_000_000_000
YEARS_NS = 1_600_000_000 * S


@pytest.mark.parametrize(
    ("given_s", "period_ns", "expected_ns"),
    [(0.0, None, 2 * S), (0.0, 100 * MS, 2 * S), (0.0, S, 5 * S + 250 * MS), (0.5, S, 500 * MS)],
)
def test_value_age_limit_follows_the_period_and_never_the_model(given_s, period_ns, expected_ns):
    config = SyncConfig({"rgb": StreamConfig()}, ("rgb",), 50 * MS, 200 * MS)
    assert longest_label_age_ns(given_s, config, period_ns) == expected_ns


@pytest.mark.parametrize(
    ("given_s", "period_ns", "expected_ns"),
    [(0.0, None, S), (0.0, 33 * MS, 200 * MS), (0.0, 100 * MS, 400 * MS), (0.3, 100 * MS, 300 * MS)],
)
def test_value_deadline_follows_the_period(given_s, period_ns, expected_ns):
    assert inference_deadline_ns(given_s, period_ns) == expected_ns


def test_value_one_slow_set_warns_several_are_an_error_and_good_ones_end_it():
    watch, levels = DeadlineWatch(slow_sets=3, good_sets=2), []
    for took_s in (0.1, 0.5, 0.1, 0.1, 0.5, 0.5, 0.5, 0.1, 0.5, 0.1, 0.1):
        watch.done(took_s, 0.4)
        levels.append(watch.judge(0.0, 0.4)[0])
    assert levels == [OK, WARN, WARN, OK, WARN, WARN, ERROR, ERROR, ERROR, ERROR, OK]
    assert watch.slow == 5


def test_value_a_model_that_does_not_come_back_is_named_while_it_is_busy():
    watch = DeadlineWatch(slow_sets=5)
    assert watch.judge(0.39, 0.4) == (OK, "")
    level, text = watch.judge(0.9, 0.4)
    assert level == WARN
    assert text == "model too slow: busy with a set for 0.9 s, deadline 0.4 s"
    assert watch.judge(2.1, 0.4)[0] == ERROR
    watch.done(8.3, 0.4)
    assert watch.judge(0.0, 0.4) == (WARN, "model too slow: 8.3 s for a set, deadline 0.4 s")


def test_value_messages_that_waited_while_the_receiver_was_stopped_are_late():
    """10 Hz, 20 ms under way; the receiver stands still from 3 to 45 s and then gets the last five at once."""
    lateness = Lateness()
    for index in range(30):
        sent_ns = YEARS_NS + index * 100 * MS
        assert lateness.of(sent_ns, sent_ns - YEARS_NS + 20 * MS) == 0
    late = [lateness.of(YEARS_NS + (30 + index) * 100 * MS, 45 * S) for index in range(5)]
    assert late == [45 * S - (30 + index) * 100 * MS - 20 * MS for index in range(5)]
    assert lateness.of(YEARS_NS + 45 * S, 45 * S + 20 * MS) == 0


def test_value_clock_that_is_set_back_is_no_delay():
    lateness = Lateness()
    assert lateness.of(100 * S, 0) == 0
    assert lateness.of(100 * S + 100 * MS, 100 * MS) == 0
    assert lateness.of(40 * S, 200 * MS) == 0
    assert lateness.of(40 * S + 100 * MS, 800 * MS) == 500 * MS


@pytest.mark.parametrize(
    ("distance_ns", "expected_ns"),
    [(0, 3 * S), (700 * MS, 3 * S), (5 * S, 0), (-5 * S, 0), (YEARS_NS, 0)],
    ids=["same clock", "same clock, slow sensor", "behind", "ahead", "recording"],
)
def test_value_header_tells_the_delay_only_where_its_clock_is_ours(distance_ns, expected_ns):
    """Header stamps 3 s late, while the transport knows of nothing."""
    delay = MessageDelay()
    for now_ns in range(S, 3 * S, 100 * MS):
        assert delay.of(0, YEARS_NS * 2 + now_ns - distance_ns, YEARS_NS * 2 + now_ns, now_ns) == 0
    header_ns = YEARS_NS * 2 + 3 * S - distance_ns - 3 * S
    assert delay.of(0, header_ns + 2 * S, YEARS_NS * 2 + 5 * S, 5 * S) == expected_ns


def test_value_our_own_clock_that_is_set_makes_no_message_late():
    delay = MessageDelay()
    for now_ns in range(S, 2 * S, 100 * MS):
        assert delay.of(now_ns, YEARS_NS + now_ns, YEARS_NS + now_ns, now_ns) == 0
    assert delay.of(2 * S, YEARS_NS + 2 * S, YEARS_NS + 7 * S, 2 * S) == 0
