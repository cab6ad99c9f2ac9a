"""One door to all data sets: by name, or by what lies in the folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from any2seg_core.bags.reader import is_recording
from any2seg_core.base.errors import UserError
from any2seg_core.base.listing import held_by, listed
from any2seg_core.data.bag import BagDataset
from any2seg_core.data.deliver import DeliverDataset
from any2seg_core.data.folder import RECIPE_FILE, FolderDataset, recipe_of
from any2seg_core.data.folder_frames import recognises
from any2seg_core.data.kinds import is_recipe_name, shipped_recipes
from any2seg_core.data.mcubes import INNER_FOLDER, LIST_FOLDER, McubesDataset
from any2seg_core.data.muses import MusesDataset
from any2seg_core.data.recipe import Recipe, read_recipe
from any2seg_core.data.samples import FrameDataset
from any2seg_core.data.suites import chosen_suite
from any2seg_core.vocabulary.cases import CONDITIONS
from any2seg_core.vocabulary.labels import LabelSpace, label_space
from any2seg_core.vocabulary.modalities import SensorSuite, sensor_suite

DATASETS: dict[str, type[FrameDataset]] = {
    entry.kind: entry for entry in (DeliverDataset, MusesDataset, McubesDataset, BagDataset)
}
_SIGNS = {
    "deliver": "<img, hha, ...>/<cloud, fog, night, rain or sun>",
    "muses": "frame_camera",
    "mcubes": LIST_FOLDER,
    "bag": "a recording (.mcap, .db3, .bag)",
    "folder": RECIPE_FILE,
}


@dataclass(frozen=True)
class Layout:
    """What is known of a data set before one of its splits is opened.

    Attributes:
        kind: key of DATASETS, or "folder". name: of the data set, for people. recipe: where kind is "folder".
    """

    root: Path
    kind: str
    name: str
    splits: tuple[str, ...]
    suite: SensorSuite
    label_space: LabelSpace
    recipe: Recipe | None = None

    @property
    def sensors(self) -> tuple[str, ...]:
        """Those that the folder has a place for, or the recipe a pattern; canonical order."""
        if self.recipe is not None:
            return tuple(name for name in self.suite.members if name in self.recipe.sensors)
        return DATASETS[self.kind].on_disk(self.root, self.suite)

    def having(self, suite: SensorSuite, names: Iterable[str]) -> Layout:
        """This one if its suite has these sensors of ``suite``; else read with that, if there is a choice."""
        own = {sensor.name: sensor.kind for sensor in self.suite.sensors}
        is_known = all(own.get(name) == suite.sensor(name).kind for name in names)
        takes_suite = self.recipe is None and DATASETS[self.kind].takes_suite
        return self if is_known or not takes_suite else replace(self, suite=suite)

    def open(
        self, split: str, modalities: Iterable[str] | None = None, cases: Sequence[str] | None = None, **options: Any
    ) -> FrameDataset:
        """One split; see `open_dataset`."""
        if self.recipe is not None:
            return FolderDataset(self.root, split, modalities, cases, recipe=self.recipe, **options)
        return DATASETS[self.kind](self.root, split, modalities, cases, suite=self.suite, **options)


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
    if (root / RECIPE_FILE).is_file():
        return FolderDataset.kind
    if not kinds and is_recording(root):
        return BagDataset.kind
    kinds = kinds or [name for name in shipped_recipes() if recognises(root, read_recipe(name))]
    if len(kinds) == 1:
        return kinds[0]
    found = held_by(root)
    wanted = "; ".join(f"{kind}: {sign}" for kind, sign in _SIGNS.items())
    state = f"several data sets at once ({', '.join(kinds)})" if kinds else "no data set that this program knows"
    raise UserError(
        f"{root}: {state}: it holds {found}; expected one of {wanted}; say which with dataset=, or let "
        "`any2seg data init` propose a recipe",
        "data-unrecognised",
    )


def layout(
    kind: str, root: str | Path, recipe: Recipe | str | Path | None = None, suite: SensorSuite | None = None
) -> Layout:
    """What a data set is, by its kind (as of `open_dataset`) and folder.

    UserError for an unknown one, or a suite for one that has its own.
    """
    root = Path(root)
    chosen = detect_kind(root) if kind == "auto" else kind
    entry = DATASETS.get(chosen)
    if entry is not None:
        sensors = chosen_suite(entry.suite_of(root), suite, chosen, entry.takes_suite)
        return Layout(root, chosen, chosen, entry.splits, sensors, entry.label_space_of(root))
    if chosen != FolderDataset.kind and not is_recipe_name(chosen):
        known = ", ".join((*DATASETS, FolderDataset.kind, *shipped_recipes()))
        raise UserError(
            f"unknown data set {kind!r}: known are {known}, a recipe's YAML file, and auto", "value-unknown"
        )
    found = recipe_of(root, recipe if chosen == FolderDataset.kind else chosen)
    sensors = chosen_suite(sensor_suite(found.suite), suite, f"the recipe {found.name}", takes_suite=False)
    space = label_space(found.label_space)
    return Layout(root, FolderDataset.kind, found.name, found.split_names, sensors, space, found)


def open_dataset(
    kind: str,
    root: str | Path,
    split: str,
    modalities: Iterable[str] | None = None,
    cases: Sequence[str] | None = None,
    recipe: Recipe | str | Path | None = None,
    suite: SensorSuite | None = None,
    **options: Any,
) -> FrameDataset:
    """Open one split of a data set.

    Args:
        kind: "deliver" (also the simulated drive), "muses", "mcubes", "bag"; "folder" with ``recipe`` (or the one that
            lies in the folder); name of a shipped recipe, or a recipe's YAML file; or "auto" for `detect_kind`.
        recipe: of "folder".
        suite: the sensors that there can be, where a data set lets one choose (``takes_suite``); None: its own.
        options: ``cache``, ``skip_corrupt``, ``verify`` and ``labelled``, and what the data set itself can be told
            (``source`` of DELIVER and MUSES, ``parity`` of MUSES, ``bag`` of recordings: see their ``options``). They
            and the other arguments: see `FrameDataset`.

    Raises:
        UserError: unknown kind, an option that this data set does not have, or whatever opening it raises.
    """
    return layout(kind, root, recipe, suite).open(split, modalities, cases, **options)
