"""Linear Fusion (Maheshwari et al., M3L, WACV 2024, section 3.2), for any number of modalities and any subset of them.

Each modality runs through the same encoder with norms of its own. After the attention of every block the streams of a
sample are mixed (Eq. 5), and the head predicts from each of them; the result is a weighted mean of these branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from any2seg_core.models.mit import Rows


class LinearFusionConfig(BaseModel):
    """Switches of Linear Fusion.

    Attributes:
        alpha: what a stream keeps of its own tokens where it is mixed with others; the paper's Table 6 chose 0.8.
        ensemble: "trainable": weights are a softmax over one trained number per modality, and the loss of the ensemble
            reaches branches and weights (Eq. 6, 7). "fixed": equal weights on branches that are detached, which is what
            the released code computes; there the ensemble's own loss teaches nothing.
        absent: what stands for a modality that a sample does not have. "leave_out": nothing, it has no stream. "token":
            one learned vector in place of each of its tokens after the first patch embedding (section 3.3). "zero":
            an image of zeros after normalisation, as the paper's baselines have it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    alpha: float = Field(0.8, ge=0, le=1)
    ensemble: Literal["trainable", "fixed"] = "trainable"
    absent: Literal["leave_out", "token", "zero"] = "leave_out"


class ModalityNorm(nn.ModuleDict):
    """One LayerNorm over channels per modality.

    Shapes:
        tokens (R, N, C), rows in the order of the modalities, and how many rows each modality has -> (R, N, C).
    """

    def __init__(self, modalities: Sequence[str], width: int) -> None:
        super().__init__({name: nn.LayerNorm(width) for name in modalities})

    def forward(self, tokens: Tensor, counts: list[int]) -> Tensor:
        parts = list(zip(self.values(), tokens.split(counts), strict=True))
        if not torch.is_grad_enabled():  # in training a norm without any row takes part, for a gradient of zero
            parts = [(norm, part) for norm, part in parts if len(part)]
        normed = [norm(part) for norm, part in parts]
        return normed[0] if len(normed) == 1 else torch.cat(normed)


class LinearRows(Rows):
    """The streams of a batch as rows: all samples of the first modality, then all of the second, ...

    Args:
        exists: (B, M) bool, which streams there are; at least one per sample.
        alpha: of Eq. 5.
        given: (B, M) bool, streams that have an image; where they have none, ``tokens`` (M, C) stand in.

    Attributes:
        exists: as given. R is the number of True.
    """

    def __init__(self, exists: Tensor, alpha: float, given: Tensor | None = None, tokens: Tensor | None = None) -> None:
        self.exists = exists
        self._alpha = alpha
        self._counts = exists.sum(dim=0).tolist()  # M
        self._given, self._tokens = given, tokens
        batch, modalities = exists.shape
        whole = sum(count == batch for count in self._counts)
        # How many streams every sample has, if all samples have the same ones.
        self._uniform = whole if whole * batch == sum(self._counts) else None
        self._all = whole == modalities
        if not self._all:
            self._places = exists.T.flatten().nonzero()[:, 0]  # (R,) of M * B
        if self._uniform is None:
            streams = exists.sum(dim=1)  # (B,)
            others = torch.where(streams > 1, (1.0 - alpha) / (streams - 1).clamp(min=1), 0.0)  # (B,)
            own = torch.where(streams > 1, alpha - others, 1.0)  # (B,)
            self._sample = self._places % batch  # (R,)
            self._own, self._others = (share[self._sample][:, None, None] for share in (own, others))  # (R, 1, 1)

    def gathered(self, values: Tensor) -> Tensor:
        """(B, M, ...) -> the rows (R, ...)."""
        rows = values.transpose(0, 1).flatten(0, 1)  # (M * B, ...)
        return rows if self._all else rows[self._places]

    def spread(self, rows: Tensor) -> Tensor:
        """(R, ...) -> (B, M, ...), zero where there is no stream."""
        return self._by_modality(rows).transpose(0, 1)  # (B, M, ...)

    def _by_modality(self, rows: Tensor) -> Tensor:
        batch, modalities = self.exists.shape
        if not self._all:
            rows = rows.new_zeros((modalities * batch, *rows.shape[1:])).index_copy(0, self._places, rows)
        return rows.unflatten(0, (modalities, batch))  # (M, B, ...)

    def filled(self, tokens: Tensor) -> Tensor:
        """The learned token of the modality wherever there was no image."""
        if self._tokens is None:
            return tokens
        given = self.gathered(self._given)[:, None, None]  # (R, 1, 1)
        learned = self.gathered(self._tokens.expand(len(self.exists), -1, -1))[:, None]  # (R, 1, C)
        return torch.where(given, tokens, learned.to(tokens.dtype))

    def normed(self, norm: nn.Module, tokens: Tensor) -> Tensor:
        """Each row under the norm of its modality."""
        return norm(tokens, self._counts)

    def mixed(self, tokens: Tensor) -> Tensor:
        """Eq. 5: e_m <- alpha * e_m + (1 - alpha) * mean of the other streams of the sample; alone it stays e_m."""
        # Computed as own * e_m + others * (sum of all of them), own = alpha - others: one sum serves all streams.
        if self._uniform is None:
            total = self._by_modality(tokens).sum(dim=0)  # (B, N, C)
            own, others = self._own.to(tokens.dtype), self._others.to(tokens.dtype)
            return torch.addcmul(own * tokens, others, total[self._sample])
        if self._uniform == 1:
            return tokens
        streams = tokens.unflatten(0, (self._uniform, -1))  # (M', B, N, C)
        others = (1.0 - self._alpha) / (self._uniform - 1)
        mixed = torch.add((self._alpha - others) * streams, streams.sum(dim=0), alpha=others)
        return mixed.flatten(0, 1)  # (R, N, C)


class LinearFusion(nn.Module):
    """What Linear Fusion adds to encoder and head: which streams run, their learned tokens, and the ensemble.

    Args:
        config: switches.
        modalities: names, M of them.
        width: channels of the first level, C.

    Shapes:
        branches (B, M, K, h, w) logits, exists (B, M) bool -> ensemble (B, K, h, w).
    """

    def __init__(self, config: LinearFusionConfig, modalities: Sequence[str], width: int) -> None:
        super().__init__()
        self.config = config
        self.modalities = tuple(modalities)
        if config.ensemble == "trainable":
            self.weight = nn.Parameter(torch.zeros(len(modalities)))
        if config.absent == "token":
            self.tokens = nn.ParameterDict({name: nn.Parameter(torch.randn(width)) for name in modalities})

    def rows(self, present: Tensor) -> LinearRows:
        """present (B, M) bool -> the streams that run."""
        alpha = self.config.alpha
        if self.config.absent == "leave_out":
            return LinearRows(present, alpha)
        every = torch.ones_like(present)
        if self.config.absent == "zero":
            return LinearRows(every, alpha)
        return LinearRows(every, alpha, present, torch.stack([self.tokens[name] for name in self.modalities]))

    def forward(self, branches: Tensor, exists: Tensor) -> Tensor:
        if self.config.ensemble == "trainable":
            shares = self.weight.expand(exists.shape).masked_fill(~exists, -torch.inf).softmax(dim=1)  # (B, M)
        else:
            branches = branches.detach()
            shares = exists / exists.sum(dim=1, keepdim=True)  # (B, M)
        return torch.einsum("bmkhw,bm->bkhw", branches, shares.to(branches.dtype))
