"""Modality-agnostic feature fusion (MFF) of Any2Seg (Zheng et al., ECCV 2024), section 3.3."""

from __future__ import annotations

import torch
from torch import Tensor

from any2seg_core.models.config import MFFConfig, ModelConfig
from any2seg_core.models.content import taking_part
from any2seg_core.models.fusion import EncodedApart, Network, gathered, spread
from any2seg_core.models.mit import to_map
from any2seg_core.models.outputs import Encoded, Fused

_EPS = 1e-8  # as in torch's cosine_similarity


def _weighted_sum(tokens: Tensor, weight: Tensor) -> Tensor:
    """tokens (B, M, N, C), weight (B, M) or (B, M, N) -> sum over modalities (B, N, C)."""
    if torch.compiler.is_exporting():  # runtimes of graphs copy all of it for an einsum
        if weight.ndim == 2:
            return (weight[:, None] @ tokens.flatten(2)).view(-1, *tokens.shape[2:])  # (B, N, C)
        return (tokens * weight[..., None]).sum(dim=1)  # (B, N, C)
    return torch.einsum("bmnc,bm->bnc" if weight.ndim == 2 else "bmnc,bmn->bnc", tokens, weight)


def _cosine_where(tokens: Tensor, norm: Tensor, anchor: Tensor, there: Tensor) -> Tensor:
    """Cosine of each modality and the anchor over the locations where it takes part; 0 of one that does so nowhere.

    tokens (B, M, N, C), their norm (B, M, N), anchor (B, N, C), there (B, M, N) bool -> (B, M).
    """
    counted = there.to(tokens.dtype)
    dot = ((tokens * anchor[:, None]).sum(dim=3) * counted).sum(dim=2)  # (B, M)
    own = torch.linalg.vector_norm(norm * counted, dim=2)  # (B, M)
    anchor_norm = torch.linalg.vector_norm(torch.linalg.vector_norm(anchor, dim=2)[:, None] * counted, dim=2)  # (B, M)
    return dot / (own * anchor_norm).clamp_min(_EPS)


def _pick(tokens: Tensor, winner: Tensor) -> Tensor:
    """tokens (B, M, N, C), winner (B, N) of modality numbers -> (B, N, C)."""
    batch, modalities, count, channels = tokens.shape
    sample = torch.arange(batch, device=tokens.device)[:, None]
    location = torch.arange(count, device=tokens.device)[None]
    rows = (sample * modalities + winner) * count + location  # (B, N)
    return tokens.reshape(-1, channels)[rows]  # (B, N, C)


