"""Ready questions to a store: the worst moments, what failed on which vehicle, reliability by week."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from any2seg_core.bags.timing import CLOCKS_APART_NS
from any2seg_core.base.errors import UserError
from any2seg_core.fleet.queries import Answer, ask, chosen_evaluation, fields_of
from any2seg_core.fleet.store import FleetStore

Measure = Literal["confidence", "agreement"]

_OFFSETS = f"""offsets AS (  -- recording -> what brings its stamps to log times, as `clock_offset_ns`
  SELECT recording_id, CASE WHEN first_ns >= start_ns - {CLOCKS_APART_NS}
    AND first_ns <= coalesce(end_ns, first_ns) + {CLOCKS_APART_NS} THEN 0 ELSE start_ns - first_ns END AS offset_ns
  FROM (SELECT recording_id, min(stamp_ns) AS first_ns FROM frames
        WHERE evaluation = $evaluation AND recording_id IN {{chosen}} GROUP BY recording_id)
  JOIN recordings USING (recording_id)
)"""
_LOWEST = """
SELECT recording_id, stamp_ns FROM (
  SELECT recording_id, stamp_ns, {measure} AS measure FROM frames
  WHERE evaluation = $evaluation AND used <> '' AND {measure} IS NOT NULL
  ORDER BY measure, recording_id, stamp_ns LIMIT $pool
) JOIN recordings USING (recording_id) ORDER BY measure, url, stamp_ns
"""
_WORST = """
WITH {offsets}
SELECT vehicle, date, weather, time_of_day, url, (stamp_ns + offset_ns - start_ns) / 1e9 AS at_s, stamp_ns, used,
       confidence, {agreement} AS agreement, missing
FROM frames JOIN recordings USING (recording_id) JOIN offsets USING (recording_id)
WHERE evaluation = $evaluation AND used <> '' AND {measure} IS NOT NULL
      AND recording_id IN $ids AND stamp_ns IN $stamps
      AND {{'r': recording_id, 's': stamp_ns}} IN (SELECT {{'r': unnest($ids), 's': unnest($stamps)}})
