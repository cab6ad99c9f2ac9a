"""`any2seg data init`: look at a folder that nobody has described, and propose a recipe for it."""

from __future__ import annotations

import colorsys
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from any2seg_core.base.atomic import replacing
from any2seg_core.base.errors import UserError
from any2seg_core.base.pictures import open_picture
from any2seg_core.base.text_files import read_yaml
from any2seg_core.data.folder_frames import recognises
from any2seg_core.data.images import CorruptFileError, read_image, three_channels
from any2seg_core.data.kinds import RECIPE_SUFFIXES, shipped_recipes
from any2seg_core.data.label_images import read_ids
from any2seg_core.data.propose_patterns import COLOURS, LABELS, Finding, camera_of, choose_patterns, kind_of
from any2seg_core.data.recipe import read_recipe
from any2seg_core.data.recipe_parts import DRIVE, FRAME, SPLIT
from any2seg_core.data.tree_groups import SPLIT_WORDS, FileGroup, group_files, with_common_frames
from any2seg_core.files.points import read_stored_points
from any2seg_core.sensors.returns import IntensityScale
from any2seg_core.vocabulary.label_tables import raw_table
from any2seg_core.vocabulary.labels import shipped_names, shipped_space
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import DEPTH, EVENTS, POINTS, Sensor

CLASSES_FILE = "classes.yaml"
"""Name of the label space beside a proposed recipe, where no shipped one is known to fit."""

_MOST_FILES = 50_000
_LOOKED_AT = 12  # files of a group that are opened
_MOST_CLASSES = 254
_COLUMNS = ("x", "y", "z", "intensity", "ring", "time")


@dataclass
class Proposal:
    """A recipe, and what was found beside it.

    Attributes:
        recipe: document of the recipe. label_space: document of one, where no shipped one is known to fit.
        findings: all patterns, the largest first. notes: what a user has to decide.
    """

    recipe: dict[str, Any]
    label_space: dict[str, Any] | None
    findings: list[Finding]
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The same, for `json.dumps`."""
        patterns = [vars(finding) for finding in self.findings]
        return {"recipe": self.recipe, "label_space": self.label_space, "patterns": patterns, "notes": self.notes}


def propose_recipe(root: Path, suite: SensorSuite = VEHICLE, suite_file: Path | None = None) -> Proposal:
    """Look at a folder; nothing is written.

    Args:
        suite: sensors to look for. suite_file: its YAML, which the recipe names; None: it is a shipped one.

    Raises:
        UserError: no such folder, or no pictures in it.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder: give the one that holds your data", "data-missing")
    groups, alone, is_cut = group_files(root, _MOST_FILES)
    kinds = [kind_of(group) for group in groups]
    place = camera_of(groups, kinds, suite)
    if place is None:
        pairs = list(zip(groups, kinds, strict=True))[:5]
        held = ", ".join(f"{group.pattern.text} ({len(group.files)}, {kind})" for group, kind in pairs) or "nothing"
        raise UserError(f"{root}: no pattern of camera images; found {held}: give the folder above them", "data-empty")
    groups = with_common_frames(groups, place)
    findings = {
        group: Finding(group.pattern.text, len(group.files), kind) for group, kind in zip(groups, kinds, strict=True)
    }
    recipe: dict[str, Any] = {"name": _plain_name(root)}
    if suite_file is not None or suite.name != VEHICLE.name:
        recipe["suite"] = suite.name if suite_file is None else str(suite_file)
    proposal = Proposal(recipe | {"label_space": "deliver-25"}, None, list(findings.values()))
    if is_cut:
        proposal.notes.append(f"only the first {_MOST_FILES} files were looked at")
    recognised = _recognised(root)
    proposal.notes += [f"is {name}: --dataset {name} reads it" for name in recognised]
    choose_patterns(findings, groups[place], suite, proposal.notes)
    chosen = {finding.use: group for group, finding in findings.items() if finding.use and finding.frames}
    labels = chosen.get(LABELS)
    if labels is not None and findings[labels].kind == COLOURS:
        _describe_colours(proposal, labels)
    else:
        _describe_labels(proposal, labels, recognised)
    _describe_splits(proposal, groups[place])
    _describe_sensors(proposal, chosen, root, alone, suite)
    return proposal


def proposal_texts(proposal: Proposal) -> dict[str, str]:
    """YAML of the label space, if there is one, by the name of its file, and of the recipe under ""."""
    texts = {"": yaml.safe_dump(proposal.recipe, sort_keys=False, width=120)}
    if proposal.label_space is not None:
        texts[CLASSES_FILE] = yaml.safe_dump(proposal.label_space, sort_keys=False, width=120, default_flow_style=None)
    return texts


