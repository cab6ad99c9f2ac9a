"""MCubeS (Liang et al., CVPR 2022): colour, angle and degree of linear polarisation, near infrared; 20 materials.

    root/{polL_color,NIR_warped,GT}/<item>.png   root/{polL_aolp_sin,polL_aolp_cos,polL_dolp}/<item>.npy
    root/list_folder/{train,val,test}.txt        one item a line, # before a comment

Root may also be the folder above multimodal_dataset.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from any2seg_core.base.array_files import read_array
from any2seg_core.base.errors import UserError
from any2seg_core.base.listing import held_by
from any2seg_core.base.text_files import read_text
from any2seg_core.data.images import CorruptFileError, map_ids, read_image, three_channels
from any2seg_core.data.label_images import read_ids
from any2seg_core.data.samples import LABELS, Cache, FrameDataset, NoFramesError
from any2seg_core.vocabulary.labels import IGNORE, MCUBES, lookup_table
from any2seg_core.vocabulary.modalities import MCUBES as MCUBES_SENSORS
from any2seg_core.vocabulary.modalities import SensorSuite

LEFT_CROP = 192
"""Columns on the left that the near infrared camera does not see: 1224 x 1024 becomes 1032 x 1024."""

LIST_FOLDER, INNER_FOLDER = "list_folder", "multimodal_dataset"

_FILES = {
    "rgb": (("polL_color", ".png"),),
    "aolp": (("polL_aolp_sin", ".npy"), ("polL_aolp_cos", ".npy")),
    "dolp": (("polL_dolp", ".npy"),),
    "nir": (("NIR_warped", ".png"),),
    LABELS: (("GT", ".png"),),
}
_FULL = 255.0
_TRAIN_IDS = lookup_table({train: train for train in range(len(MCUBES))})
_KNOWN_IDS = (_TRAIN_IDS != IGNORE) | (np.arange(256) == IGNORE)


@dataclass(frozen=True)
class McubesFrame:
    """One item of a list file."""

    name: str


class McubesDataset(FrameDataset):
    """MCubeS. Planes are float32 on the scale of bytes (255 = 1.0), so nothing of its 16 bits is lost.

    aolp is [sine, cosine, sine] in -255..255; dolp and nir are repeated three times. The splits are those of the
    official lists: ``val`` is val.txt. (CMNeXt's "val", and with it every number of that line of work, is test.txt.)
    """

    kind = "mcubes"
    splits = ("train", "val", "test")
    cases = ()
    label_space = MCUBES
    suite = MCUBES_SENSORS

    def files(self, frame: McubesFrame) -> dict[str, list[Path]]:
        """Per modality one file, two for aolp, and one for the labels."""
        return {
            key: [self.root / folder / f"{frame.name}{suffix}" for folder, suffix in _FILES[key]]
            for key in (*self.modalities, LABELS)
        }

    def read_plane(self, frame: McubesFrame, name: str) -> np.ndarray:
        """(1024, 1032, 3) float32."""
        paths = self.files(frame)[name]
        if paths[0].suffix == ".png":
            return three_channels(_unit_image(paths[0]))[:, LEFT_CROP:] * np.float32(_FULL)
        channels = [_load(path)[:, LEFT_CROP:] for path in paths]
        first, last = channels[0], channels[-1]
        if first.shape != last.shape:
            raise CorruptFileError(
                f"{paths[0]}: is {first.shape}, {paths[1]} is {last.shape}; restore both", "size-mismatch"
            )
        return np.stack([first, last, first], axis=2) * np.float32(_FULL)  # (H, W, C)

    def read_labels(self, frame: McubesFrame) -> np.ndarray:
        """(1024, 1032) uint8 train ids."""
        path = self.files(frame)[LABELS][0]
        labels = map_ids(read_ids(path, space=MCUBES, to_train=_TRAIN_IDS), _TRAIN_IDS, _KNOWN_IDS, path)
        return np.ascontiguousarray(labels[:, LEFT_CROP:])

    @classmethod
    def on_disk(cls, root: Path, suite: SensorSuite | None = None) -> tuple[str, ...]:
        """By the folders of the images."""
        inner = root / INNER_FOLDER
        place = inner if inner.is_dir() else root
        names = (suite or cls.suite).members
        return tuple(name for name in names if all((place / folder).is_dir() for folder, _ in _FILES[name]))

    def condition(self, _frame: McubesFrame) -> str:
        """MCubeS has none."""
        return "all"

    def _prepare(self, cache: Cache) -> None:
        super()._prepare(cache)
        if (self.root / INNER_FOLDER).is_dir():
            self.root = self.root / INNER_FOLDER

    def _find(self) -> list[McubesFrame]:
        path = self.root / LIST_FOLDER / f"{self.split}.txt"
        if not path.exists():
            raise NoFramesError(f"{path}: missing; MCubeS lists the items of each split there", "data-empty")
        lines = read_text(path, "list of items").splitlines()
        return [McubesFrame(line.split()[0]) for line in lines if line.strip() and not line.lstrip().startswith("#")]

    def _expected(self) -> str:
        return f"items in {LIST_FOLDER}/{self.split}.txt, the folder holds {held_by(self.root)}"

    def _encoding(self, name: str) -> str:
        return "linear16-1" if name == "rgb" else self.suite.sensor(name).encodings[0]


def _unit_image(path: Path) -> np.ndarray:
    image = read_image(path, (np.uint8, np.uint16))
    return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)


def _load(path: Path) -> np.ndarray:
    try:
        array = read_array(path)
    except UserError as error:
        raise CorruptFileError(f"{path}: not a readable .npy file ({error}); restore it", error.code) from None
    if array.ndim != 2 or array.dtype.kind != "f":
        raise CorruptFileError(
            f"{path}: holds {array.dtype} {array.shape}, expected (H, W) float; restore it", "file-content"
        )
    return array.astype(np.float32)
