"""Where a sensor says something: cells of a feature map in or beside which its image holds more than empty pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from any2seg_core.vocabulary.contract import Pixel

_ROUNDING = 1e-4  # of a normalised value; one grey level is a hundred times more


def content_masks(image: Tensor, empty: Pixel | Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """image (B, 3, h, w) -> per size (H_j, W_j) bool (B, H_j, W_j): whether a cell or one of its eight neighbours does.

    A feature is made of more than its own cell: between two beams of a LiDAR it knows of both.

    Args:
        image: of one sensor, normalised; or of a sensor for each row.
        empty: what normalisation makes of a pixel of zeros, which in every encoding mean that there is nothing; (B, 3)
            where it is another one for each row.
        sizes: of the feature maps, finest first.
    """
    cells, masks = filled_pixels(image, empty).to(image.dtype), []  # (B, 1, h, w)
    for size in sizes:
        cells = F.adaptive_max_pool2d(cells, size)  # (B, 1, H_j, W_j)
        masks.append(F.max_pool2d(cells, 3, stride=1, padding=1)[:, 0] > 0)
    return masks


def filled_pixels(image: Tensor, empty: Pixel | Tensor) -> Tensor:
    """image (B, 3, h, w), normalised -> (B, 1, h, w) bool: where it is no pixel of zeros; NaN among it."""
    nothing = torch.as_tensor(empty, dtype=image.dtype, device=image.device).view(-1, 3, 1, 1)  # (1 or B, C, 1, 1)
    return ~((image.detach() - nothing).abs_().amax(dim=1, keepdim=True) <= _ROUNDING)


def taking_part(present: Tensor, content: Tensor | None) -> Tensor:
    """Which sensors a location is fused from: (B, M), or with content (B, M, H, W) bool per location, (B, M, H, W).

    Those that say something there; where no present sensor does, all that are present.
    """
    if content is None:
        return present
    present = present[:, :, None, None]
    saying = content & present
    return saying | (present & ~saying.any(dim=1, keepdim=True))
