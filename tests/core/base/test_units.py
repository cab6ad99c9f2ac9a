"""Units as people read them."""

from __future__ import annotations

from any2seg_core.base.units import utc_text


def test_value_a_moment_is_a_date_where_it_can_be_one():
    assert utc_text(1_600_000_000_000_000_000) == "2020-09-13 12:26:40 UTC"
    assert utc_text(2**64 - 1) == "2554-07-21 23:34:33 UTC"
    assert utc_text(10**21) == "1000000000000000000000 ns"
