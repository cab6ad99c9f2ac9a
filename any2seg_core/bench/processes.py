"""What takes a process of its own: its start, the node, and `any2seg bag evaluate`."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from any2seg_core.base.errors import UserError
from any2seg_core.base.turns import Times, ratio
from any2seg_core.bench.document import Row
from any2seg_core.bench.workshop import Workshop, row, share

_TURNS = 5
_DRIVE_S = 6


class Finished(NamedTuple):
    """A process that has ended: seconds of the processor (all threads) and by the clock, peak memory, what it said."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    output: str


def finished(words: Sequence[object]) -> Finished:
    """Run this interpreter with some words and wait for its end; UserError where it fails."""
    begin_s = time.perf_counter()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as problems:
        command = [sys.executable, *map(str, words)]
        process = subprocess.Popen(command, stdout=output, stderr=problems)
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.perf_counter() - begin_s
        output.seek(0)
        problems.seek(0)
        said, lines = output.read().decode(errors="replace"), problems.read().decode(errors="replace").strip()
    if process.returncode:
        last = lines.splitlines()[-1] if lines else f"exit code {process.returncode}"
        raise UserError(f"{' '.join(map(str, words))}: {last}", "process-failed")
    return Finished(used.ru_utime + used.ru_stime, wall_s, used.ru_maxrss / 1024, said)


def start(shop: Workshop) -> Iterator[Row | str]:
    """A camera image in a new process, processor time of all threads: checkpoint and exported folder in turns."""
    with tempfile.TemporaryDirectory() as folder:
        ways = {"exported folder" if shop.is_exported else "checkpoint": Path(shop.settings.model)}
        if shop.is_random:
            yield "random weights have no file: give a checkpoint"
            return
        if not shop.is_exported:
            try:
                ways["exported folder"] = _exported(shop, Path(folder))
            except UserError as error:
                yield f"exported folder: {error}"
        words = {name: ("-m", "any2seg_core.bench.fresh_process", path) for name, path in ways.items()}
        for each in words.values():
            finished(each)  # compiled kernels and files are in their caches from here on
        told: dict[str, list[dict[str, float]]] = {name: [] for name in words}
        for turn in range(_TURNS):
            shop.tell(f"fresh processes, turn {turn + 1} of {_TURNS}")
            for name, each in words.items():
                told[name].append(json.loads(finished(each).output))
    first = next(iter(words))
    for what in told[first][0]:
        values = {name: [each[what] for each in turns] for name, turns in told.items()}
        for name in words:
            yield _of_processes(f"{what}, {name}", values[name], {} if name == first else {first: values[first]})


def _of_processes(case: str, values: list[float], peers: dict[str, list[float]]) -> Row:
    """Seconds or, of memory, megabytes, one per process."""
    is_memory = "memory" in case
    shares = {name: share(ratio(values, theirs)) for name, theirs in peers.items()}
    if not is_memory:
        return row(case, Times(tuple(values), tuple(values))).model_copy(update={"wall": None, "shares": shares})
    return Row(case=case, unit="MB", clock="", median=round(statistics.median(values), 1), least=round(min(values), 1),
               turns=len(values), shares=shares)  # fmt: skip


def _exported(shop: Workshop, folder: Path) -> Path:
    from any2seg_core.runtime.export.write import export_checkpoint

    shop.tell("export of the checkpoint")
    export_checkpoint(Path(shop.settings.model), folder / "exported")
    return folder / "exported"


def node(shop: Workshop) -> Iterator[Row | str]:
    """The running node in a process of its own, fed through its callbacks."""
    module = "any2seg_ros.callback_cost"
    if any(find_spec(name) is None for name in ("any2seg_ros", "rclpy")):
        yield "the node is not installed, so it is not measured: pip install 'any2seg[ros]'"
        return
    rounds = max(shop.effort.least, 5)
    shop.tell("node callbacks")
    scale = shop.effort.scale
    told = json.loads(finished(("-m", module, "--rounds", rounds, "--scale", scale)).output)
    own, plain = (Times(tuple(told[name]), tuple(told[name])) for name in ("node_s", "plain_numpy_s"))
    yield row(told["case"], own, peers={"plain NumPy": plain}).model_copy(update={"wall": None})


def bag(shop: Workshop) -> Iterator[Row | str]:
    """The command on a recording, with its start: decoding, planes, all subsets in one pass, scores, report."""
    if shop.is_random:
        yield "random weights have no file: give a checkpoint"
        return
    with tempfile.TemporaryDirectory() as folder:
        recording = shop.settings.recording
        if recording is None:
            shop.tell(f"{_DRIVE_S} s of the simulated drive")
            recording = Path(folder) / "drive"
            try:
                finished(("-m", "any2seg_core", "drive", "bag", recording, "--seconds", _DRIVE_S))
            except UserError as error:
                yield f"no recording ({error}): give one with --recording, or pip install 'any2seg[drive]'"
                return
        out = Path(folder) / "out"
        words = ("-m", "any2seg_core", "bag", "evaluate", recording, "--checkpoint", shop.settings.model, "--out", out,
                 "--device", shop.settings.device, "--precision", shop.settings.precision)  # fmt: skip
        runs = []
        for turn in range(shop.effort.least):
            shop.tell(f"bag evaluate, turn {turn + 1} of {shop.effort.least}")
            runs.append(finished(words))
        frames = len((out / "frames.jsonl").read_text(encoding="utf-8").splitlines()) - 1
    times = Times(tuple(each.cpu_s for each in runs), tuple(each.wall_s for each in runs))
    yield row(f"a frame of {frames}, with the start", times, shop.clock, per=max(frames, 1))
    peaks = [each.peak_mb for each in runs]
    yield _of_processes("peak memory", peaks, {})
