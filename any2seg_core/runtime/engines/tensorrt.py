"""The engine of torch-tensorrt: the encoder in float16 as NVIDIA's compiler makes it; fusion and head as they are."""

from __future__ import annotations

import copy
import logging
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from any2seg_core.base.atomic import replacing
from any2seg_core.base.errors import UserError
from any2seg_core.base.user_cache import user_cache
from any2seg_core.runtime.engines.eager import EagerEngine
from any2seg_core.runtime.engines.memory import TENSORRT
from any2seg_core.runtime.engines.trained import TrainedModel
from any2seg_core.runtime.export.graphs import can_export

_LOG = logging.getLogger(__name__)
_PACKAGES = ("torch", "torch-tensorrt", "tensorrt")
_ROWS = 8
"""Largest number of images at a time that an engine is built for; of more it takes so many after each other."""


class TensorRtEngine(EagerEngine):
    """A model on an NVIDIA GPU. Its encoder is built once, which takes minutes, and kept in the user's cache.

    Args:
        trained: in float32 on a GPU, of a fusion that takes the whole encoder for each sensor.

    Raises:
        UserError: another device, model or precision, no torch-tensorrt, or it cannot build the encoder.
    """

    name = "tensorrt"

    def __init__(self, trained: TrainedModel) -> None:
        package, gpu = _prepared(trained)
        path = _kept_at(trained, gpu)
        with tempfile.TemporaryDirectory() as place:
            if path is None or not path.is_file():
                path = _built(package, trained, path, Path(place))
            encoder = package.load(str(path)).module()
        model = copy.copy(trained.model)
        model._modules = dict(trained.model._modules)
        model.encoder = InParts(encoder, trained.model.encoder.widths)
        super().__init__(model, "float16")
        self.version = f"torch-tensorrt {package.__version__}"


class InParts(nn.Module):
    """An encoder that takes a few rows at a time.

    Shapes:
        images (R, 3, H, W) -> four features (R, C_j, H_j, W_j) float32.
    """

    def __init__(self, encoder: Any, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder, self.widths = encoder, widths

    def forward(self, images: Tensor) -> list[Tensor]:
        parts = [self.encoder(part.contiguous()) for part in images.split(_ROWS)]
        return [torch.cat(levels) for levels in zip(*parts, strict=True)]


class Float16Encoder(nn.Module):
    """An encoder whose weights and sums are float16; images and features are float32."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).half()

    def forward(self, images: Tensor) -> list[Tensor]:
        return [level.float() for level in self.encoder(images.half())]


def build_only(trained: TrainedModel) -> Path:
    """Builds the encoder into the user's cache, where it is not there yet, and runs nothing: to set a machine up.

    Raises:
        UserError: as for `TensorRtEngine`, or the cache cannot be written.
    """
    package, gpu = _prepared(trained)
    path = _kept_at(trained, gpu)
    if path is None:
        raise UserError("runtime tensorrt: no home folder for its engines: set ANY2SEG_CACHE", "output-unwritable")
    if not path.is_file():
        with replacing(path) as partial:
            _build(package, trained, partial)
    return path


def import_torch_tensorrt() -> ModuleType:
    """The module torch_tensorrt; UserError says how to get it."""
    try:
        import torch_tensorrt
    except Exception as error:  # without the libraries of TensorRT it raises a bare Exception
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"runtime tensorrt needs torch-tensorrt and a PyTorch for CUDA of the same version ({reason}): pip install "
            f"torch-tensorrt=={'.'.join(torch.__version__.split('.')[:2])}.*",
            "package-missing",
        ) from None
    return torch_tensorrt


def gpu_of(device: torch.device) -> dict[str, str]:
    """What an engine is built for; UserError for another device than a GPU of NVIDIA."""
    if device.type != "cuda" or torch.version.cuda is None:
        raise UserError(f"runtime tensorrt: runs on a GPU of NVIDIA, not on {device}: give cuda", "device-missing")
    major, minor = torch.cuda.get_device_capability(device)
    return {"name": torch.cuda.get_device_name(device), "capability": f"{major}.{minor}", "cuda": torch.version.cuda}


def _prepared(trained: TrainedModel) -> tuple[ModuleType, dict[str, str]]:
    gpu = gpu_of(trained.device)
    if not can_export(trained.model) or trained.model.asks_for_content:
        raise UserError(
            f"runtime tensorrt: fusion={trained.model.config.fusion} has no encoder of its own, or asks where a sensor "
            "says nothing: take runtime eager",
            "model-unsuitable",
        )
    if trained.precision != "float32":
        raise UserError(
            f"runtime tensorrt: computes in float16, not in {trained.precision}: leave the precision out",
            "precision-unsuitable",
        )
    return import_torch_tensorrt(), gpu


def _kept_at(trained: TrainedModel, gpu: dict[str, str]) -> Path | None:
    """Where the built encoder lies, or would; its name changes with all that it depends on."""
    cache = user_cache()
    name = trained.hash_with(*_PACKAGES, gpu=gpu, precision="float16", rows=_ROWS)
    return None if cache is None else cache / TENSORRT / f"{name}.ep"


def _built(package: ModuleType, trained: TrainedModel, path: Path | None, place: Path) -> Path:
    """Builds to ``path``, or where that cannot be written to the folder ``place``."""
    if path is not None:
        try:
            with replacing(path) as partial:
                _build(package, trained, partial)
            return path
        except UserError as error:
            if error.code != "output-unwritable":
                raise
            _LOG.info("%s", error)
    _build(package, trained, place / "encoder.ep")
    return place / "encoder.ep"


def _build(package: ModuleType, trained: TrainedModel, path: Path) -> None:
    _LOG.warning("runtime tensorrt: an engine is built, which takes minutes the first time")
    height, width = trained.size
    shapes = {f"{name}_shape": (rows, 3, height, width) for name, rows in (("min", 1), ("opt", 1), ("max", _ROWS))}
    images = package.Input(**shapes, dtype=torch.float32)
    encoder = Float16Encoder(trained.model.encoder).eval().requires_grad_(False)
    varying = {0: torch.export.Dim("rows", min=1, max=_ROWS)}
    try:
        program = torch.export.export(
            encoder, (torch.zeros(2, 3, height, width, device=trained.device),), dynamic_shapes=(varying,)
        )
        module = package.dynamo.compile(program, arg_inputs=[images], use_explicit_typing=True)
        package.save(module, str(path), output_format="exported_program", arg_inputs=[images])
    except Exception as error:  # TensorRT, its converters and the exporter each have their own
        reason = next(line.strip() for line in (*str(error).splitlines(), repr(error)) if line.strip())
        raise UserError(
            f"runtime tensorrt: torch-tensorrt {package.__version__} cannot build the encoder ({reason}): take another "
            "runtime",
            "runtime-unsuitable",
        ) from None
