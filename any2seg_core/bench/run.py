"""One run over all parts that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import partial

from any2seg_core.base.errors import UserError
from any2seg_core.base.threads import thread_count
from any2seg_core.base.versions import versions
from any2seg_core.bench import network, processes, sensing
from any2seg_core.bench.document import BenchDocument, Conditions, Part, Row
from any2seg_core.bench.machine import commit, load, this_machine
from any2seg_core.bench.settings import PARTS, BenchSettings
from any2seg_core.bench.workshop import QUICK, Effort, Workshop

_SPREAD, _WAITING = 0.25, 1.3
_X_TITLES = {"sensors": "sensors", "size": "side of the input, pixels", "batch": "frames at once", "events": "events",
             "lidar": "points"}  # fmt: skip


def run_bench(
    settings: BenchSettings,
    command: str = "",
    tell: Callable[[str, int, int], None] = lambda case, done, total: None,
    effort: Effort | None = None,
) -> BenchDocument:
    """Measure.

    Args:
        command: that repeats it. tell: is called with part and case, parts done and all parts. effort: how long is
            measured; default: as `settings.quick` says.

    Raises:
        UserError: a model or device that is not there.
    """
    shop = Workshop(settings, effort or (QUICK if settings.quick else Effort()))
    load_before, predictor, parts = load(), shop.predictor, []
    for number, name in enumerate(settings.parts):
        shop.tell = partial(_tell_part, tell, name, number, len(settings.parts))
        rows: list[Row] = []
        notes: list[str] = []
        for found in _measured(name, shop):
            if isinstance(found, Row):
                rows.append(found)
            else:
                notes.append(found)
        parts.append(Part(name=name, title=PARTS[name], x_title=_X_TITLES.get(name, ""), rows=tuple(rows),
                          notes=tuple(notes)))  # fmt: skip
    conditions = Conditions(
        model=settings.model, device=settings.device, precision=predictor.precision, engine=predictor.engine.name,
        input_size=(predictor.contract.height, predictor.contract.width), threads=thread_count(), quick=settings.quick,
        load_before=load_before, load_after=load(),
    )  # fmt: skip
    machine = this_machine(settings.device)
    return BenchDocument(
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"), command=command, commit=commit(),
        machine=machine, versions=versions(), conditions=conditions, parts=tuple(parts),
        notes=tuple(_doubts(parts, conditions, machine.cores)),
    )  # fmt: skip


def _tell_part(tell: Callable[[str, int, int], None], name: str, number: int, total: int, case: str) -> None:
    tell(f"{name}: {case}", number, total)


def _measured(name: str, shop: Workshop) -> Iterator[Row | str]:
    """Rows and notes of a part; what it cannot do is a note, and the other parts go on."""
    try:
        yield from _MEASURES[name](shop)
    except UserError as error:
        yield f"{name}: {error}"


def _peers(shop: Workshop) -> Iterator[Row | str]:
    """Those of networks need PyTorch, and an exported folder none."""
    if shop.is_exported:
        yield "networks of others are compared with checkpoints"
        return
    from any2seg_core.bench.peer_networks import peers

    yield from peers(shop)


_MEASURES: dict[str, Callable[[Workshop], Iterator[Row | str]]] = {
    "sensors": network.sensors,
    "size": network.size,
    "batch": network.batch,
    "precision": network.precision,
    "runtime": network.runtime,
    "reuse": network.reuse,
    "peers": _peers,
    "events": sensing.events,
    "evt3": sensing.evt3,
    "lidar": sensing.lidar,
    "frame": sensing.frame,
    "node": processes.node,
    "start": processes.start,
    "bag": processes.bag,
}


def _doubts(parts: list[Part], conditions: Conditions, cores: int) -> Iterator[str]:
    """What a reader should know before the numbers are believed."""
    rows = [row for part in parts for row in part.rows if row.clock]
    if conditions.load_before > 0.5:
        yield (
            f"other processes ran when this began: load {conditions.load_before:.1f} on {cores} cores; prefer the "
            "least to the median, and ratios to times"
        )
    spread = [row for row in rows if row.spread > _SPREAD]
    if spread:
        yield f"{len(spread)} of {len(rows)} rows spread by more than {_SPREAD:.0%}: a quieter machine tells more"
    waited = [row for row in rows if row.clock == "processor" and (row.wall or 0.0) > _WAITING * row.median]
    if waited:
        yield f"{len(waited)} of {len(rows)} rows waited: by the clock they took {_WAITING} times as long or longer"
    if conditions.threads > 1:
        yield f"{conditions.threads} threads: processor time is that of all of them; OMP_NUM_THREADS=1 measures one"
