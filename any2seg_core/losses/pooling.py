"""A label image at the size of features: masked average pooling to one prototype per class, and labels of cells."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def _response(cells: int, pixels: int, device: torch.device) -> Tensor:
    """(cells, pixels) float32: what each pixel takes from each cell when a row of cells is resized bilinearly."""
    identity = torch.eye(cells, device=device)[None]  # (1, cells, cells)
    return F.interpolate(identity, pixels, mode="linear", align_corners=False)[0]


@torch.no_grad()
def class_cell_weights(labels: Tensor, num_classes: int, height: int, width: int) -> Tensor:
    """How many pixels of each class stand on each cell of a coarser feature map.

    Args:
        labels: (B, H, W) integer, anything outside 0..K-1 (254 unlabelled, 255 ignored) counts nowhere.
        num_classes: K.
        height, width: h, w of the feature map.

    Returns:
        (B, K, h, w) float32; the sum over h, w is the number of pixels of the class.
    """
    rows = _response(height, labels.shape[1], labels.device)  # (h, H)
    columns = _response(width, labels.shape[2], labels.device)  # (w, W)
    classes = torch.arange(num_classes, device=labels.device)[:, None, None]
    masks = (labels[:, None] == classes).float()  # (B, K, H, W)
    return torch.einsum("hH,bkHW,wW->bkhw", rows, masks, columns)


def masked_average_pooling(features: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Prototype of each class of each image: Eq. 4 of Any2Seg; the prototypes of AGMM-SASS are the same thing.

    The papers enlarge the features bilinearly to the size of the labels and average them under the mask of a class.
    Both steps are linear, so the same number comes from shrinking the masks by the transposed resize instead, and no
    feature map of full size is ever made.

    Args:
        features: (B, C, h, w) float, any precision.
        labels: (B, H, W) integer train ids, 254 = unlabelled, 255 = ignored.
        num_classes: K.

    Returns:
        prototypes (B, K, C) float32, zero for a class that the image does not have; present (B, K) bool.
    """
    weights = class_cell_weights(labels, num_classes, *features.shape[2:])  # (B, K, h, w)
    area = weights.sum(dim=(2, 3))  # (B, K), pixels
    sums = torch.einsum("bkhw,bchw->bkc", weights, features.float())  # (B, K, C)
    return sums / area.clamp_min(1.0)[:, :, None], area > 0.5


def labels_of_cells(labels: Tensor, height: int, width: int) -> Tensor:
    """(B, H, W) integer -> (B, h, w) int64, the label nearest to the centre of each cell."""
    return F.interpolate(labels[:, None].float(), (height, width), mode="nearest-exact")[:, 0].long()
