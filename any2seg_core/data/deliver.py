"""DELIVER's folder layout: frames, conditions, failure cases, planes and labels. The drive writes the same layout.

    root/{img,depth,hha,lidar,event,semantic}/{cloud,fog,night,rain,sun}/{train,val,test}/MAP_<x>_point<y>[_<case>]/
        <NNNNNN>_{rgb,depth,depth,lidar,event,semantic}_front.png
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from any2seg_core.cases import CONDITIONS, FAILURES, SPLITS
from any2seg_core.contract import default_encodings
from any2seg_core.data.samples import LABELS, FrameDataset, map_ids, read_image, read_plane
from any2seg_core.labels import DELIVER, DELIVER_PNG_TO_TRAIN, IGNORE
from any2seg_core.modalities import VEHICLE, modality

ENCODING_FILE = "encoding.json"
"""Beside planes that this program has written into a folder of DELIVER's layout: which encoding they have."""

_LABEL_FOLDER, _LABEL_SUFFIX = "semantic", "semantic"
_KNOWN_IDS = (DELIVER_PNG_TO_TRAIN != IGNORE) | np.isin(np.arange(256), (0, IGNORE))


@dataclass(frozen=True)
class Frame:
    """Where one frame lies.

    Attributes:
        condition: one of CONDITIONS.
        failure: one of FAILURES, or None for a healthy sequence.
        sequence: name of the sequence folder.
        stem: frame name, the part before ``_<suffix>_front.png``.
    """

    condition: str
    failure: str | None
    sequence: str
    stem: str

    @property
    def name(self) -> str:
        """``condition/sequence/stem``, unique within a split."""
        return f"{self.condition}/{self.sequence}/{self.stem}"


def read_labels(path: Path) -> np.ndarray:
    """Semantic PNG -> (H, W) uint8 train ids: its first (red) channel holds train id + 1; 0 and 255 become 255.

    CorruptFileError for an unreadable file or an id above 25 that is not 255.
    """
    image = read_image(path)
    return map_ids(image if image.ndim == 2 else image[:, :, 0], DELIVER_PNG_TO_TRAIN, _KNOWN_IDS, path)


def failure_of(sequence: str) -> str | None:
    """Failure from the last part of a sequence name; never a substring, so ``rain`` cannot match ``train``."""
    suffix = sequence.rsplit("_", 1)[-1]
    return suffix if suffix in FAILURES else None


def frame_path(root: Path, split: str, frame: Frame, folder: str, suffix: str) -> Path:
    """File of a frame in one of the top folders."""
    return root / folder / frame.condition / split / frame.sequence / f"{frame.stem}_{suffix}_front.png"


def find_frames(root: Path, split: str, folder: str, suffix: str) -> list[Frame]:
    """All frames of a split that a top folder has, sorted by condition, sequence and frame."""
    ending = f"_{suffix}_front.png"
    frames = []
    for condition in CONDITIONS:
        for path in sorted((root / folder / condition / split).glob(f"*/*{ending}")):
            sequence = path.parent.name
            frames.append(Frame(condition, failure_of(sequence), sequence, path.name[: -len(ending)]))
    return frames


class DeliverDataset(FrameDataset):
    """DELIVER, or a simulated drive in its layout. The first modality (canonical order) decides which frames there are.

    Cases are the five weathers (folder names) and the five sensor failures (last part of the sequence's name).
    """

    kind = "deliver"
    splits = SPLITS
    cases = CONDITIONS + FAILURES
    label_space = DELIVER
    family = VEHICLE

    def files(self, frame: Frame) -> dict[str, list[Path]]:
        """One PNG per modality and one for the labels."""
        entries = {name: (modality(name).folder, modality(name).suffix) for name in self.modalities}
        entries[LABELS] = (_LABEL_FOLDER, _LABEL_SUFFIX)
        return {key: [frame_path(self.root, self.split, frame, *entry)] for key, entry in entries.items()}

    def read_plane(self, frame: Frame, name: str) -> np.ndarray:
        """(H, W, 3) uint8."""
        return read_plane(self.files(frame)[name][0])

    def read_labels(self, frame: Frame) -> np.ndarray:
        """(H, W) uint8 train ids."""
        return read_labels(self.files(frame)[LABELS][0])

    def condition(self, frame: Frame) -> str:
        """Weather folder, and the failure where there is one: ``night`` or ``night, motionblur``."""
        return frame.condition if frame.failure is None else f"{frame.condition}, {frame.failure}"

    def _matches(self, frame: Frame, cases: Sequence[str]) -> bool:
        return frame.condition in cases or frame.failure in cases

    def _find(self) -> list[Frame]:
        entry = modality(self.modalities[0])
        return find_frames(self.root, self.split, entry.folder, entry.suffix)

    def _expected(self) -> str:
        entry = modality(self.modalities[0])
        return f"{entry.folder}/<condition>/{self.split}/<sequence>/*_{entry.suffix}_front.png"

    def _encoding(self, name: str) -> str:
        """The drive writes this program's own planes; DELIVER's published ones were made by other code."""
        own = default_encodings()[name]
        marker = self.root / modality(name).folder / ENCODING_FILE
        if marker.is_file():
            return str(json.loads(marker.read_text(encoding="utf-8"))["encoding"])
        published = next((v for v in modality(name).encodings if v.startswith("deliver-")), own)
        return own if any(self.root.glob("drive_*.json")) else published
