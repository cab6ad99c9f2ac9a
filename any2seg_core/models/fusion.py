"""Modality-agnostic feature fusion (MFF) of Any2Seg (Zheng et al., ECCV 2024), section 3.3."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def masked_mean(features: Tensor, present: Tensor) -> Tensor:
    """Mean over present modalities: features (B, M, C, H, W), present (B, M) bool -> (B, C, H, W)."""
    weight = present.to(features.dtype)
    weight = weight / weight.sum(dim=1, keepdim=True)
    return torch.einsum("bmchw,bm->bchw", features, weight)


class MFF(nn.Module):
    """Fuse any non-empty subset of modalities; no parameters, and absent modalities have no influence.

    Per level, with anchor f_a (the mean of the present features, f_ma^0 of the paper):

    1. re-weight: w_m = cos(f_a, f_m) over the flattened feature; f_mb = mean_m(w_m * f_m);
    2. select: per location, f_ms is the f_m whose cosine with f_mb over channels is largest;
    3. f_ma = f_mb + f_ms.

    Shapes:
        features (B, M, C, H, W), present (B, M) bool with at least one True per row -> f_ma (B, C, H, W).
        anchor (B, C, H, W) overrides the mean: f_ma^{t-1} of a video stream.
    """

    def forward(self, features: Tensor, present: Tensor, anchor: Tensor | None = None) -> Tensor:
        if anchor is None:
            anchor = masked_mean(features, present)
        weight = F.cosine_similarity(anchor.flatten(1)[:, None], features.flatten(2), dim=2)  # (B, M)
        balanced = masked_mean(features * weight[:, :, None, None, None], present)
        if features.shape[1] == 1:
            return balanced + features[:, 0]
        similarity = F.cosine_similarity(balanced[:, None], features, dim=2)  # (B, M, H, W)
        similarity = similarity.masked_fill(~present[:, :, None, None], -torch.inf)
        winner = similarity.argmax(dim=1)[:, None, None]  # (B, 1, 1, H, W)
        index = winner.expand(-1, -1, features.shape[2], -1, -1)  # (B, 1, C, H, W)
        selected = features.gather(1, index).squeeze(1)  # (B, C, H, W)
        return balanced + selected
