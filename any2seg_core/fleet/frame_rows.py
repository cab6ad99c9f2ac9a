"""Rows of the table of frames, out of the frames of a recording or of parts of it.

Reliability is measured against a sensor's own past, agreement of the network's labels included, which parts do not
have. So the rows of a part carry what each set says of the sensors, and the scores are made when all parts are there:
the same fold over the same observations, whether the recording was cut or not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from any2seg_core.base.atomic import replacing
from any2seg_core.evaluation.recording.judged import JudgedFrame
from any2seg_core.evaluation.recording.run import RecordingRun
from any2seg_core.fleet.embedding import embedding
from any2seg_core.fleet.packages import arrow, parquet
from any2seg_core.fleet.positions import PositionLog
from any2seg_core.fleet.schemas import frames_schema
from any2seg_core.runtime.reliability import Observation, ReliabilityMonitor
from any2seg_core.vocabulary.modalities import SensorSuite

_ROWS = 1024  # that become a table at a time
_OLDEST = b"any2seg.oldest_ns"  # in the metadata of a part: what `ReliabilityMonitor` is made of

Row = dict[str, Any]


class Columns(NamedTuple):
    """Which columns there are: letters of the subsets, and names of the sensors, that an evaluation is about."""

    subsets: tuple[str, ...]
    sensors: tuple[str, ...]

    def schema(self) -> Any:
        """Of the finished frames."""
        return frames_schema(self.subsets, self.sensors)

    def schema_of_part(self, oldest_ns: Mapping[str, int]) -> Any:
        """The same with what the scores are made of."""
        pa = arrow()
        schema = self.schema().append(pa.field("time_ns", pa.int64())).append(pa.field("observed", pa.string()))
        return schema.with_metadata({_OLDEST: json.dumps(dict(oldest_ns)).encode()})


def rows_of(run: RecordingRun, recording_id: str, columns: Columns, frames: Iterable[JudgedFrame]) -> Iterator[Row]:
    """A row for each frame, without its reliability but with `time_ns` and `observed`.

    Args:
        frames: of `run`, which must not have begun: positions are read beside them.
    """
    positions = PositionLog(run)
    full = run.suite.subset_letters(run.subsets[-1])
    statistics = run.predictor.contract.feature_statistics
    for judged in frames:
        prepared, frame = judged.prepared, judged.prepared.frame
        segmentation = None if judged.segmented is None else judged.segmented.segmentation
        score = judged.scores[full]
        missing: dict[str, str] = {}
        if prepared.sample_set is not None and frame is not None:
            missing = {**prepared.sample_set.missing, **frame.reasons}
        confidence = None if segmentation is None else segmentation.confidence
        yield {
            "recording_id": recording_id,
            "stamp_ns": judged.stamp_ns,
            "used": "" if segmentation is None else run.suite.subset_letters(segmentation.used),
            "confidence": None if confidence is None else float(confidence.mean(dtype="float64")),
            "agreement": _agreement(judged, columns),
            "missing": [f"{name}: {why}" for name, why in missing.items()],
            "flicker": _share(score.flickering, score.steady),
            "latency_ms": None if frame is None else (prepared.time_ns - judged.stamp_ns) / 1e6,
            "miou": _finite(score.confusion.miou("present")) if judged.has_truth else None,
            **positions.at(prepared.time_ns),
            "embedding": None if segmentation is None else embedding(segmentation.pooled, statistics),
            "time_ns": prepared.time_ns,
            "observed": _text(judged.observed),
        }


def with_reliability(
    rows: Iterable[Row], oldest_ns: Mapping[str, int], suite: SensorSuite, sensors: Sequence[str]
) -> Iterator[Row]:
    """Finished rows of a whole recording; takes `time_ns` and `observed` away."""
    monitor = ReliabilityMonitor(oldest_ns, suite)
    for row in rows:
        scores = monitor.update(row.pop("time_ns"), _observed(row.pop("observed")))
        yield row | {"reliability": {name: scores[name].score if name in scores else None for name in sensors}}


def table_of(rows: Iterable[Row], schema: Any) -> Any:
    """pyarrow table of rows, without holding all of them as objects."""
    pa = arrow()
    batches, waiting = [], []
    for row in rows:
        waiting.append(row)
        if len(waiting) == _ROWS:
            batches.append(pa.RecordBatch.from_pylist(waiting, schema))
            waiting = []
    batches.append(pa.RecordBatch.from_pylist(waiting, schema))
    return pa.Table.from_batches(batches, schema)


def write_part(path: Path, table: Any) -> None:
    """Rows of one part of a recording, whole or not at all; UserError where they cannot be written."""
    with replacing(path) as partial:
        parquet().write_table(table, partial, compression="zstd")


def read_parts(paths: Sequence[Path]) -> tuple[Iterator[Row], dict[str, int]]:
    """Rows of all parts of a recording in their order, and `oldest_ns` of `with_reliability`."""
    told = parquet().read_schema(paths[0]).metadata[_OLDEST]

    def rows() -> Iterator[Row]:
        for path in paths:
            with parquet().ParquetFile(path) as file:
                for batch in file.iter_batches(_ROWS):
                    yield from batch.to_pylist()

    return rows(), json.loads(told)


def _agreement(judged: JudgedFrame, columns: Columns) -> dict[str, float | None] | None:
    if judged.segmented is None:
        return None
    scores = judged.scores
    return {name: _share(scores[name].agreeing, scores[name].compared) if name in scores else None
            for name in columns.subsets}  # fmt: skip


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _finite(value: float) -> float | None:
    return None if value != value else float(value)


def _text(observed: Mapping[str, Observation | None] | None) -> str | None:
    if observed is None:
        return None
    return json.dumps({name: None if seen is None else vars(seen) for name, seen in observed.items()})


def _observed(text: str | None) -> dict[str, Observation | None] | None:
    if text is None:
        return None
    return {name: None if seen is None else Observation(**seen) for name, seen in json.loads(text).items()}
