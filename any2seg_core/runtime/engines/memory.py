"""What is remembered of engines from one process to the next, for one model on one machine."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from any2seg_core.base.atomic import replacing
from any2seg_core.base.errors import UserError
from any2seg_core.base.processor import instruction_sets, processor_name
from any2seg_core.base.text_files import read_json
from any2seg_core.base.threads import thread_count
from any2seg_core.base.user_cache import user_cache
from any2seg_core.base.versions import installed

_LOG = logging.getLogger(__name__)
MEASURED, GRAPHS, TENSORRT = "engines", "graphs", "tensorrt"
"""Folders in the user's cache: what is remembered, exported graphs, and built engines."""
_PACKAGES = ("torch", "numpy", "numba", "onnx", "onnxruntime", "openvino", "torch-tensorrt")


def machine_key(model: str, size: tuple[int, int], precision: str, device: str) -> dict[str, Any]:
    """What a measurement depends on, JSON-ready.

    Args:
        model: hash of its weights. size: (H, W) of the images. device: name of the GPU, or cpu.
    """
    return {
        "model": model, "size": list(size), "precision": precision, "device": device,
        "processor": processor_name(), "instructions": list(instruction_sets()), "threads": thread_count(),
        "versions": installed(_PACKAGES),
    }  # fmt: skip


class MeasuredEngine(BaseModel):
    """One engine as it was measured on a frame of all sensors.

    Attributes:
        ms: median wall time, from images to labels at the size of the logits. ratio: to the default engine, in turns.
        share: of places whose labels are others, see `Remembered`; None: of the default, which has proved itself.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: str
    ms: float = Field(gt=0)
    ratio: float = Field(gt=0)
    share: float | None = Field(ge=0, le=1)


class Remembered(BaseModel):
    """The file.

    Attributes:
        key: of `machine_key`. proven: engine -> share of places, 0..1, at which its labels are others, of those that
            passed. measured: engine -> how it did, the default among them; missing: engine -> why it could not be had.
        chosen: the engine that `auto` took; "" where it was not asked yet.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    key: dict[str, Any]
    proven: dict[str, float] = {}
    measured: dict[str, MeasuredEngine] = {}
    missing: dict[str, str] = {}
    chosen: str = ""


class EngineMemory:
    """Reads and writes what is remembered; a place that cannot be written, or holds something else, is no error.

    Args:
        key: of `machine_key`.
    """

    def __init__(self, key: Mapping[str, Any]) -> None:
        self._key, folder = dict(key), user_cache()
        name = hashlib.sha256(json.dumps(self._key, sort_keys=True).encode()).hexdigest()[:32]
        self._path = None if folder is None else folder / MEASURED / f"{name}.json"
        self._now = self._read()

    def read(self) -> Remembered:
        """What is remembered, also by this process alone; nothing where the file is missing, damaged or foreign."""
        return self._now

    def write(self, remembered: Remembered) -> None:
        """From now on this is remembered, by other processes where the place can be written."""
        self._now = remembered
        if self._path is None:
            return
        try:
            with replacing(self._path) as partial:
                partial.write_text(remembered.model_dump_json(indent=1) + "\n", encoding="utf-8")
        except UserError as error:
            _LOG.info("engines will be measured again: %s", error)

    def _read(self) -> Remembered:
        if self._path is not None and self._path.is_file():
            try:
                found = Remembered.model_validate(read_json(self._path))
                if found.key == self._key:
                    return found
            except (UserError, ValidationError) as error:
                _LOG.info("%s is not used: %s", self._path, error)
        return Remembered(key=self._key)


def forget_engines() -> list[Path]:
    """Removes all that is remembered of engines, and the graphs and engines made for them; what was removed."""
    folder, gone = user_cache(), []
    for name in (MEASURED, GRAPHS, TENSORRT) if folder is not None else ():
        path = Path(folder or ".") / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
            gone.append(path)
    return gone
