"""Arithmetic of a trained model: float32, or bfloat16 where nearly all of the time goes, in the encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from any2seg_core.base.errors import UserError
from any2seg_core.base.finite import all_finite
from any2seg_core.base.precisions import PRECISIONS
from any2seg_core.models.any2seg import Any2Seg

_NARROWEST = 64


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


def with_precision(model: Any2Seg, precision: str, width: int) -> Any2Seg:
    """The model, changed in place where that is asked for; it can be used afterwards, not trained or saved.

    Args:
        model: in float32, with trained weights.
        precision: one of `PRECISIONS`.
        width: of the images that it will get, pixels.

    Raises:
        UserError: another precision, or images too narrow for it.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision {precision!r}: choose {' or '.join(PRECISIONS)}", "value-unknown")
    if precision == "bfloat16":
        # PyTorch's strided convolution in bfloat16 on a CPU is wrong on maps of width 2, which are images of width 32.
        if width < _NARROWEST:
            raise UserError(
                f"precision bfloat16: needs images {_NARROWEST} wide or more, the model takes {width}",
                "precision-unsuitable",
            )
        model.encoder = BFloat16Encoder(model.encoder)
    return model
