"""Which frames keep their labels when few do: stratified, seeded, nested, and repeatable from a list of names."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_text
from any2seg_core.data.samples import FrameDataset


def fair_sequence(sizes: Sequence[int]) -> np.ndarray:
    """Order in which groups take turns so that no prefix favours one: the chairman assignment (Tijdeman, 1980).

    Args:
        sizes: members of each group, all > 0, N together.

    Returns:
        (N,) int64 group numbers. Among the first k of them group g occurs less than one time more or less often than
        its share k * sizes[g] / N, for every k.
    """
    counts = np.asarray(sizes, np.int64)
    total, groups = int(counts.sum()), len(counts)
    if groups == 1:
        return np.zeros(total, np.int64)
    span = 2 * groups - 2
    taken = np.zeros(groups, np.int64)
    sequence = np.empty(total, np.int64)
    for turn in range(1, total + 1):
        credit = counts * turn - total * taken  # N times what each is owed
        due = np.where(span * credit >= total, (total * (span - 1) - span * credit) / counts, np.inf)
        sequence[turn - 1] = np.argmin(due)  # of those owed enough, whose deadline is the first
        taken[sequence[turn - 1]] += 1
    return sequence


def ends_of_recordings(frames: FrameDataset, share: float) -> tuple[list[int], list[int]]:
    """Numbers of the frames before the end of each recording, and of those in it: the last ``share``, 0..1.

    At least one frame of a recording of two or more is in its end, and one is not.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, frame in enumerate(frames.frames):
        groups.setdefault(frames.recording(frame), []).append(index)
    before, ends = [], []
    for members in groups.values():
        count = min(max(1, round(share * len(members))), len(members) - 1)
        before += members[: len(members) - count]
        ends += members[len(members) - count :]
    return before, ends


def labelling_order(frames: FrameDataset, seed: int) -> list[int]:
    """Frame numbers in the order in which frames get labels; the first n of them are the split of n labels.

    So splits of one seed are nested. In each, every condition (`FrameDataset.condition`) has its share to less than one
    frame, and so has every recording within the labelled frames of its condition. Within a recording the order is
    random.

    Args:
        frames: names, conditions and recordings of these decide; no file is read.
        seed: with it and the same frames the order is the same on every machine.
    """
    rng = np.random.default_rng((seed, len(frames)))

    def spread(members: list[int], levels: Sequence) -> list[int]:
        if not levels:
            return members
        groups: dict[Hashable, list[int]] = {}
        for index in members:
            groups.setdefault(levels[0](frames.frames[index]), []).append(index)
        queues = [iter(spread(group, levels[1:])) for group in groups.values()]
        return [next(queues[group]) for group in fair_sequence([len(group) for group in groups.values()])]

    return spread(rng.permutation(len(frames)).tolist(), (frames.condition, frames.recording))


def labelled_count(total: int, fraction: float) -> int:
    """How many of ``total`` frames a fraction in (0, 1] labels: rounded down as in the papers, at least one."""
    return max(1, int(total * fraction + 1e-6))  # 0.07 * 100 is 7.000000000000001 or 6.999999999999999


def read_names(path: Path, frames: FrameDataset) -> list[int]:
    """Numbers of the frames that a text file names, one a line; empty lines and those with # in front do not count.

    Raises:
        UserError: no such file, no name in it, or a name that the data set does not have or that stands there twice.
    """
    try:
        lines = [line.strip() for line in read_text(path).splitlines()]
    except UserError as error:
        raise UserError(f"{path}: cannot be read as a list of frames ({error}); one name a line", error.code) from None
    names = [line for line in lines if line and not line.startswith("#")]
    numbers = {frame.name: number for number, frame in enumerate(frames.frames)}
    absent = [name for name in names if name not in numbers]
    if absent or not names:
        what = f"{len(absent)} of {len(names)} names, the first is {absent[0]}," if absent else "a single name"
        known = next(iter(numbers))
        raise UserError(
            f"{path}: {frames.root} has not {what} in {frames.split}; its frames have names like {known}",
            "frame-unknown",
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{path}: {twice} stands there twice; name each frame once", "value-twice")
    return [numbers[name] for name in names]
