"""Modality-agnostic feature fusion (MFF) of Any2Seg (Zheng et al., ECCV 2024), section 3.3."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from any2seg_core.models.mit import to_map

_EPS = 1e-8  # as in torch's cosine_similarity


def _weighted_sum(tokens: Tensor, weight: Tensor) -> Tensor:
    """tokens (B, M, N, C), weight (B, M) -> sum over modalities (B, N, C)."""
    return torch.einsum("bmnc,bm->bnc", tokens, weight)


def _pick(tokens: Tensor, winner: Tensor) -> Tensor:
    """tokens (B, M, N, C), winner (B, N) of modality numbers -> (B, N, C)."""
    batch, modalities, count, channels = tokens.shape
    sample = torch.arange(batch, device=tokens.device)[:, None]
    location = torch.arange(count, device=tokens.device)[None]
    rows = (sample * modalities + winner) * count + location  # (B, N)
    return tokens.reshape(-1, channels)[rows]  # (B, N, C)


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
        modalities, (height, width) = features.shape[1], features.shape[3:]
        # The encoder leaves channels last in memory, so that this is a view, and every sum over C runs along it.
        tokens = features.flatten(3).transpose(2, 3)  # (B, M, N, C)
        share = present.to(tokens.dtype) / present.sum(dim=1, keepdim=True)  # (B, M), sums to 1 per sample
        anchor = _weighted_sum(tokens, share) if anchor is None else anchor.flatten(2).transpose(1, 2)  # (B, N, C)
        norm = torch.linalg.vector_norm(tokens, dim=3).clamp_min(_EPS)  # (B, M, N)
        dot = (tokens * anchor[:, None]).sum(dim=(2, 3))  # (B, M)
        anchor_norm = torch.linalg.vector_norm(anchor, dim=(1, 2)).clamp_min(_EPS)  # (B,)
        weight = dot / (torch.linalg.vector_norm(norm, dim=2) * anchor_norm[:, None])
        balanced = _weighted_sum(tokens, weight * share)
        if modalities == 1:
            fused = balanced + tokens[:, 0]
        else:
            # The norm of f_mb is the same for all modalities of a location: it does not change which one wins.
            similarity = (tokens * balanced[:, None]).sum(dim=3) / norm  # (B, M, N)
            winner = similarity.masked_fill(~present[:, :, None], -torch.inf).argmax(dim=1)  # (B, N)
            fused = balanced + _pick(tokens, winner)
        return to_map(fused, height, width)  # (B, C, H, W)
