"""Calibrations of a recipe: any format that this program reads, one for all frames or one for each."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from any2seg_core.base.errors import UserError
from any2seg_core.base.listing import listed
from any2seg_core.data.recipe_parts import CalibrationFiles
from any2seg_core.files import dataset_calibration, foreign_calibration
from any2seg_core.sensors.calibration import Calibration, load_calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.rig import SensorRig
from any2seg_core.vocabulary.modalities import SensorSuite

_MOST_RIGS = 8  # a rig keeps tables of its camera; many frames share one calibration


class CalibratedRig(NamedTuple):
    """A rig, and what decides it: ``digest`` of calibration and size; ``disparity_m``: focal length (pixels) times
    baseline (metres) of a stereo pair, 0 where none is known.
    """

    rig: SensorRig
    digest: str
    disparity_m: float


class Rigs:
    """Rigs of calibration files; files of equal content share one.

    Args:
        files: what the recipe says of them; None where frames bring their own.
    """

    def __init__(self, files: CalibrationFiles | None, event_window_ns: int, suite: SensorSuite) -> None:
        self._files, self._window_ns, self._suite = files, event_window_ns, suite
        self._known: OrderedDict[str, CalibratedRig] = OrderedDict()

    def rig(self, source: Path | Calibration | None, size: tuple[int, int]) -> CalibratedRig:
        """For a frame whose camera image is (H, W).

        Args:
            source: file or folder, or what tables say; None where the recipe says the field of view.

        Raises:
            UserError: no such file, or what its reader says.
        """
        digest = _digest(source, size)
        found = self._known.pop(digest, None)
        if found is None:
            calibration, disparity_m = (
                (source, 0.0) if isinstance(source, Calibration) else _read(self._files, source, size)
            )
            found = CalibratedRig(SensorRig(calibration, self._window_ns, self._suite), digest, disparity_m)
        self._known[digest] = found  # the newest last
        if len(self._known) > _MOST_RIGS:
            self._known.popitem(last=False)
        return found


def _digest(source: Path | Calibration | None, size: tuple[int, int]) -> str:
    total = hashlib.sha256(repr(size).encode())
    if isinstance(source, Calibration):
        to_camera = source.lidar_to_camera
        total.update(source.camera.K.tobytes() + (b"" if to_camera is None else to_camera.tobytes()))
        return total.hexdigest()[:12]
    inside = [] if source is None else listed(source, "*.txt") if source.is_dir() else [source]  # KITTI's folders
    for file in inside:
        try:
            total.update(file.name.encode() + b"\0" + file.read_bytes())
        except FileNotFoundError:
            raise UserError(f"{file}: no calibration: restore it, or correct the recipe", "file-missing") from None
        except OSError as error:
            raise UserError(f"{file}: no calibration ({error.strerror}): mend it", "file-unreadable") from None
    return total.hexdigest()[:12]


def _read(files: CalibrationFiles | None, path: Path | None, size: tuple[int, int]) -> tuple[Calibration, float]:
    """Calibration and disparity_m."""
    height, width = size
    assert files is not None  # or frames bring their own
    if path is None:
        assert files.hfov_deg is not None
        return Calibration(CameraModel.from_fov(width, height, files.hfov_deg)), 0.0
    if files.kind == "cityscapes":
        calibration, baseline_m = dataset_calibration.from_cityscapes(path, (width, height))
        return calibration, baseline_m * float(calibration.camera.K[0, 0])
    readers = {
        "any2seg": lambda: load_calibration(str(path)),
        "kitti-raw": lambda: foreign_calibration.from_kitti(path, int(files.camera or 2)),
        "kitti-object": lambda: foreign_calibration.from_kitti(path, int(files.camera or 2), (width, height)),
        "kitti-360": lambda: dataset_calibration.from_kitti360(path, (width, height), int(files.camera or 0)),
        "stanford": lambda: dataset_calibration.from_stanford(path, (width, height)),
        "k-matrix": lambda: dataset_calibration.from_k_matrix(path, (width, height)),
        "camera-info": lambda: foreign_calibration.from_camera_info({"rgb": path}),
        "kalibr": lambda: foreign_calibration.from_kalibr(path, {"rgb": files.camera or "cam0"}),
    }
    return readers[files.kind](), 0.0
