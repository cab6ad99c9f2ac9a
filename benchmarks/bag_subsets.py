"""How much does one pass over a recording save against 15, and what is the share of decoding and projection?

    OMP_NUM_THREADS=1 python benchmarks/bag_subsets.py [RECORDING] [--seconds 60] [--turns 1]

Renders a drive if no recording is given (600 frames of the camera at 10 Hz in 60 s; `--seconds 6` for a quick look).
The 15 passes are what one does without `any2seg bag evaluate --subsets every`: one evaluation per subset of the
sensors, each with the other topics left out. Both sides run in this process in turns, and give the same table up to
the frames that a lone sensor has more or fewer: events alone come at 20 Hz. Therefore the ratio is printed per judged
frame: 15 * (seconds per frame of the 15 passes) / (seconds per frame of the one pass).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any, TypeVar

import torch
import typer

from any2seg_core.bags.opened import open_bag
from any2seg_core.base.allocator import keep_freed_memory
from any2seg_core.base.progress import track
from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.base.turns import in_turns, ratio
from any2seg_core.evaluation.recording.evaluate import evaluate_bag
from any2seg_core.evaluation.recording.evaluation import Evaluation
from any2seg_core.evaluation.recording.prepared import RecordingTap, prepared_sets
from any2seg_core.evaluation.recording.settings import EvaluateRequest
from any2seg_core.evaluation.recording.silence import ExpectedOutputMonitor
from any2seg_core.sensors.events import DEFAULT_WINDOW_NS
from any2seg_core.vocabulary.labels import DELIVER
from any2seg_core.vocabulary.modalities import VEHICLE, all_subsets
from any2seg_drive.bag_writer import write_bag

CHECKPOINT = default_checkpoint()

T = TypeVar("T")


def kept(results: dict[str, T], name: str, work: Callable[[], T]) -> Callable[[], None]:
    """The same work, whose result goes into `results`."""

    def run() -> None:
        results[name] = work()

    return run


def read_and_project(bag: Path) -> int:
    """Everything before the model, alone; returns the number of sets."""
    with open_bag(bag) as opened:
        watch = ExpectedOutputMonitor(opened.choice.map, opened.sync_config(DEFAULT_WINDOW_NS), None, len(DELIVER))
        sets = opened.sets(DEFAULT_WINDOW_NS, watch.messages)
        return sum(1 for _ in prepared_sets(sets, RecordingTap(()), watch, 1, len(DELIVER))) - 1


def fifteen_passes(bag: Path, out: Path) -> dict[str, Evaluation]:
    """One evaluation per subset."""
    results = {}
    for subset in track(all_subsets(), "15 passes", len(all_subsets())):
        absent = tuple(f"{name}=none" for name in VEHICLE.members if name not in subset)
        request = EvaluateRequest(bag, CHECKPOINT, out, subsets="all", topics=absent)
        results[VEHICLE.subset_letters(subset)] = evaluate_bag(request)
    return results


def judged(evaluation: Evaluation) -> int:
    """Number of frames."""
    return next(iter(evaluation.total().values())).frames


def main(
    recording: Annotated[Path | None, typer.Argument(help="Recording of the simulated drive.")] = None,
    seconds: Annotated[float, typer.Option(help="Length of the drive that is rendered otherwise.")] = 60.0,
    turns: Annotated[int, typer.Option(min=1, help="How often the 15 passes are made.")] = 1,
) -> None:
    keep_freed_memory()  # as the command does
    with TemporaryDirectory() as folder:
        bag = recording or write_bag(Path(folder) / "drive", [(seconds, "sunny")], workers=2)
        out = Path(folder) / "out"
        prepared = in_turns({"": lambda: read_and_project(bag)}, 1)[""]  # the first turn compiles the kernels
        results: dict[str, Any] = {}
        works = {
            "one": kept(results, "one", lambda: evaluate_bag(EvaluateRequest(bag, CHECKPOINT, out))),
            "often": kept(results, "often", lambda: fifteen_passes(bag, out)),
        }
        one, often = in_turns(works, turns, 0).values()
        table, alone = results["one"], results["often"]
    frames = judged(table)
    equally = 15 * frames / sum(judged(each) for each in alone.values())
    ratios = [ratio(*pair) for pair in ((often.wall_s, one.wall_s), (often.cpu_s, one.cpu_s))]
    wall, cpu = (f"{each.median * equally:.2f} ({each.least * equally:.2f} to {each.largest * equally:.2f})"
                 for each in ratios)  # fmt: skip
    one_s = median(one.cpu_s)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {bag.name}: {frames} frames, B0 at 256x256")
    print(
        f"15 passes / one pass: {wall} by the clock, {cpu} in processor time; one pass takes "
        f"{1e3 * one_s / frames:.0f} ms of it per frame, of which decoding and projection are "
        f"{100 * prepared.cpu_s[0] / one_s:.0f} % ({1e3 * prepared.cpu_s[0] / frames:.0f} ms)"
    )
    scores = table.total()
    for letters, evaluation in alone.items():
        once, lone = (100 * each[letters].confusion.miou("present") for each in (scores, evaluation.total()))
        print(f"{letters:>5}  mIoU {once:5.2f} in one pass, {lone:5.2f} alone, of {judged(evaluation)} frames")


if __name__ == "__main__":
    typer.run(main)