def write_proposal(proposal: Proposal, out: Path) -> list[Path]:
    """Write a recipe, and its label space beside it; the paths. UserError where one of them exists already."""
    if str(proposal.recipe.get("suite", "")).endswith(RECIPE_SUFFIXES):  # a recipe names what lies beside it
        beside = Path(os.path.relpath(proposal.recipe["suite"], out.parent)).as_posix()
        proposal = replace(proposal, recipe=proposal.recipe | {"suite": beside})
    texts = {(out.parent / name if name else out): text for name, text in proposal_texts(proposal).items()}
    if out.suffix not in RECIPE_SUFFIXES:
        raise UserError(f"{out}: a recipe is a YAML: name it {out.stem or 'recipe'}.yaml", "file-name")
    for path in texts:
        if path.exists():
            way_out = "choose another name" if path == out else "write the recipe into another folder"
            raise UserError(f"{path}: exists; remove it, or {way_out}", "output-exists")
    for path, text in texts.items():
        with replacing(path) as partial:
            partial.write_text(text, encoding="utf-8")
    return list(texts)


def _recognised(root: Path) -> list[str]:
    return [name for name in shipped_recipes() if recognises(root, read_recipe(name))]


def _plain_name(root: Path) -> str:
    return re.sub(r"[^a-z0-9]+", "-", root.resolve().name.lower()).strip("-") or "data"