class MFF(EncodedApart):
    """Fuse any non-empty subset of modalities; no parameters, and absent modalities have no influence.

    Per level, with anchor f_a (the mean of the present features, f_ma^0 of the paper):

    1. re-weight: w_m = cos(f_a, f_m) over the flattened feature; f_mb = mean_m(w_m * f_m);
    2. select: per location, f_ms is the f_m whose cosine with f_mb over channels is largest, or, with a temperature,
       their mean weighted by a softmax of these cosines;
    3. f_ma = f_mb + f_ms.

    Args:
        config: which of the steps are taken, and how.

    Shapes:
        features (B, M, C, H, W), present (B, M) bool with at least one True per row -> f_ma (B, C, H, W).
        anchor (B, C, H, W) overrides the mean: f_ma^{t-1} of a video stream.
        content (B, M, H, W) bool: where each modality says something. Elsewhere it takes no part in any of the steps,
            unless no other one does; the cosine of w_m is then over the locations where f_m takes part.
        trust (B, M, H, W): their softmax over those that take part stands in place of 1 / M, and they are added to the
            logits of the selection.
    """

    def __init__(self, config: MFFConfig | None = None) -> None:
        super().__init__()
        self.config = config or MFFConfig()

    @classmethod
    def of(cls, config: ModelConfig, widths: tuple[int, ...]) -> MFF:
        return cls(config.mff)

    @property
    def takes_anchor(self) -> bool:
        return self.config.reweight

    def fuse(self, network: Network, encoded: Encoded, anchor: list[Tensor] | None = None) -> Fused:
        return Fused(self.fused_levels(encoded, anchor))

    def fused_levels(self, encoded: Encoded, anchor: list[Tensor] | None = None) -> list[Tensor]:
        """f_ma (B, C_j, H_j, W_j) of each level."""
        nothing: list[Tensor | None] = [None] * len(encoded.levels)
        inputs = zip(encoded.levels, anchor or nothing, encoded.content or nothing, strict=True)
        return [self(level, encoded.present, f_a, content) for level, f_a, content in inputs]

    def modality_logits(self, network: Network, encoded: Encoded) -> Tensor:
        rows = [gathered(level, encoded.present)[:, None] for level in encoded.levels]  # 4 x (R, 1, C_j, H_j, W_j)
        alone = encoded.present.new_ones(len(rows[0]), 1)
        return spread(network.head([self(level, alone) for level in rows]), encoded.present)

    def forward(
        self,
        features: Tensor,
        present: Tensor,
        anchor: Tensor | None = None,
        content: Tensor | None = None,
        trust: Tensor | None = None,
    ) -> Tensor:
        if features.dtype == torch.float16:
            features = features.float()  # a sum over a whole map ends beyond 65504, the largest float16
        modalities, (height, width) = features.shape[1], features.shape[3:]
        # The encoder leaves channels last in memory, so that this is a view, and every sum over C runs along it.
        tokens = features.flatten(3).transpose(2, 3)  # (B, M, N, C)
        there = present if content is None else taking_part(present, content).flatten(2)  # (B, M) or (B, M, N)
        if trust is None:
            share = there.to(tokens.dtype) / there.sum(dim=1, keepdim=True)  # sums to 1 per sample, or per location
        else:
            there = there.view(*present.shape, -1)  # (B, M, 1 or N)
            trust = trust.flatten(2).to(tokens.dtype)  # (B, M, N)
            share = torch.where(there, trust, -torch.inf).softmax(dim=1)
        anchor = _weighted_sum(tokens, share) if anchor is None else anchor.flatten(2).transpose(1, 2)  # (B, N, C)
        norm = torch.linalg.vector_norm(tokens, dim=3).clamp_min(_EPS)  # (B, M, N)
        weight = self._weights(tokens, norm, anchor, there, share, trust) if self.config.reweight else share
        balanced = _weighted_sum(tokens, weight)
        if not self.config.select:
            selected = _weighted_sum(tokens, share)
        elif modalities == 1:
            selected = tokens[:, 0]
        else:
            # The norm of f_mb is the same for all modalities of a location: it does not change which one wins.
            similarity = (tokens * balanced[:, None]).sum(dim=3) / norm  # (B, M, N)
            if trust is not None:  # added to the cosines, or to the cosines divided by the temperature
                length = torch.linalg.vector_norm(balanced, dim=2)[:, None]  # (B, 1, N)
                similarity = similarity + trust * length * (self.config.select_temperature or 1.0)
            selected = self._select(tokens, similarity, balanced, ~there.view(*there.shape[:2], -1))
        return to_map(self._aggregate(balanced, selected), height, width)  # (B, C, H, W)

    def _select(self, tokens: Tensor, similarity: Tensor, balanced: Tensor, absent: Tensor) -> Tensor:
        """f_ms (B, N, C); similarity (B, M, N): cosines times the norm of f_mb; absent (B, M, 1 or N) bool."""
        if not self.config.select_temperature:
            return _pick(tokens, similarity.masked_fill(absent, -torch.inf).argmax(dim=1))
        scale = torch.linalg.vector_norm(balanced, dim=2).clamp_min(_EPS) * self.config.select_temperature  # (B, N)
        weight = (similarity / scale[:, None]).masked_fill(absent, -torch.inf).softmax(dim=1)  # (B, M, N)
        return _weighted_sum(tokens, weight)

    def _weights(
        self, tokens: Tensor, norm: Tensor, anchor: Tensor, there: Tensor, share: Tensor, trust: Tensor | None
    ) -> Tensor:
        """What each modality counts in f_mb: (B, M), or (B, M, N) where weights are spatial or `share` is; else 0."""
        if self.config.weight == "spatial":
            anchor_norm = torch.linalg.vector_norm(anchor, dim=2).clamp_min(_EPS)  # (B, N)
            cosine = (tokens * anchor[:, None]).sum(dim=3) / (norm * anchor_norm[:, None])  # (B, M, N)
            there, share = (values.view(*values.shape[:2], -1) for values in (there, share))
        elif there.ndim == 2:
            dot = (tokens * anchor[:, None]).sum(dim=(2, 3))  # (B, M)
            anchor_norm = torch.linalg.vector_norm(anchor, dim=(1, 2)).clamp_min(_EPS)  # (B,)
            cosine = dot / (torch.linalg.vector_norm(norm, dim=2) * anchor_norm[:, None])
        else:
            cosine = _cosine_where(tokens, norm, anchor, there)[:, :, None]  # (B, M, 1)
        if self.config.unit_scale:
            return torch.where(there, cosine if trust is None else cosine + trust, -torch.inf).softmax(dim=1)
        return cosine * share

    def _aggregate(self, balanced: Tensor, selected: Tensor) -> Tensor:
        if self.config.residual:
            return 0.5 * (balanced + selected) if self.config.unit_scale else balanced + selected
        return selected if self.config.select else balanced
