"""Any folder as a data set: a recipe says which files are what, `SensorRig` makes planes of raw ones."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.listing import held_by
from any2seg_core.base.pictures import picture_head
from any2seg_core.data.folder_calibration import CalibratedRig, Rigs
from any2seg_core.data.folder_files import (
    read_depth,
    read_event_window,
    read_given_plane,
    read_picture,
    read_points_and_kept,
)
from any2seg_core.data.folder_frames import CALIBRATION, FolderFrame, find_frames, strays_of
from any2seg_core.data.folder_labels import read_point_labels
from any2seg_core.data.images import CorruptFileError, three_channels
from any2seg_core.data.label_formats import read_instance_colours, read_scribbles
from any2seg_core.data.label_images import read_label_image
from any2seg_core.data.plane_cache import PlaneCache
from any2seg_core.data.recipe import Recipe, read_recipe
from any2seg_core.data.samples import LABELS, Cache, FrameDataset
from any2seg_core.data.sparse import where_points_fell
from any2seg_core.data.suites import chosen_suite, point_sensor
from any2seg_core.sensors.events import DEFAULT_WINDOW_NS
from any2seg_core.sensors.images import image_codes
from any2seg_core.sensors.lidar import project_labels
from any2seg_core.vocabulary.labels import IGNORE, NOT_ANNOTATED, label_space
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite, sensor_suite
from any2seg_core.vocabulary.sensor import EVENTS, IMAGE, PLANE, POINTS
from any2seg_core.vocabulary.truth_codings import RAW_IDS

RECIPE_FILE = "any2seg_recipe.yaml"
"""In the folder of a data set: the recipe of it, where none is named."""

_LOG = logging.getLogger(__name__)


def recipe_of(root: Path, recipe: Recipe | str | Path | None) -> Recipe:
    """The recipe that is given, by name or file, or else the one that lies in the folder."""
    if isinstance(recipe, Recipe):
        return recipe
    if recipe is not None:
        return read_recipe(recipe)
    path = root / RECIPE_FILE
    if not path.is_file():
        raise UserError(
            f"{path}: missing: name a recipe (recipe=FILE), or let `any2seg data init {root}` propose one",
            "file-missing",
        )
    return read_recipe(path)


class FolderDataset(FrameDataset):
    """A folder as a recipe describes it; see `Recipe` for what that can say.

    Frames are the files of the recipe's first sensor. Planes of points, events and depth are made on the grid of the
    camera's picture, by the calibration of the frame. A sensor that is ``optional`` may be missing in a frame.

    Options:
        recipe: `Recipe`, name of a shipped one, or a YAML file; None: ``any2seg_recipe.yaml`` in the folder.
    """

    kind = "folder"
    splits: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    suite = VEHICLE
    takes_suite = True  # that of the recipe
    options = MappingProxyType({"recipe": None})
    recipe: Recipe

    def __init__(
        self,
        root: str | Path,
        split: str,
        modalities: str | Iterable[str] | None = None,
        cases: Sequence[str] | None = None,
        recipe: Recipe | str | Path | None = None,
        suite: SensorSuite | None = None,
        **settings: Any,
    ):
        found = recipe_of(Path(root), recipe)
        self.kind, self.splits, self.label_space = found.name, found.split_names, label_space(found.label_space)
        own = chosen_suite(sensor_suite(found.suite), suite, found.name, takes_suite=False)
        sensors = [name for name in own.members if name in found.sensors] if modalities is None else modalities
        super().__init__(root, split, sensors, cases, recipe=found, suite=own, **settings)
        self.is_choice = modalities is not None

    def present(self, frame: FolderFrame) -> tuple[str, ...]:
        """Those whose file is there, or must be."""
        return tuple(name for name in self.modalities if name in frame.files)

    def files(self, frame: FolderFrame) -> dict[str, list[Path]]:
        """One file per sensor that the frame has, of computed planes also the calibration; and those of the labels."""
        found: dict[str, list[Path]] = {}
        for name in self.present(frame):
            shared = [frame.files[CALIBRATION]] if name in self.computed and CALIBRATION in frame.files else []
            found[name] = [frame.files[name], *shared]
        if LABELS in frame.files:
            names = self.recipe.labels.names if self.recipe.labels is not None else ""
            found[LABELS] = [frame.files[LABELS], *([self.root / names] if names else [])]
        return found

    def read_plane(self, frame: FolderFrame, name: str) -> np.ndarray:
        """(H, W, 3) uint8; float32 of planes that are finer. What is computed has the size of the camera's picture."""
        path, part = frame.files[name], self.recipe.sensors[name]
        sensor = self.suite.sensor(name)
        if part.plane or sensor.format == PLANE:
            return read_given_plane(path, name)
        if sensor.kind == IMAGE:
            return self._picture(frame, name)
        calibrated = self._rig(frame)
        kept_as = self._kept_as(frame, name, calibrated.digest)
        return self.planes_on_disk.plane(kept_as, lambda: self._project(frame, name, calibrated))

    def read_labels(self, frame: FolderFrame) -> np.ndarray:
        """(H, W) uint8 train ids; 254 where no point of a labelled cloud fell, and as ``unlabelled`` says."""
        files = self.recipe.labels
        assert files is not None  # `_require_files` has seen to it
        if files.of:
            return self._point_labels(frame, files.of)
        path, coding = frame.files[LABELS], files.coding_of(self.split)
        if coding == "scribbles":
            labels = read_scribbles(path, self.label_space, self._size(frame))
        elif coding == "instance-colours":
            labels = read_instance_colours(path, self.root / files.names, self.label_space)
        else:
            labels = read_label_image(path, self.label_space, RAW_IDS if coding == "ids" else coding)
        return np.where(labels == IGNORE, NOT_ANNOTATED, labels) if files.unlabelled == "open" else labels

    @property
    def has_lidar_labels(self) -> bool:
        """Where the truth is that of points."""
        return self.recipe.labels is not None and bool(self.recipe.labels.of)

    def read_lidar_labels(self, frame: FolderFrame) -> np.ndarray:
        """(H, W) uint8: what the point that falls on a pixel is, else 254; or as all other data sets do it."""
        if not self.has_lidar_labels and point_sensor(self.suite) not in frame.files:
            return np.full_like(self.read_labels(frame), NOT_ANNOTATED)
        return self.read_labels(frame) if self.has_lidar_labels else super().read_lidar_labels(frame)

    def condition(self, frame: FolderFrame) -> str:
        """As the recipe says; "all" where it says nothing."""
        return frame.condition

    def recording(self, frame: FolderFrame) -> str:
        """The value of ``{drive}``."""
        return frame.drive

    @classmethod
    def on_disk(cls, root: Path, suite: SensorSuite | None = None) -> tuple[str, ...]:
        """Sensors of the recipe that lies in the folder."""
        return tuple(recipe_of(root, None).sensors)

    @property
    def why_unlabelled(self) -> str:
        """A recipe may know of no truth, for one split or for all."""
        if self.recipe.labels is None:
            return f"{self.recipe.source} names no labels"
        return (
            "" if self.recipe.labels.pattern(self.split) else f"the recipe {self.recipe.name} has none for this split"
        )

    def strays(self) -> list[str]:
        """Files that fit a pattern where the first sensor has none, one line each."""
        first = next(iter(self.recipe.sensors))
        strays = strays_of(self.root, self.recipe, self.split, self.modalities)
        return [f"{path}: fits {key}, and {first} has no such frame: it is not used" for key, path in strays]

    @property
    def computed(self) -> tuple[str, ...]:
        """Depth, events and points, unless their planes are given."""
        return tuple(
            name
            for name in self.modalities
            if self.suite.sensor(name).kind != IMAGE and not self.recipe.sensors[name].plane
        )

    @cached_property
    def planes_on_disk(self) -> PlaneCache:
        """Planes of this program; a frame's calibration and size are part of their place."""
        document: dict[str, Any] = {}
        for name in self.computed:
            facts = self.recipe.sensors[name].model_dump(mode="json", exclude={"path", "optional"})
            document[name] = [self.suite.sensor(name).encodings[0], facts]
        return PlaneCache(self.root, document | {"window_ns": self.event_window_ns}, self._keep)

    @property
    def event_window_ns(self) -> int:
        """As the recipe says."""
        parts = [self.recipe.sensors[name] for name in self.suite.of_kind(EVENTS) if name in self.recipe.sensors]
        return next((round(part.window_ms * 1e6) for part in parts if part.window_ms), DEFAULT_WINDOW_NS)

    def _prepare(self, cache: Cache) -> None:
        absent = [name for name in self.modalities if name not in self.recipe.sensors]
        if absent:
            known = ", ".join(self.recipe.sensors)
            raise UserError(f"{self.recipe.source}: has no {absent[0]}: its sensors are {known}", "sensor-absent")
        if self.computed and self.recipe.calibration is None and self.recipe.tables is None:
            raise UserError(
                f"{self.recipe.source}: planes of {', '.join(self.computed)} need a calibration: add calibration, "
                "as {hfov_deg: 90} or a path, or leave these sensors out",
                "calibration-missing",
            )
        self._keep = cache == "disk"
        super()._prepare(cache)
        self._rigs = Rigs(self.recipe.calibration, self.event_window_ns, self.suite)

    def _find(self) -> list[FolderFrame]:
        of = "" if self.recipe.labels is None else self.recipe.labels.of
        wanted = {*self.modalities, self.suite.camera, of}  # sizes are the camera's, labels those of points
        frames = list(find_frames(self.root, self.recipe, self.split, wanted, self.labelled))
        conditions = sorted({frame.condition for frame in frames})
        self.cases = tuple(dict.fromkeys([*conditions, *(part for name in conditions for part in name.split("/"))]))
        return [frame for frame in frames if self.present(frame)]

    def _matches(self, frame: FolderFrame, cases: Sequence[str]) -> bool:
        return bool({frame.condition, *frame.condition.split("/")} & set(cases))

    def _expected(self) -> str:
        return f"{self.recipe.reference.text} ({self.recipe.source}), the folder holds {held_by(self.root)}"

    def _encoding(self, name: str) -> str:
        return self.recipe.sensors[name].plane or self.suite.sensor(name).encodings[0]

    def _require_files(self) -> None:
        """A key of which no frame has a file is a wrong pattern, not a missing file."""
        keys = [
            key for key in (*self.modalities, LABELS) if key != LABELS or (self.labelled and not self.why_unlabelled)
        ]
        for key in keys:
            files = [frame.files[key] for frame in self.frames if key in frame.files]
            if any(path.is_file() for path in files):
                continue
            if not files:
                _LOG.warning("%s: no %s frame has %s", self.root, self.split, key)
                continue
            what = key if key == LABELS else f"sensors.{key}"
            raise UserError(
                f"{self.recipe.source}: {what} finds nothing for {len(files)} {self.split} frames, as "
                f"{files[0]}: correct this pattern, or leave it out",
                "data-empty",
            )
        super()._require_files()

    def _kept_as(self, frame: FolderFrame, name: str, digest: str = "") -> Path:
        return Path(digest or self._rig(frame).digest, name, f"{frame.name}.png")

    def _rig(self, frame: FolderFrame) -> CalibratedRig:
        return self._rigs.rig(frame.calibration or frame.files.get(CALIBRATION), self._size(frame))

    @property
    def _has_label_image(self) -> bool:
        files = self.recipe.labels
        return files is not None and not files.of and files.coding_of(self.split) != "scribbles"

    def _size(self, frame: FolderFrame) -> tuple[int, int]:
        """(H, W) of the camera's picture, else of the label image."""
        path = frame.files.get(self.suite.camera) or (frame.files.get(LABELS) if self._has_label_image else None)
        if path is None:
            raise CorruptFileError(
                f"frame {frame.name}: has neither a picture nor a label image to say its size", "frame-incomplete"
            )
        return _picture_size(path)

    def _upright_size(self, frame: FolderFrame, name: str) -> tuple[int, int] | None:
        """(H, W) that a picture with an EXIF orientation shall have; None: whatever it has upright."""
        if LABELS in frame.files and self._has_label_image:
            return _picture_size(frame.files[LABELS])
        return None if self.recipe.calibration is None else _picture_size(frame.files[name])

    def _picture(self, frame: FolderFrame, name: str) -> np.ndarray:
        """Plane of an image sensor. Without a calibration all of them are taken to have the camera's view."""
        path, sensor = frame.files[name], self.suite.sensor(name)
        raw = read_picture(path, sensor, lambda: self._upright_size(frame, name))
        has_rig = self.recipe.calibration is not None or frame.calibration is not None
        if name == self.suite.camera or not has_rig:
            return three_channels(image_codes(raw, sensor))
        return self._rig(frame).rig.planes({name: raw}, 0, self._size(frame))[name]

    def _project(self, frame: FolderFrame, name: str, calibrated: CalibratedRig) -> np.ndarray:
        path, part, size, stamp_ns = frame.files[name], self.recipe.sensors[name], self._size(frame), 0
        kind = self.suite.sensor(name).kind
        if kind == POINTS:
            raw = read_points_and_kept(path, self.suite.sensor(name), part)[0]
        elif kind == EVENTS:
            raw = read_event_window(path, name, part)
            stamp_ns = int(raw["t"].max())
        else:
            raw = read_depth(path, name, part, calibrated.disparity_m)
        return calibrated.rig.planes({name: raw}, stamp_ns, size)[name]

    def _point_labels(self, frame: FolderFrame, name: str) -> np.ndarray:
        points, kept = read_points_and_kept(frame.files[name], self.suite.sensor(name), self.recipe.sensors[name])
        ids = read_point_labels(frame.files[LABELS], len(kept), self.label_space)
        rig = self._rig(frame).rig
        to_camera = rig.place(name).to_camera
        if to_camera is None:
            raise UserError(f"labels of {name}: the calibration does not say where it is", "extrinsics-missing")
        labels = project_labels(points, ids[kept], to_camera, rig.camera(self._size(frame)))
        return where_points_fell(labels, labels != IGNORE)


def _picture_size(path: Path) -> tuple[int, int]:
    """(H, W) as stored."""
    try:
        head = picture_head(path.read_bytes())
    except (OSError, UserError) as error:
        raise CorruptFileError(f"{path}: not a readable image ({error}); restore it", "file-format") from None
    return head.height, head.width