def _describe_labels(proposal: Proposal, group: FileGroup | None, recognised: Sequence[str]) -> None:
    if group is None:
        proposal.notes.append(
            "no label images were found: label_space is a guess, for data without labels it is unused"
        )
        return
    counts: Counter[int] = Counter()
    step = max(1, len(group.files) // _LOOKED_AT)
    for path in group.files[::step]:
        try:
            ids, numbers = np.unique(read_ids(path), return_counts=True)
        except CorruptFileError:
            continue
        counts.update(dict(zip(ids.tolist(), numbers.tolist(), strict=True)))
    seen = sorted(counts)
    fitting = [name for name in shipped_names() if bool(raw_table(shipped_space(name))[1][seen].all())]
    proposal.recipe["labels"] = group.pattern.text
    by_palette = [name for name in fitting if _has_palette(group.files[0], name)]
    by_layout = list(dict.fromkeys(space for name in recognised if (space := read_recipe(name).label_space) in fitting))
    if len(by_palette or by_layout) == 1:
        proposal.recipe["label_space"] = (by_palette or by_layout)[0]
        return
    shipped = f", or take a shipped label space that has these ids: {', '.join(fitting)}" if fitting else ""
    proposal.notes.append(
        f"labels: ids {', '.join(map(str, seen))} in {len(group.files[::step])} files; nothing says what they mean: "
        f"name the classes{shipped}"
    )
    classes = [number for number in seen if number < _MOST_CLASSES][:_MOST_CLASSES]
    proposal.label_space = {
        "name": f"{proposal.recipe['name']}-{len(classes)}",
        "classes": [
            {"name": f"class {number}", "colour": _colour(place), "raw": [number]}
            for place, number in enumerate(classes)
        ],
        "void": {"raw": [255]},
    }
    proposal.recipe["label_space"] = CLASSES_FILE


def _describe_colours(proposal: Proposal, group: FileGroup) -> None:
    """Label images in the colours of a shipped label space; without one they are not used."""
    seen: set[tuple[int, ...]] = set()
    for path in group.files[:: max(1, len(group.files) // _LOOKED_AT)]:
        image = three_channels(read_image(path))
        seen |= {tuple(colour) for colour in np.unique(image.reshape(-1, 3), axis=0).tolist()}
    spaces = [shipped_space(name) for name in shipped_names()]
    fitting = [s for s in spaces if seen <= {(0, 0, 0), *chain(*s.file_colours), *s.void_colours}]
    if not fitting:
        proposal.notes.append(
            f"{group.pattern.text}: {len(seen)} colours, of no shipped label space: say what they mean"
        )
        next(finding for finding in proposal.findings if finding.use == LABELS).use = ""
        return
    proposal.recipe |= {"label_space": fitting[0].name, "labels": group.pattern.text}
    if len({space.classes for space in fitting}) > 1:
        names = ", ".join(space.name for space in fitting)
        proposal.notes.append(f"labels: their colours are those of {names}: which classes are yours?")


def _has_palette(path: Path, name: str) -> bool:
    """Whether a label image is a palette with the colours of all classes of a shipped label space."""
    palette = np.asarray(open_picture(path.read_bytes()).getpalette("RGB") or (), np.uint8).reshape(-1, 3)  # (n, 3)
    space = shipped_space(name)
    trains = raw_table(space)[0][: len(palette)]
    pairs = zip(trains.tolist(), palette.tolist(), strict=True)
    own = {train: tuple(colour) for train, colour in pairs if train < len(space)}
    return own == dict(enumerate(space.colours))


def _colour(number: int) -> list[int]:
    """Far from those before: hues by the golden ratio."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618034 % 1.0, 0.75, 0.95 - 0.5 * (number % 3) / 3)
    return [round(255 * value) for value in (red, green, blue)]


def _describe_splits(proposal: Proposal, camera: FileGroup) -> None:
    names = camera.pattern.names
    if SPLIT in names:
        values = sorted({key[0] for key in camera.keys((SPLIT,))})
        splits: dict[str, list[str]] = {}
        for value in values:
            splits.setdefault(SPLIT_WORDS.get(value, value), []).append(value)
        if any([name] != folders for name, folders in splits.items()):
            proposal.recipe["splits"] = {
                name: folders[0] if len(folders) == 1 else folders for name, folders in splits.items()
            }
        return
    unit = DRIVE if DRIVE in names else FRAME
    proposal.recipe["share"] = {"val": "20%", "by": unit}
    proposal.notes.append(
        f"no folder says train or val: a fifth of the {unit}s, drawn by their names, is val; name your own splits"
    )


def _describe_sensors(
    proposal: Proposal, chosen: Mapping[str, FileGroup], root: Path, alone: Sequence[Path], suite: SensorSuite
) -> None:
    calibration = next((path for path in alone if _is_calibration(path)), None)
    reference = next(finding.frames for finding in proposal.findings if finding.use == suite.camera)
    sensors: dict[str, Any] = {}
    order = (suite.camera, *(name for name in suite.members if name != suite.camera))  # the first one has the frames
    for name in order:
        group, kind = chosen.get(name), suite.sensor(name).kind
        if group is None:
            continue
        if kind in (POINTS, EVENTS) and calibration is None:
            proposal.notes.append(f"sensors.{name}: left out: it needs a calibration (any2seg calib), none was found")
            continue
        entry: dict[str, Any] = {"path": group.pattern.text}
        if kind == POINTS:
            entry |= _describe_points(proposal, group, suite.sensor(name))
        if kind == DEPTH and group.suffix not in (".npy", ".npz"):
            entry["depth_scale"] = 1000
            proposal.notes.append(
                f"sensors.{name}: whole numbers are taken as millimetres (KITTI: depth_scale 256); counts of a thermal "
                "camera need a suite of your own: --suite my-van.yaml"
            )
        frames = next(finding.frames for finding in proposal.findings if finding.use == name)
        if frames < reference:
            entry["optional"] = True
            proposal.notes.append(f"sensors.{name}: {reference - frames} of {reference} frames lack it")
        sensors[name] = entry["path"] if len(entry) == 1 else entry
    labels = proposal.recipe.pop("labels", None)
    proposal.recipe["sensors"] = sensors
    if labels is not None:
        own = next(finding for finding in proposal.findings if finding.use == LABELS)
        entry = {"path": labels} | ({"coding": "raw_colours"} if own.kind == COLOURS else {})
        entry |= {"partial": True} if own.frames < reference else {}
        proposal.recipe["labels"] = labels if len(entry) == 1 else entry
    if set(sensors) - {suite.camera}:
        _describe_calibration(proposal, calibration, root)


def _describe_calibration(proposal: Proposal, calibration: Path | None, root: Path) -> None:
    if calibration is not None:
        proposal.recipe["calibration"] = calibration.relative_to(root).as_posix()
        return
    proposal.recipe["calibration"] = {"hfov_deg": 90}
    proposal.notes.append("calibration: none was found, the field of view is a guess: give yours (any2seg calib)")


def _is_calibration(path: Path) -> bool:
    if path.suffix not in (".yaml", ".yml"):
        return False
    try:
        document = read_yaml(path)
    except UserError:
        return False
    return isinstance(document, dict) and "camera" in document


def _describe_points(proposal: Proposal, group: FileGroup, sensor: Sensor) -> dict[str, Any]:
    """Columns and scale of the first cloud, where its values tell."""
    for count in (0, 4, 5, 3, 6):
        columns = ",".join(_COLUMNS[:count]) if count else ""
        try:
            stored = read_stored_points(group.files[0], columns)
        except UserError:
            continue
        found: dict[str, Any] = {}
        if group.suffix == ".bin":
            size, rows = group.files[0].stat().st_size, max(1, len(stored.x))
            found["columns"] = list(_COLUMNS[: size // (4 * rows)])
            if count:
                proposal.notes.append(f"sensors.{sensor.name}.columns: {columns} is a guess by the size of the file")
        if stored.strength is not None and sensor.value_range is None:
            full = IntensityScale().full(np.asarray(stored.strength, np.float32))
            found |= {"intensity_max": round(full)} if full > 1.0 else {}
        return found
    proposal.notes.append(f"sensors.{sensor.name}: {group.files[0].name} could not be read: say columns")
    return {}
