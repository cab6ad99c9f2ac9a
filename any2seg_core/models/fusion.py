"""Modality-agnostic feature fusion (MFF) of Any2Seg (Zheng et al., ECCV 2024), section 3.3."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from any2seg_core.kernels.fusion import global_weights, inner_products, weigh_and_select
from any2seg_core.kernels.running import on_kernels
from any2seg_core.models.mit import to_map

_EPS = 1e-8  # as in torch's cosine_similarity


class MFFConfig(BaseModel):
    """Switches of MFF: the ablation of the paper's Table 6, and two points that the paper leaves open.

    Attributes:
        reweight: f_mb is the mean of w_m * f_m; otherwise the mean of f_m.
        select: f_ms takes each location from the modality most like f_mb; otherwise f_ms is the mean of f_m.
        residual: f_ma = f_mb + f_ms; otherwise f_ms alone (select) or f_mb alone.
        weight: w_m is one number per sample ("global", as the paper's notation has it) or one per location ("spatial").
        unit_scale: weights pass a softmax over the present modalities and the residual sum is halved. Then f_ma is a
            mean of features however many there are, and f itself for one modality, where the paper's sum gives 2f.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    reweight: bool = True
    select: bool = True
    residual: bool = True
    weight: Literal["global", "spatial"] = "global"
    unit_scale: bool = False


def _weighted_sum(tokens: Tensor, weight: Tensor) -> Tensor:
    """tokens (B, M, N, C), weight (B, M) or (B, M, N) -> sum over modalities (B, N, C)."""
    return torch.einsum("bmnc,bm->bnc" if weight.ndim == 2 else "bmnc,bmn->bnc", tokens, weight)


def _pick(tokens: Tensor, winner: Tensor) -> Tensor:
    """tokens (B, M, N, C), winner (B, N) of modality numbers -> (B, N, C)."""
    batch, modalities, count, channels = tokens.shape
    sample = torch.arange(batch, device=tokens.device)[:, None]
    location = torch.arange(count, device=tokens.device)[None]
    rows = (sample * modalities + winner) * count + location  # (B, N)
    return tokens.reshape(-1, channels)[rows]  # (B, N, C)


def _rows(features: Tensor) -> np.ndarray:
    """(B, M, C, H, W) -> (B, M, N, C) in C order: a view where the encoder left channels last."""
    return features.permute(0, 1, 3, 4, 2).contiguous().numpy().reshape(*features.shape[:2], -1, features.shape[2])


class MFF(nn.Module):
    """Fuse any non-empty subset of modalities; no parameters, and absent modalities have no influence.

    Per level, with anchor f_a (the mean of the present features, f_ma^0 of the paper):

    1. re-weight: w_m = cos(f_a, f_m) over the flattened feature; f_mb = mean_m(w_m * f_m);
    2. select: per location, f_ms is the f_m whose cosine with f_mb over channels is largest;
    3. f_ma = f_mb + f_ms.

    Args:
        config: which of the steps are taken, and how.

    Shapes:
        features (B, M, C, H, W), present (B, M) bool with at least one True per row -> f_ma (B, C, H, W).
        anchor (B, C, H, W) overrides the mean: f_ma^{t-1} of a video stream.
        products (B, M, M): what :meth:`products` returned, where many subsets of the same features are fused.
    """

    def __init__(self, config: MFFConfig | None = None) -> None:
        super().__init__()
        self.config = config or MFFConfig()

    def forward(
        self, features: Tensor, present: Tensor, anchor: Tensor | None = None, products: np.ndarray | None = None
    ) -> Tensor:
        if anchor is None and self.has_kernel(features):
            return self._on_kernels(features, present, products)
        if features.dtype == torch.float16:
            features = features.float()  # a sum over a whole map ends beyond 65504, the largest float16
        modalities, (height, width) = features.shape[1], features.shape[3:]
        # The encoder leaves channels last in memory, so that this is a view, and every sum over C runs along it.
        tokens = features.flatten(3).transpose(2, 3)  # (B, M, N, C)
        share = present.to(tokens.dtype) / present.sum(dim=1, keepdim=True)  # (B, M), sums to 1 per sample
        anchor = _weighted_sum(tokens, share) if anchor is None else anchor.flatten(2).transpose(1, 2)  # (B, N, C)
        norm = torch.linalg.vector_norm(tokens, dim=3).clamp_min(_EPS)  # (B, M, N)
        weight = self._weights(tokens, norm, anchor, present, share) if self.config.reweight else share
        balanced = _weighted_sum(tokens, weight)
        if not self.config.select:
            selected = _weighted_sum(tokens, share)
        elif modalities == 1:
            selected = tokens[:, 0]
        else:
            # The norm of f_mb is the same for all modalities of a location: it does not change which one wins.
            similarity = (tokens * balanced[:, None]).sum(dim=3) / norm  # (B, M, N)
            winner = similarity.masked_fill(~present[:, :, None], -torch.inf).argmax(dim=1)  # (B, N)
            selected = _pick(tokens, winner)
        return to_map(self._aggregate(balanced, selected), height, width)  # (B, C, H, W)

    def _weights(self, tokens: Tensor, norm: Tensor, anchor: Tensor, present: Tensor, share: Tensor) -> Tensor:
        """What each modality counts in f_mb: (B, M), or (B, M, N) where weights are spatial; 0 where absent."""
        if self.config.weight == "global":
            dot = (tokens * anchor[:, None]).sum(dim=(2, 3))  # (B, M)
            anchor_norm = torch.linalg.vector_norm(anchor, dim=(1, 2)).clamp_min(_EPS)  # (B,)
            cosine = dot / (torch.linalg.vector_norm(norm, dim=2) * anchor_norm[:, None])
        else:
            anchor_norm = torch.linalg.vector_norm(anchor, dim=2).clamp_min(_EPS)  # (B, N)
            cosine = (tokens * anchor[:, None]).sum(dim=3) / (norm * anchor_norm[:, None])  # (B, M, N)
            present, share = present[:, :, None], share[:, :, None]
        if self.config.unit_scale:
            return cosine.masked_fill(~present, -torch.inf).softmax(dim=1)
        return cosine * share

    def has_kernel(self, features: Tensor) -> bool:
        """Whether :meth:`forward` takes these features through compiled code, equal up to rounding of its sums."""
        return self.config.select and self.config.weight == "global" and on_kernels(features)

    def products(self, features: Tensor, present: Tensor) -> np.ndarray:
        """Inner products of all pairs of present modalities: every cosine that the weights of any subset need.

        Args:
            features, present: of which :meth:`has_kernel` is true, as in :meth:`forward`.

        Returns:
            (B, M, M) float64.
        """
        return inner_products(_rows(features), present.numpy())

    def _on_kernels(self, features: Tensor, present: Tensor, products: np.ndarray | None) -> Tensor:
        rows, there, config = _rows(features), present.numpy(), self.config
        if config.reweight:
            products = inner_products(rows, there) if products is None else products
            weights = global_weights(products, there, config.unit_scale)
        else:
            weights = (there / there.sum(axis=1, keepdims=True)).astype(np.float32)  # (B, M)
        scale = 0.5 if config.residual and config.unit_scale else 1.0
        fused = weigh_and_select(rows, there, weights, scale if config.residual else 0.0, scale)
        return to_map(torch.from_numpy(fused), *features.shape[3:])  # (B, C, H, W)

    def _aggregate(self, balanced: Tensor, selected: Tensor) -> Tensor:
        if self.config.residual:
            return 0.5 * (balanced + selected) if self.config.unit_scale else balanced + selected
        return selected if self.config.select else balanced
