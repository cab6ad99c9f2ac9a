"""Arithmetic of a trained model: float32, or bfloat16 where nearly all of the time goes, in the encoder."""

from __future__ import annotations

import copy
import logging
import statistics
import time

import torch
from torch import Tensor, nn

from any2seg_core.base.errors import UserError
from any2seg_core.base.finite import all_finite
from any2seg_core.base.precisions import AUTO, PRECISIONS
from any2seg_core.base.processor import has_bfloat16
from any2seg_core.models.any2seg import Any2Seg

_LOG = logging.getLogger(__name__)
_NARROWEST = 64
_GAIN = 0.95  # share of float32's time: what saves less is not worth other labels
_TURNS = 5


class BFloat16Encoder(nn.Module):
    """A trained encoder whose products and convolutions run in bfloat16, the weights of which are kept so.

    The features come out in float32, as fusion, head and labels want them.

    Args:
        encoder: any encoder of a model; its weights are rounded in place.

    Raises:
        UserError: a weight is finite and too large to be rounded.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.widths = encoder.widths
        for name, module in encoder.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                was_finite = _is_finite(module)
                module.to(torch.bfloat16)  # once, not for every frame
                if was_finite and not _is_finite(module):
                    raise UserError(
                        f"precision bfloat16: weights of encoder.{name} are too large for it: use float32",
                        "precision-unsuitable",
                    )

    def forward(self, images: Tensor, *rows: object) -> list[Tensor]:
        """images (B, 3, H, W) float32 -> four features (B, C_j, H_j, W_j) float32."""
        with torch.autocast(images.device.type, torch.bfloat16):
            features = self.encoder(images, *rows)
        return [feature.float() for feature in features]


def _is_finite(module: nn.Module) -> bool:
    return all(all_finite(weights.detach()) for weights in module.parameters())


def settled_precision(model: Any2Seg, precision: str, size: tuple[int, int]) -> str:
    """What a model shall compute in: float32 or bfloat16.

    bfloat16 becomes float32, with a warning, on a processor without instructions for it, where it takes eight times as
    long. "auto" is the faster one for one image of this size, where it gains at least 5 %.

    Args:
        model: in its final place, in float32. precision: one of `PRECISIONS`. size: (H, W) of the images.

    Raises:
        UserError: another precision.
    """
    _require_known(precision)
    is_slow = next(model.parameters()).device.type == "cpu" and not has_bfloat16()
    if precision == AUTO:
        return "float32" if is_slow or size[1] < _NARROWEST else _faster(model, size)
    if precision == "bfloat16" and is_slow:
        _LOG.warning(
            "precision bfloat16: this processor has no instructions for it (AMX, AVX512_BF16) and would take several "
            "times as long; float32 is used"
        )
        return "float32"
    return precision


@torch.inference_mode()
def _faster(model: Any2Seg, size: tuple[int, int]) -> str:
    """Both in turns on one image."""
    device = next(model.parameters()).device
    name = model.modalities[0]
    images = {name: torch.zeros(1, 3, *model.image_size(name, size), device=device)}
    exact = copy.deepcopy(model).eval()
    reduced = with_precision(copy.deepcopy(model), "bfloat16", size[1]).eval()
    ratios = []
    for _ in range(_TURNS):
        seconds = []
        for each in (exact, reduced):
            start_s = time.perf_counter()
            float(each(images).logits.sum())  # of a GPU too: the number is there when all is done
            seconds.append(time.perf_counter() - start_s)
        ratios.append(seconds[1] / seconds[0])
    return "bfloat16" if statistics.median(ratios) < _GAIN else "float32"


def _require_known(precision: str) -> None:
    if precision not in PRECISIONS:
        raise UserError(f"precision {precision!r}: choose {' or '.join(PRECISIONS)}", "value-unknown")


def with_precision(model: Any2Seg, precision: str, width: int) -> Any2Seg:
    """The model, changed in place where that is asked for; it can be used afterwards, not trained or saved.

    Args:
        model: in float32, with trained weights.
        precision: float32 or bfloat16, see `settled_precision`.
        width: of its input, pixels; an image of half the size passes no stage that is wrong on it.

    Raises:
        UserError: another precision, or images too narrow for it.
    """
    _require_known(precision)
    if precision == "bfloat16":
        # PyTorch's strided convolution in bfloat16 on a CPU is wrong on maps of width 2, which are images of width 32.
        if width < _NARROWEST:
            raise UserError(
                f"precision bfloat16: needs images {_NARROWEST} wide or more, the model takes {width}",
                "precision-unsuitable",
            )
        model.encoder = BFloat16Encoder(model.encoder)
    return model
