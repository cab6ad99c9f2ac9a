"""Which frames of a fleet to label or to teach from: unsure, near failures of sensors, and unlike each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.fleet.queries import ask, chosen_evaluation
from any2seg_core.fleet.store import FleetStore

COLUMNS = ("url", "stamp_ns", "why", "confidence", "vehicle", "weather", "evaluation")
_POOL = 10  # candidates per frame that is wanted
_NEAR_S = 1.0

_CANDIDATES = """
WITH moments AS (
  SELECT recording_id, stamp_ns, used, confidence, embedding, missing,
         lag(used) OVER (PARTITION BY recording_id ORDER BY stamp_ns) AS before
  FROM frames WHERE evaluation = $evaluation
), changes AS (  -- where a sensor was lost or came back
  SELECT recording_id, stamp_ns AS at_ns FROM moments WHERE before IS NOT NULL AND used <> before
), candidates AS (
  SELECT recording_id, stamp_ns, confidence, embedding, EXISTS (
           SELECT 1 FROM changes WHERE changes.recording_id = moments.recording_id
           AND abs(changes.at_ns - moments.stamp_ns) <= $near_ns) AS is_near
  FROM moments WHERE embedding IS NOT NULL AND confidence IS NOT NULL AND used <> ''
), ranked AS (
  SELECT *, row_number() OVER (PARTITION BY is_near ORDER BY confidence, recording_id, stamp_ns) AS place
  FROM candidates
)
SELECT url, stamp_ns, confidence, vehicle, weather, is_near, embedding
FROM ranked JOIN recordings USING (recording_id)
WHERE place <= $pool ORDER BY confidence, url, stamp_ns
"""


def select(store: FleetStore, budget: int, evaluation: str = "") -> list[dict[str, Any]]:
    """Choose frames: from the least sure ones and those near a change of the sensors in use, as different as can be.

    Of ten times the budget of each kind, farthest-first traversal of the embeddings (k-centre, Gonzalez 1985) takes one
    frame after the other: the first is the least sure, each next one is the farthest from all before.

    Args:
        budget: frames; fewer come where there are not so many. evaluation: "": the only one.

    Returns:
        Rows of `COLUMNS` in the order of choice.

    Raises:
        UserError: no evaluation, or one without embeddings.
    """
    if budget < 1:
        raise UserError(f"--budget {budget}: give at least 1", "value-range")
    name = chosen_evaluation(store, evaluation)
    values = {"evaluation": name, "near_ns": round(_NEAR_S * 1e9), "pool": _POOL * budget}
    rows = ask(store, _CANDIDATES, values).records()
    if not rows:
        raise UserError(f"{store.path}: no frame of {name} has an embedding; evaluate anew", "embeddings-missing")
    return [
        {**{key: rows[at].get(key) for key in COLUMNS}, "evaluation": name,
         "why": "sensors changed" if rows[at]["is_near"] else "unsure"}
        for at in farthest_first(np.array([row["embedding"] for row in rows], np.float32), budget)
    ]  # fmt: skip


def farthest_first(points: np.ndarray, count: int) -> list[int]:
    """Rows of (N, C) points: the first, then each time the one farthest from all before; of equals the first.

    Ends early where all others are the same as one that was taken.
    """
    chosen = [0]
    distance = np.linalg.norm(points - points[0], axis=1)  # (N,)
    while len(chosen) < min(count, len(points)):
        farthest = int(np.argmax(distance))
        if distance[farthest] <= 0:
            break
        chosen.append(farthest)
        np.minimum(distance, np.linalg.norm(points - points[farthest], axis=1), out=distance)
    return chosen
