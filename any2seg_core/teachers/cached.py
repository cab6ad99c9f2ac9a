"""Embeddings in a folder: ``classes`` and one file per split, .safetensors or .npz. Training reads nothing else."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from any2seg_core.base.array_files import read_arrays
from any2seg_core.base.atomic import replacing
from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import parse_json


def write_embeddings(path: Path, arrays: dict[str, np.ndarray], facts: dict) -> None:
    """One .safetensors file of float32 arrays, ``facts`` as JSON in its metadata; a reader never sees half of it."""
    metadata = {"facts": json.dumps(facts)}  # one entry: the library writes several in any order
    with replacing(path) as partial:
        try:
            save_file({name: np.ascontiguousarray(a, np.float32) for name, a in arrays.items()}, partial, metadata)
        except SafetensorError as error:  # how the library tells a full disk
            raise OSError(str(error)) from None


def read_embeddings(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays and facts of a file; in an .npz the arrays of strings are the facts.

    Raises:
        UserError: missing or damaged file.
    """
    try:
        if path.suffix == ".npz":
            content = read_arrays(path)
            if not isinstance(content, dict):
                raise UserError(f"{path}: holds one array, no embeddings; write it again", "file-content")
            arrays = {name: value for name, value in content.items() if value.dtype.kind == "f"}
            return arrays, {name: value.tolist() for name, value in content.items() if name not in arrays}
        with safe_open(path, framework="numpy") as file:
            facts = parse_json((file.metadata() or {}).get("facts", "{}"), f"{path}, facts")
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118 (not a dict)
    except (OSError, ValueError, SafetensorError, struct.error) as error:
        raise UserError(f"{path}: no embeddings can be read from it ({error}); write it again", "file-format") from None


def _find(folder: Path, stem: str) -> Path:
    for suffix in (".safetensors", ".npz"):
        if (folder / f"{stem}{suffix}").is_file():
            return folder / f"{stem}{suffix}"
    raise UserError(
        f"teacher={folder}: no {stem}.safetensors or {stem}.npz there; training/cache_teacher.py writes them",
        "embeddings-missing",
    )


class CachedEmbeddings:
    """Embeddings of the frames of one split, in the order in which a data set has them.

    ``classes`` holds ``class_names`` (K, D) and may say ``classes``, the K names. ``<split>`` holds ``scene`` (N, D),
    may hold ``modality`` (N, M, D), and says ``frames``, the N names of the frames, and ``modalities``, the M names.

    Attributes:
        class_names: E_C (K, D) float32.

    Args:
        folder: where the files lie.
        split: whose frames.
        classes: K class names in the order of their ids.
        modalities: M names in the order in which embeddings are wanted; only if ``needs_modalities``.
        frames: names of the frames in the order of their numbers.
        needs_modalities: whether E_m must be there.

    Raises:
        UserError: a file is missing, or shapes, classes, modalities or frames do not fit.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        classes: Sequence[str],
        modalities: Sequence[str],
        frames: Sequence[str],
        needs_modalities: bool,
    ) -> None:
        path = _find(folder, "classes")
        arrays, facts = read_embeddings(path)
        names = _array(arrays, "class_names", 2, path)
        if len(names) != len(classes) or list(facts.get("classes", classes)) != list(classes):
            raise UserError(
                f"{path}: embeds {facts.get('classes', len(names))}, the data has {len(classes)} classes",
                "embeddings-mismatch",
            )
        self.class_names = torch.from_numpy(names)
        path = _find(folder, split)
        arrays, facts = read_embeddings(path)
        row = {name: number for number, name in enumerate(facts.get("frames", ()))}
        absent = [name for name in frames if name not in row]
        if absent:
            raise UserError(
                f"{path}: {len(absent)} of {len(frames)} frames are not in it, the first is {absent[0]}",
                "embeddings-mismatch",
            )
        order = [row[name] for name in frames]
        self._scene = torch.from_numpy(_array(arrays, "scene", 2, path, len(row))[order])  # (N, D)
        self._modality: Tensor | None = None
        if needs_modalities:
            columns = list(facts.get("modalities", ()))
            missing = [name for name in modalities if name not in columns]
            if missing:
                raise UserError(
                    f"{path}: no embeddings of {', '.join(missing)}: l_cr needs every modality", "embeddings-mismatch"
                )
            cube = _array(arrays, "modality", 3, path, len(row))[order]
            self._modality = torch.from_numpy(cube[:, [columns.index(name) for name in modalities]])  # (N, M, D)

    def rows(self, frames: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor | None]:
        """Frame numbers -> scene embeddings (B, D) and modality embeddings (B, M, D)."""
        chosen = torch.as_tensor(list(frames))
        modality = None if self._modality is None else self._modality[chosen].to(device)
        return self._scene[chosen].to(device), modality


def _array(arrays: dict[str, np.ndarray], name: str, rank: int, path: Path, rows: int | None = None) -> np.ndarray:
    """One array as float32, checked; UserError names the file."""
    array = arrays.get(name)
    if array is None or array.ndim != rank or (rows is not None and len(array) != rows):
        found = "nothing" if array is None else array.shape
        raise UserError(
            f"{path}: {name} is {found}, expected rank {rank}" + (f" and {rows} rows" if rows else ""),
            "embeddings-mismatch",
        )
    if not np.isfinite(array).all():
        raise UserError(f"{path}: {name} has values that are not finite; write it again", "not-finite")
    return np.asarray(array, np.float32)
