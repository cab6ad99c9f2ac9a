"""Two evaluations of one fleet: which is better, over all drives and by weather and time of day (paired bootstrap)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.evaluation.bootstrap import drawn_blocks
from any2seg_core.fleet.queries import ask, chosen_evaluation
from any2seg_core.fleet.store import FleetStore

MEASURES = ("miou", "confidence", "flicker")
_LEVEL = 95.0
_FEWEST = 2  # recordings that an interval can be drawn from

_PAIRS = """
SELECT recording_id, any_value(weather) AS weather, any_value(time_of_day) AS time_of_day, count(*) AS frames,
       {means}
FROM ({moments} WHERE evaluation = $first GROUP BY ALL) a
JOIN ({moments} WHERE evaluation = $second GROUP BY ALL) b USING (recording_id, stamp_ns)
JOIN recordings USING (recording_id)
GROUP BY recording_id ORDER BY recording_id
"""
_MOMENTS = "SELECT recording_id, stamp_ns, {} FROM frames"  # a stamp that comes twice is one moment
_MEAN = """
  avg(a.{0}) FILTER (a.{0} IS NOT NULL AND b.{0} IS NOT NULL) AS first_{0},
  avg(b.{0}) FILTER (a.{0} IS NOT NULL AND b.{0} IS NOT NULL) AS second_{0}"""


class Difference(NamedTuple):
    """One measure over some recordings, in percent; second minus first, with its interval where there are several.

    `is_significant`: the interval lies on one side of 0.
    """

    group: str
    measure: str
    recordings: int
    first: float
    second: float
    difference: float
    low: float | None
    high: float | None
    is_significant: bool


def compare_evaluations(
    store: FleetStore, first: str, second: str, resamples: int = 2000, seed: int = 0
) -> list[Difference]:
    """Compare two evaluations over the frames that both have.

    Each recording has one mean per measure and counts once, however long it is: frames of one drive resemble each
    other. Recordings are drawn with replacement, the same for both; the interval holds the middle 95 % of the mean
    differences.

    Returns:
        Per measure (mIoU where there is a truth, confidence, flicker): all recordings, then each weather and time of
        day.

    Raises:
        UserError: no such evaluation, other classes, or no frame in common.
    """
    names = chosen_evaluation(store, first), chosen_evaluation(store, second)
    if names[0] == names[1]:
        raise UserError(f"{names[0]} and {names[1]} are the same evaluation; give two", "value-twice")
    _require_same_classes(store, *names)
    moments = _MOMENTS.format(", ".join(f"avg({measure}) AS {measure}" for measure in MEASURES))
    sql = _PAIRS.format(means=",".join(map(_MEAN.format, MEASURES)), moments=moments)
    rows = ask(store, sql, {"first": names[0], "second": names[1]}).records()
    if not rows:
        raise UserError(f"{names[0]} and {names[1]} have no frame in common; evaluate both alike", "value-conflict")
    groups = {"all": rows}
    for key in ("weather", "time_of_day"):
        for value in sorted({row[key] for row in rows if row[key]}):
            groups[f"{key.replace('_', ' ')} {value}"] = [row for row in rows if row[key] == value]
    found = [_difference(group, measure, own, resamples, seed) for measure in MEASURES for group, own in groups.items()]
    return [each for each in found if each is not None]


def _require_same_classes(store: FleetStore, first: str, second: str) -> None:
    documents = store.evaluations()
    own, rival = (documents[name].get("classes") for name in (first, second))
    if own != rival:
        raise UserError(
            f"{first} and {second} have other classes ({len(own or ())} and {len(rival or ())}): compare evaluations "
            "of one label space",
            "label-space-mismatch",
        )


def _difference(
    group: str, measure: str, rows: list[dict[str, Any]], resamples: int, seed: int
) -> Difference | None:
    pairs = [(row[f"first_{measure}"], row[f"second_{measure}"]) for row in rows]
    values = 100.0 * np.array([pair for pair in pairs if None not in pair], np.float64).reshape(-1, 2)  # (R, 2)
    if not len(values):
        return None
    first, second = values.mean(axis=0)
    low = high = None
    if len(values) >= _FEWEST:
        draws = drawn_blocks(len(values), resamples, seed)  # (draws, R)
        means = draws @ (values[:, 1] - values[:, 0]) / len(values)
        low, high = (float(each) for each in np.percentile(means, [(100 - _LEVEL) / 2, (100 + _LEVEL) / 2]))
    is_significant = low is not None and high is not None and (low > 0 or high < 0)
    return Difference(
        group, measure, len(values), float(first), float(second), float(second - first), low, high, is_significant
    )
