"""What a model computes on its way: encoded, fused, predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Encoded:
    """What is known of every (sample, modality) pair before fusing; values of absent pairs are never read.

    Attributes:
        levels: four tensors (B, M, C_j, H_j, W_j), features of each modality alone; none where the modalities of a
            subset are encoded together.
        present: (B, M) bool.
        modalities: names of the M columns.
        images: (B, M, 3, H, W) where the modalities of a subset are encoded together, which is when they are fused.
        logits: (B, M, K, H_1, W_1), each modality segmented alone; of fusion mean_predictions.
        content: as many tensors (B, M, H_j, W_j) bool as levels, where each modality says something; none where the
            model does not ask.
    """

    levels: list[Tensor]
    present: Tensor
    modalities: tuple[str, ...]
    images: Tensor | None = None
    logits: Tensor | None = None
    content: list[Tensor] = field(default_factory=list)

    @classmethod
    def joined(cls, parts: Sequence[Encoded]) -> Encoded:
        """The columns of several, in their order; samples and sizes are the same. Of one it is that one, not copied."""
        if len(parts) == 1:
            return parts[0]
        levels = [_beside(columns) for columns in zip(*[part.levels for part in parts], strict=True)]
        images, logits = [part.images for part in parts], [part.logits for part in parts]
        return cls(
            levels,
            torch.cat([part.present for part in parts], dim=1),
            tuple(name for part in parts for name in part.modalities),
            None if images[0] is None else _beside(images),
            None if logits[0] is None else _beside(logits),
            [torch.cat(masks, dim=1) for masks in zip(*[part.content for part in parts], strict=True)],
        )

    def only(self, subset: Sequence[str]) -> Encoded:
        """The columns of ``subset``, as if nothing else had been encoded, layout in memory included."""
        columns = [i for i, name in enumerate(self.modalities) if name in subset]
        return self if len(columns) == len(self.modalities) else self.joined([self._column(i) for i in columns])

    def _column(self, i: int) -> Encoded:
        return Encoded(
            [level[:, i : i + 1] for level in self.levels],
            self.present[:, i : i + 1],
            self.modalities[i : i + 1],
            None if self.images is None else self.images[:, i : i + 1],
            None if self.logits is None else self.logits[:, i : i + 1],
            [mask[:, i : i + 1] for mask in self.content],
        )

    def keep(self, subset: Sequence[str]) -> Encoded:
        """The same samples with all modalities absent but ``subset``: nothing is encoded again, nothing copied."""
        return replace(self, present=self.present & self._columns(subset))

    def samples(self, chosen: slice) -> Encoded:
        """The same for some samples of the batch."""
        return Encoded(
            [level[chosen] for level in self.levels],
            self.present[chosen],
            self.modalities,
            _part(self.images, chosen),
            _part(self.logits, chosen),
            [mask[chosen] for mask in self.content],
        )

    def showing(self, present: Tensor) -> Encoded:
        """The same samples with other pairs present, (B, M) bool, all of them among those that were encoded."""
        return replace(self, present=present)

    def replacing_absent(self, subset: Sequence[str], other: Encoded) -> Encoded:
        """The same samples, with what ``other`` has (of equal shapes) for all modalities that are not in ``subset``."""
        kept = self._columns(subset)

        def chosen(own: Tensor, stand_in: Tensor) -> Tensor:
            return torch.where(kept.view(1, -1, *[1] * (own.ndim - 2)), own, stand_in)  # (B, M, ...)

        return Encoded(
            [chosen(own, stand_in) for own, stand_in in zip(self.levels, other.levels, strict=True)],
            chosen(self.present, other.present),
            self.modalities,
            None if self.images is None or other.images is None else chosen(self.images, other.images),
            None if self.logits is None or other.logits is None else chosen(self.logits, other.logits),
            [chosen(own, stand_in) for own, stand_in in zip(self.content, other.content, strict=True)],
        )

    def _columns(self, names: Sequence[str]) -> Tensor:
        """(M,) bool: which columns bear these names."""
        return torch.tensor([name in names for name in self.modalities], device=self.present.device)


@dataclass(frozen=True)
class Fused:
    """What is decoded.

    Attributes:
        levels: four fused features f_ma (B, C_j, H_j, W_j); none where the modalities meet at their predictions.
        logits: (B, K, H_1, W_1) of the ensemble where they do; None otherwise.
    """

    levels: list[Tensor] = field(default_factory=list)
    logits: Tensor | None = None

    def samples(self, chosen: slice) -> Fused:
        """The same for some samples of the batch."""
        return Fused([level[chosen] for level in self.levels], _part(self.logits, chosen))

    @staticmethod
    def joined(parts: Sequence[Fused]) -> Fused:
        """The samples of all parts, one after the other."""
        logits = [part.logits for part in parts if part.logits is not None]
        levels = zip(*(part.levels for part in parts), strict=True)
        return Fused([torch.cat(level) for level in levels], torch.cat(logits) if logits else None)


@dataclass(frozen=True)
class Prediction:
    """Output of a model.

    Attributes:
        logits: (B, K, H, W) float, at the size of the input images.
        fused: what was decoded.
        encoded: what was fused.
        branches: (B, M, K, H, W) float, logits of each branch of Linear Fusion at the size of the input images, columns
            in the order of the model's modalities, zero where there is no such branch; None for other fusions.
        exists: (B, M) bool, which branches there are; None for other fusions.
        hidden: the head's map before its classifier (B, C, H/4, W/4), of which a loss may want to know; only in
            training, and not with mean_predictions, whose head sees every modality alone. With linear the mean of the
            branches' maps with the weights of the ensemble, whose classification the ensemble's logits are.
        shown: (1 + S, B, M) bool, what is present and S further subsets of it, where subsets were asked for; else None.
        subset_logits: (1 + S, B, K, H/4, W/4) float, the logits of each of them at the size of the head; None alike.
    """

    logits: Tensor
    fused: Fused
    encoded: Encoded
    branches: Tensor | None = None
    exists: Tensor | None = None
    hidden: Tensor | None = None
    shown: Tensor | None = None
    subset_logits: Tensor | None = None

    def samples(self, chosen: slice) -> Prediction:
        """The same for some samples of the batch."""
        return Prediction(
            self.logits[chosen],
            self.fused.samples(chosen),
            self.encoded.samples(chosen),
            _part(self.branches, chosen),
            _part(self.exists, chosen),
            _part(self.hidden, chosen),
            None if self.shown is None else self.shown[:, chosen],
            None if self.subset_logits is None else self.subset_logits[:, chosen],
        )


def _beside(columns: Sequence[Any]) -> Tensor:
    """Tensors (B, m, C, H, W) -> (B, M, C, H, W), channels last in memory as the encoder has them."""
    return torch.cat([values.permute(0, 1, 3, 4, 2) for values in columns], dim=1).permute(0, 1, 4, 2, 3)


def _part(values: Tensor | None, chosen: slice) -> Tensor | None:
    return None if values is None else values[chosen]
