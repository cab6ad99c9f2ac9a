"""What do the modes of a stream do to labels while sensors fail, and right after?

    OMP_NUM_THREADS=1 python benchmarks/streams.py [DRIVES [CHECKPOINT [FOLDER]]]

DRIVES (20) drives of 4 s through towns of the test split, in all weathers, with sensors that are silent from 1.0 to
2.5 s: the camera, the LiDAR, the depth camera, camera and depth, camera and LiDAR in turn. Each is judged with `stream`
off, anchor and filter; the latter also without the poses of the vehicle. FOLDER (runs/streams) keeps the recordings.
Figures are of all frames of all drives together, for all sensors that are there; one encoding serves all modes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.bags.sets import BagSet
from any2seg_core.base.fixed_arrays import fixed
from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.base.units import NS_PER_S
from any2seg_core.evaluation.recording.outages import WINDOWS, OutageWindows
from any2seg_core.evaluation.recording.scores import FrameScorer
from any2seg_core.evaluation.scores import Scoreboard, SubsetScore
from any2seg_core.faults.grammar import read_plan
from any2seg_core.faults.injector import FaultInjector
from any2seg_core.messages.images import image_to_array
from any2seg_core.runtime.frame import Frame
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.runtime.set_segmenter import SetSegmenter
from any2seg_drive.bag_writer import write_bag

SILENT = (("camera",), ("lidar",), ("depth",), ("camera", "depth"), ("camera", "lidar"))
WEATHERS = ("sunny", "cloudy", "rainy", "foggy", "night")
SECONDS, FROM_S, TO_S = 4.0, 1.0, 2.5
MODES = {"off": "off", "anchor": "anchor", "filter": "filter", "filter, no poses": "filter"}
ALL, FULL = "all frames", "full"


class Mode:
    """One mode of a stream and what came of it."""

    def __init__(self, name: str, predictor: Predictor) -> None:
        self.name, self.predictor = name, Predictor(predictor.engine, predictor.contract, stream=MODES[name])
        self.board = Scoreboard(predictor.label_space)

    def begin(self, segmenter: SetSegmenter, scorer: FrameScorer) -> None:
        """A new drive."""
        self.segmenter, self._scorer = segmenter, scorer

    def judge(self, found: BagSet, frame: Frame, windows: tuple[str, ...]) -> None:
        """One set; only those with a truth are."""
        pose = None if self.name.endswith("no poses") else found.pose
        result = self.segmenter.segment(found.sample_set, frame, found.time_ns, pose=pose).segmentation
        if found.truth is not None:
            truth = image_to_array(found.truth).reshape(result.labels.shape)
            self.board.add(self._scorer.score({FULL: result}, result, truth, frame.planes), windows)


def silent_in(drive: int) -> tuple[str, ...]:
    """Each outage comes in several weathers."""
    return SILENT[(drive + drive // len(WEATHERS)) % len(SILENT)]


def frames(bag: Path, drive: int, modes: list[Mode]) -> Iterator[tuple[BagSet, Frame, tuple[str, ...]]]:
    """Sets of a drive with an outage, their planes and windows."""
    contract = modes[0].predictor.contract
    plan = read_plan([f"{sensor}@{FROM_S}:{TO_S}" for sensor in silent_in(drive)], (), (), contract.suite)
    with open_bag(bag, BagOptions(with_poses=True)) as opened:
        start_ns = opened.bag.start_ns or 0
        injector = FaultInjector(plan, opened.choice.map, 0, start_ns, contract.suite)
        outages, sync = OutageWindows(plan), opened.sync_config(contract.event_window_ns)
        for mode in modes:
            mode.begin(SetSegmenter(mode.predictor, sync), FrameScorer(mode.predictor.label_space, [FULL]))
            mode.segmenter.features = modes[0].segmenter.features  # one encoding for all
        for found in opened.sets(contract.event_window_ns, injector):
            frame = found.frame()
            frame = replace(frame, planes={name: fixed(plane) for name, plane in frame.planes.items()})
            if frame.planes:
                yield found, frame, outages.of((found.time_ns - start_ns) / NS_PER_S, frame.planes)


def row(window: str, scores: list[SubsetScore]) -> str:
    """Number of frames, and of each mode its mIoU, then of each its flicker."""
    documents = [score.document() for score in scores]
    shown = [f"{document[key]:.1f}" for key in ("miou_present", "flicker") for document in documents]
    return f"| {window} | {scores[0].frames} | {' | '.join(shown)} |"


def main() -> None:
    drives = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    predictor = Predictor.load(Path(sys.argv[2]) if len(sys.argv) > 2 else default_checkpoint())
    folder = Path(sys.argv[3]) if len(sys.argv) > 3 else Path("runs/streams")
    folder.mkdir(parents=True, exist_ok=True)
    modes = [Mode(name, predictor) for name in MODES]
    for drive in range(drives):
        bag = folder / str(drive)
        if not bag.exists():
            write_bag(bag, [(SECONDS, WEATHERS[drive % len(WEATHERS)])], seed=drive + 1)
        for found, frame, windows in frames(bag, drive, modes):
            for mode in modes:
                mode.judge(found, frame, windows)
    heads = [f"{figure} {mode.name}" for figure in ("mIoU", "flicker %") for mode in modes]
    print(f"| frames | number | {' | '.join(heads)} |\n|---|---:|{'---:|' * len(heads)}")
    for window in (ALL, *WINDOWS):
        tables = [mode.board.total if window == ALL else mode.board.groups[window] for mode in modes]
        print(row(window, [table[FULL] for table in tables]))


if __name__ == "__main__":
    main()