QUALIFY row_number() OVER (PARTITION BY recording_id, stamp_ns ORDER BY {measure}) = 1
ORDER BY {measure}, url, stamp_ns
"""
_MOST_HZ = 100.0

_FAILURES = f"""
WITH moments AS (
  SELECT recording_id, stamp_ns, missing,
         row_number() OVER of_recording AS place, lead(stamp_ns) OVER of_recording AS next_ns
  FROM frames WHERE evaluation = $evaluation AND recording_id IN (
    SELECT recording_id FROM frames WHERE evaluation = $evaluation AND len(missing) > 0)
  WINDOW of_recording AS (PARTITION BY recording_id ORDER BY stamp_ns)
), absent AS (
  SELECT recording_id, stamp_ns, coalesce(next_ns, stamp_ns) AS next_ns, place,
         split_part(told, ': ', 1) AS sensor, split_part(told, ': ', 2) AS kind
  FROM (SELECT *, unnest(missing) AS told FROM moments WHERE len(missing) > 0)
), stretches AS (  -- frames in a row without the sensor, for one reason
  SELECT recording_id, sensor, kind, min(stamp_ns) AS from_ns, max(next_ns) AS to_ns
  FROM (SELECT *, place - row_number() OVER (PARTITION BY recording_id, sensor, kind ORDER BY place) AS stretch
        FROM absent)
  GROUP BY recording_id, sensor, kind, stretch
), seen AS (
  SELECT recording_id, sensor, kind, count(*) AS times, sum(to_ns - from_ns) / 1e9 AS seconds, min(from_ns) AS first_ns
  FROM stretches WHERE to_ns - from_ns >= $least_s * 1e9 GROUP BY recording_id, sensor, kind
  UNION ALL BY NAME
  SELECT recording_id, sensor, 'other_clock' AS kind, 1 AS times, duration_s AS seconds
  FROM topics JOIN recordings USING (recording_id) WHERE sensor IS NOT NULL AND abs(clock_offset_s) >= $clock_s
  UNION ALL BY NAME
  SELECT recording_id, sensor, 'frozen' AS kind, 1 AS times, frozen_s AS seconds
  FROM topics WHERE sensor IS NOT NULL AND frozen_s >= $least_s
  UNION ALL BY NAME
  SELECT recording_id, sensor, 'dead' AS kind, 1 AS times, longest_gap_s AS seconds
  FROM topics WHERE sensor IS NOT NULL AND longest_gap_s >= $least_s  -- without a rate it has one message
        AND (rate_hz IS NULL OR longest_gap_s * rate_hz > 2.5)
), of_recordings AS (
  SELECT recording_id, sensor, kind, max(times) AS times, max(seconds) AS seconds, min(first_ns) AS first_ns
  FROM seen GROUP BY recording_id, sensor, kind
), {_OFFSETS.format(chosen="(SELECT recording_id FROM of_recordings)")}, of_vehicles AS (
  SELECT vehicle, sensor, kind, count(*) AS drives, sum(times)::BIGINT AS times, sum(seconds) AS seconds,
         CASE count(DISTINCT weather) WHEN 0 THEN NULL WHEN any_value(kinds_of_weather) THEN 'all'
              ELSE string_agg(DISTINCT weather, ', ' ORDER BY weather) END AS weather,
         first({{'url': url, 'at_s': (first_ns + offset_ns - start_ns) / 1e9}} ORDER BY seconds DESC, url) AS longest
  FROM of_recordings JOIN (
    SELECT *, count(DISTINCT weather) OVER (PARTITION BY vehicle) AS kinds_of_weather FROM recordings
  ) USING (recording_id) LEFT JOIN offsets USING (recording_id)
  GROUP BY vehicle, sensor, kind
)
SELECT * EXCLUDE (longest), longest.url AS longest_in, longest.at_s AS at_s
FROM of_vehicles ORDER BY seconds DESC, vehicle, sensor, kind
"""
_CLOCK_S = 1.0

_DRIFT = """
SELECT date_trunc('week', date)::DATE AS week, vehicle, count(*) AS frames, {means}
FROM frames JOIN recordings USING (recording_id)
WHERE evaluation = $evaluation AND date IS NOT NULL
GROUP BY GROUPING SETS ((week, vehicle), (week)) HAVING grouping(vehicle) = 1 OR vehicle IS NOT NULL
ORDER BY vehicle NULLS FIRST, week
"""


def worst(
    store: FleetStore, evaluation: str = "", measure: Measure = "confidence", count: int = 20, apart_s: float = 2.0
) -> Answer:
    """Moments with the lowest confidence, or where the labels of sensor subsets agree least with those of all.

    Args:
        evaluation: "": the only one. count: of moments. apart_s: two of one recording are at least so far apart,
            at rates of up to 100 Hz.

    Returns:
        Rows, the worst first; agreement is the mean over the evaluated subsets, `at_s` by log time.
    """
    if measure not in ("confidence", "agreement"):
        raise UserError(f"--by {measure!r}: choose confidence or agreement", "value-unknown")
    if count < 1 or not 0 < apart_s < 1e6:
        raise UserError(f"--count {count}, --apart {apart_s:g}: give a number and seconds above 0", "value-range")
    name = chosen_evaluation(store, evaluation)
    subsets = ", ".join(f"agreement.{_name(letters)}" for letters in fields_of(store, "agreement"))
    agreement = f"list_avg([{subsets}])"
    value = {"confidence": "confidence", "agreement": agreement}[measure]
    pool = count * (1 + round(2 * apart_s * _MOST_HZ))  # no moment hides more of its neighbours
    lowest = ask(store, _LOWEST.format(measure=value), {"evaluation": name, "pool": pool}).rows
    chosen = _apart(lowest, round(apart_s * 1e9), count)
    keys = {"ids": [each for each, _ in chosen], "stamps": [stamp_ns for _, stamp_ns in chosen]}
    sql = _WORST.format(offsets=_OFFSETS.format(chosen="$ids"), agreement=agreement, measure=value)
    return ask(store, sql, {"evaluation": name, **keys})


def _apart(moments: Sequence[tuple[str, int]], apart_ns: int, count: int) -> list[tuple[str, int]]:
    """The first moments of a list that are so far from all before them of the same recording."""
    chosen: dict[str, list[int]] = {}
    found: list[tuple[str, int]] = []
    for recording_id, stamp_ns in moments:
        before = chosen.setdefault(recording_id, [])
        if len(found) < count and all(abs(stamp_ns - each) >= apart_ns for each in before):
            before.append(stamp_ns)
            found.append((recording_id, stamp_ns))
    return found


def failures(store: FleetStore, evaluation: str = "", least_s: float = 1.0) -> Answer:
    """Outages of sensors by vehicle, sensor and kind, out of the index and, where there is one, an evaluation.

    Kinds are the reasons of reports: other_clock, frozen, dead, ...

    Args:
        evaluation: "": the only one, or none. least_s: what is shorter does not count.

    Returns:
        Rows, the longest first: drives, times and seconds in all; weather "all" where it was in each that the vehicle
        has seen; `at_s`: where in `longest_in` an evaluation has seen it begin, null where none has.
    """
    if not least_s > 0:
        raise UserError(f"--least {least_s:g}: give seconds above 0", "value-range")
    name = chosen_evaluation(store, evaluation) if evaluation or store.evaluations() else ""
    return ask(store, _FAILURES, {"evaluation": name, "least_s": least_s, "clock_s": _CLOCK_S})


def drift(store: FleetStore, evaluation: str = "") -> Answer:
    """Mean reliability of each sensor by week, first over all drives (vehicle null), then of each known vehicle.

    Returns:
        Rows: Monday of the week, vehicle, frames, a column per sensor, 0..1 over the frames in which it was there.
    """
    name = chosen_evaluation(store, evaluation)
    means = ", ".join(f"avg(reliability.{_name(each)}) AS {_name(each)}" for each in fields_of(store, "reliability"))
    return ask(store, _DRIFT.format(means=means), {"evaluation": name})


def _name(text: str) -> str:
    """A name as SQL has it."""
    return '"' + text.replace('"', '""') + '"'
