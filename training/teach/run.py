"""`any2seg teach`, from the recordings to the report; every part is found done, or goes on, after a kill."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from typing import Any

import torch

from any2seg_core.base.atomic import only_one
from any2seg_core.base.errors import UserError
from any2seg_core.base.progress import Progress
from any2seg_core.runtime.checkpoint import load_checkpoint, save_checkpoint
from any2seg_training.config import TrainConfig
from any2seg_training.distil import open_lessons
from any2seg_training.processes import Processes
from any2seg_training.splits import open_split
from any2seg_training.teach.documents import read_plan, read_summary, summary_of, write_json
from any2seg_training.teach.judge import Judge, Say
from any2seg_training.teach.recipe import student_config
from any2seg_training.teach.recordings import Source, Start, inspected, require_classes, require_seen, start_of
from any2seg_training.teach.report import write_report
from any2seg_training.teach.settings import CHECKPOINT, PLAN, REPORT, SUMMARY, TeachSettings
from any2seg_training.teach.trial import Estimate, tried
from any2seg_training.train import make_run_folder, train

_MIB = 2**20


def teach_sensors(settings: TeachSettings, dry_run: bool, say: Say) -> dict[str, Any]:
    """Inspect, plan, train, judge and report; returns the summary, or with ``dry_run`` the estimate.

    Args:
        say: shows a line for people.

    Raises:
        UserError: recordings, teachers and settings that do not fit, a full disk; what was done so far stays, and the
            same call goes on from there.
    """
    with each_warning_once():
        return _taught(settings, dry_run, say)


def _taught(settings: TeachSettings, dry_run: bool, say: Say) -> dict[str, Any]:
    processes = Processes.start(settings.device)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    start = start_of(settings.teacher)
    sources = inspected(settings.recordings, settings.suite)
    require_seen(sources, start)
    require_classes(sources, start, settings.labels, settings.map)
    for source in sources:
        say(source.note)
    without = [str(source.path) for source in sources if not source.has_labels]
    if settings.labels != "ignore" and 0 < len(without) < len(sources):
        say(f"labels are not used, as {', '.join(without)} has none: teach the labelled ones apart to judge by them")
    if dry_run:
        estimate = tried(settings, sources, start, processes)
        return _shown(estimate, say)
    with only_one(settings.out / ".lock", f"--out {settings.out}: a teach"):
        estimate = _planned(settings, sources, start, processes, say)
        if (summary := read_summary(settings.out)) is not None:
            say(f"finished before: {settings.out / REPORT}")
            return summary
        config = student_config(settings, sources, start, estimate.steps, estimate.save_every)
        _train(config, processes, say)
        return _judged(settings, config, estimate, processes, say)


@contextmanager
def each_warning_once() -> Iterator[None]:
    """Recordings are opened several times: what is to be said of them is said the first time."""
    said: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        before = len(said)
        said.add(record.getMessage())
        return len(said) > before

    handlers = [*logging.getLogger().handlers, *([logging.lastResort] if logging.lastResort else [])]
    for handler in handlers:
        handler.addFilter(is_new)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(is_new)


def _planned(
    settings: TeachSettings, sources: Sequence[Source], start: Start | None, processes: Processes, say: Say
) -> Estimate:
    """What the run takes, measured once: a run that goes on has the steps that it began with."""
    known = read_plan(settings.out, settings.deciding())
    if known is not None:
        say(f"goes on in {settings.out}")
        estimate = Estimate(**known)
        _shown(estimate, say)
        return estimate
    estimate = tried(settings, sources, start, processes)
    _shown(estimate, say)
    free_mib = shutil.disk_usage(settings.out).free / _MIB
    if free_mib < estimate.disk_mib:
        raise UserError(
            f"--out {settings.out}: {estimate.disk_mib:.0f} MiB are needed there and {free_mib:.0f} MiB are free: free "
            "some, choose another place, or take fewer frames with --every",
            "disk-full",
        )
    write_json(settings.out / PLAN, {"settings": settings.deciding(), "estimate": asdict(estimate)})
    return estimate


def _shown(estimate: Estimate, say: Say) -> dict[str, Any]:
    for line in estimate.lines():
        say(line)
    return asdict(estimate) | {"total_s": estimate.total_s, "disk_mib": estimate.disk_mib}


def _train(config: TrainConfig, processes: Processes, say: Say) -> None:
    """The training, from its last state on if there is one; nothing where it has ended."""
    if (config.out / "final.safetensors").is_file():
        return
    make_run_folder(config.out)
    is_resumed = (config.out / "last.pt").is_file()
    with redirect_stdout(sys.stderr):  # lines of the training; results alone go to stdout
        train(config.model_copy(update={"resume": is_resumed}), processes)
    say(f"trained: {config.out / 'final.safetensors'}")


def _judged(
    settings: TeachSettings, config: TrainConfig, estimate: Estimate, processes: Processes, say: Say
) -> dict[str, Any]:
    """Checkpoint, summary and report; the report last, as it says that all is there."""
    model, contract, provenance = load_checkpoint(config.out / "final.safetensors")
    held_out = open_split(config, "val", config.cache)
    lessons = open_lessons(config.distil, contract, True, processes.device)
    with Progress("judge") as progress:
        judge = Judge(model, contract, held_out, lessons, processes.device, settings.seed)
        found = judge.calibrate(progress.stage)
        verdict = judge.verdict(progress.stage)
    verdict.calibrated = found
    said = {"frames": verdict.frames, "data": "frames held out"}
    results = {"judged_by": "the teachers", "agreement": {n: s.document() for n, s in verdict.agreement.items()}}
    kept = {name: value for name, value in provenance.items() if name not in ("results", "command")}
    document = kept | {"temperatures": said, "taught": settings.deciding() | results}
    # The model that was trained, not the one that an engine may have changed.
    trained, _, _ = load_checkpoint(config.out / "final.safetensors")
    save_checkpoint(settings.out / CHECKPOINT, trained, judge.target.contract, document)
    summary = summary_of(settings, judge, verdict, estimate)
    write_json(settings.out / SUMMARY, summary)
    write_report(settings.out / REPORT, judge, verdict, summary)
    say(f"written: {', '.join(str(settings.out / name) for name in (CHECKPOINT, SUMMARY, REPORT))}")
    return summary
