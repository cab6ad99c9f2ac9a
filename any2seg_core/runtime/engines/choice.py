"""Which engine runs a model of a checkpoint: by default the fastest known one that proves itself, or as a user says."""

from __future__ import annotations

import logging
from functools import partial

import torch

from any2seg_core.base.errors import UserError
from any2seg_core.base.precisions import AUTO
from any2seg_core.base.runtimes import DEFAULT, FASTEST, RUNTIMES
from any2seg_core.models import Any2Seg
from any2seg_core.models.precision import settled_precision, with_precision
from any2seg_core.runtime.engines.chooser import EngineChooser
from any2seg_core.runtime.engines.cpu import CpuEngine
from any2seg_core.runtime.engines.eager import EagerEngine
from any2seg_core.runtime.engines.engine import Engine
from any2seg_core.runtime.engines.memory import EngineMemory, machine_key
from any2seg_core.runtime.engines.parity import differing_share, noise
from any2seg_core.runtime.engines.proof import is_settled, proof_of
from any2seg_core.runtime.engines.registry import ENGINES, FLOAT32_ONLY, SLOW
from any2seg_core.runtime.engines.trained import TrainedModel, digest_of

_LOG = logging.getLogger(__name__)
_SIDE = 64  # pixels of the images of a trial: the smallest that every precision takes


def engine_of(
    model: Any2Seg,
    size: tuple[int, int],
    device: str | torch.device = "cpu",
    precision: str = "float32",
    runtime: str = DEFAULT,
) -> Engine:
    """The engine for a model, which is changed in place.

    Args:
        size: (H, W) of the images, pixels. precision: of the encoder, see `settled_precision`. runtime: one of
            `RUNTIMES`.

    Raises:
        UserError: another runtime, or one that cannot be had here or gives other labels.
    """
    if runtime in (DEFAULT, "eager"):
        trained = trained_model(model, size, device, precision, runtime)
        return choose_engine(trained.model, trained.precision) if runtime == DEFAULT else ENGINES[runtime](trained)
    chooser = chooser_of(model, size, device, precision, runtime)
    return chooser.fastest() if runtime == FASTEST else chooser.named(runtime)


def chooser_of(
    model: Any2Seg, size: tuple[int, int], device: str | torch.device, precision: str, runtime: str = FASTEST
) -> EngineChooser:
    """The engines that a model, which is changed in place, can have; arguments as of `engine_of`."""
    trained = trained_model(model, size, device, precision, runtime)
    eager = EagerEngine(trained.model, trained.precision)
    gpu = torch.cuda.get_device_name(trained.device) if trained.device.type == "cuda" else trained.device.type
    return EngineChooser(
        default=lambda: choose_engine(trained.model, trained.precision),
        makers={name: partial(make, trained) for name, make in ENGINES.items() if name != "eager"},
        slow=SLOW,
        prove=lambda engine: proof_of(engine, eager, trained.sizes),
        memory=EngineMemory(machine_key(trained.digest, size, trained.precision, gpu)),
        images=lambda: noise(trained.sizes),
    )


def trained_model(
    model: Any2Seg, size: tuple[int, int], device: str | torch.device, precision: str, runtime: str
) -> TrainedModel:
    """A model, changed in place, in its final place, mode and precision; UserError for an unknown runtime."""
    if runtime not in RUNTIMES:
        raise UserError(f"runtime {runtime!r}: choose {', '.join(RUNTIMES)}", "value-unknown")
    model = model.to(device).eval()
    digest = "" if runtime in (DEFAULT, "eager") else digest_of(model)  # nothing is remembered of those
    precision = "float32" if precision == AUTO and runtime in FLOAT32_ONLY else precision
    settled = settled_precision(model, precision, size)
    return TrainedModel(with_precision(model, settled, size[1]), size, settled, digest)


@torch.no_grad()
def choose_engine(model: Any2Seg, precision: str = "float32") -> EagerEngine:
    """The default engine for a model that is in its final place, mode and precision.

    Where the labels of the compiled engine are not those of the model on this machine, it is the model itself, and a
    warning tells.
    """
    eager = EagerEngine(model, precision)
    if not CpuEngine.fits(model):
        return eager
    compiled = CpuEngine(model, precision)
    images = noise({name: model.image_size(name, (_SIDE, _SIDE)) for name in model.modalities})
    share = differing_share(compiled, eager, images)
    if is_settled(share, eager, images):
        return compiled
    _LOG.warning("engine %s: %.2g %% of its labels are not those of PyTorch here, which runs instead", compiled.name,
                 100 * share)  # fmt: skip
    return eager
