"""One door to all data sets: by name, or by what lies in the folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from any2seg_core.bags.reader import is_recording
from any2seg_core.base.errors import UserError
from any2seg_core.base.listing import listed
from any2seg_core.data.bag import BagDataset
from any2seg_core.data.deliver import DeliverDataset
from any2seg_core.data.mcubes import INNER_FOLDER, LIST_FOLDER, McubesDataset
from any2seg_core.data.muses import MusesDataset
from any2seg_core.data.samples import FrameDataset, held_by
from any2seg_core.vocabulary.cases import CONDITIONS

DATASETS: dict[str, type[FrameDataset]] = {
    entry.kind: entry for entry in (DeliverDataset, MusesDataset, McubesDataset, BagDataset)
}
_SIGNS = {
    "deliver": "<img, hha, ...>/<cloud, fog, night, rain or sun>",
    "muses": "frame_camera",
    "mcubes": LIST_FOLDER,
    "bag": "a recording (.mcap, .db3, .bag)",
}


def detect_kind(root: str | Path) -> str:
    """Name of the data set that lies in a folder, or "bag" for a recording, which may be a file.

    UserError says what was found and what each of them would have.
    """
    root = Path(root)
    if root.is_file() and is_recording(root):
        return BagDataset.kind
    if not root.is_dir():
        raise UserError(
            f"{root}: {'is a file, and no recording' if root.exists() else 'no such folder or recording'}; "
            "write one with `any2seg drive` or point to a data set",
            "data-missing",
        )
    inner = root / INNER_FOLDER
    signs = {
        "deliver": any((path / condition).is_dir() for path in listed(root) for condition in CONDITIONS),
        "muses": (root / _SIGNS["muses"]).is_dir(),
        "mcubes": any((place / LIST_FOLDER).is_dir() for place in (root, inner)),
    }
    kinds = [kind for kind, is_there in signs.items() if is_there]
    if not kinds and is_recording(root):
        return BagDataset.kind
    if len(kinds) == 1:
        return kinds[0]
    found = held_by(root)
    wanted = "; ".join(f"{kind}: {sign}" for kind, sign in _SIGNS.items())
    state = "several data sets at once" if kinds else "no data set that this program knows"
    raise UserError(
        f"{root}: {state}: it holds {found}; expected one of {wanted}; say which with dataset=", "data-unrecognised"
    )


def open_dataset(
    kind: str,
    root: str | Path,
    split: str,
    modalities: Iterable[str] | None = None,
    cases: Sequence[str] | None = None,
    **options: Any,
) -> FrameDataset:
    """Open one split of a data set.

    Args:
        kind: "deliver" (also the simulated drive), "muses", "mcubes", "bag", or "auto" for `detect_kind`.
        options: ``cache``, ``skip_corrupt``, ``verify`` and ``labelled``, and what the data set itself can be told
            (``source`` of DELIVER and MUSES, ``parity`` of MUSES, ``bag`` of recordings: see their ``options``). They
            and the other arguments: see `FrameDataset`.

    Raises:
        UserError: unknown kind, an option that this data set does not have, or whatever opening it raises.
    """
    chosen = detect_kind(root) if kind == "auto" else kind
    if chosen not in DATASETS:
        raise UserError(f"unknown data set {kind!r}: known are {', '.join(DATASETS)} and auto", "value-unknown")
    return DATASETS[chosen](root, split, modalities, cases, **options)
