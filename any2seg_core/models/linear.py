"""Linear Fusion (Maheshwari et al., M3L, WACV 2024, section 3.2), for any number of modalities and any subset of them.

Each modality runs through the same encoder with norms of its own. After the attention of every block the streams of a
sample are mixed (Eq. 5), and the head predicts from each of them; the result is a weighted mean of these branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from any2seg_core.base.errors import UserError
from any2seg_core.models.config import LinearFusionConfig, ModelConfig
from any2seg_core.models.fusion import EncodedTogether, Network, Resize
from any2seg_core.models.mit import Block, MixTransformer, to_map, to_tokens
from any2seg_core.models.outputs import Encoded, Fused, Prediction


class ModalityNorm(nn.ModuleDict):
    """One LayerNorm over channels per modality.

    Shapes:
        tokens (R, N, C), rows in the order of the modalities, and how many rows each modality has -> (R, N, C).
    """

    def __init__(self, modalities: Sequence[str], width: int, eps: float = 1e-5) -> None:
        super().__init__({name: nn.LayerNorm(width, eps) for name in modalities})

    def forward(self, tokens: Tensor, counts: list[int]) -> Tensor:
        parts = list(zip(self.values(), tokens.split(counts), strict=True))
        if not torch.is_grad_enabled():  # in training a norm without any row takes part, for a gradient of zero
            parts = [(norm, part) for norm, part in parts if len(part)]
        normed = [norm(part) for norm, part in parts]
        return normed[0] if len(normed) == 1 else torch.cat(normed)


class LinearRows:
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
        if self._tokens is None or self._given is None:
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


class LinearMiT(MixTransformer):
    """The encoder of Linear Fusion: a MiT with a norm per modality, whose streams are mixed after every attention.

    Args:
        variant, drop_path: as of a MiT.
        modalities: names, M of them.
        eps: of the norms.

    Shapes:
        images of the streams (R, 3, H, W) -> four features (R, C_j, H_j, W_j); ``rows`` says which streams these are.
    """

    def __init__(self, variant: str, drop_path: float, modalities: Sequence[str], eps: float = 1e-5) -> None:
        super().__init__(variant, drop_path, norm=partial(ModalityNorm, modalities, eps=eps))

    def forward(self, images: Tensor, rows: LinearRows) -> list[Tensor]:  # type: ignore[override]  # LinearFusion has rows
        features = []
        x = images
        for number, stage in enumerate(self.stages):
            x = stage.embed.proj(x)
            height, width = x.shape[-2:]
            tokens = rows.normed(stage.embed.norm, to_tokens(x))  # (R, N, C)
            tokens = rows.filled(tokens) if number == 0 else tokens
            for block in stage.blocks:
                tokens = self._block(block, tokens, height, width, rows)
            x = to_map(rows.normed(stage.norm, tokens), height, width)  # (R, C_j, H_j, W_j)
            features.append(x)
        return features

    @staticmethod
    def _block(block: Block, x: Tensor, height: int, width: int, rows: LinearRows) -> Tensor:
        """As `Block.forward`, with Eq. 5 between attention and residual sum."""
        normed = rows.normed(block.norm1, x)  # (R, N, C)
        reduced = normed
        if block.attn.reduction > 1:
            reduced = rows.normed(block.attn.norm, block.attn.reduced(normed, height, width))  # (R, N', C)
        x = x + block.drop_path(rows.mixed(block.attn.attend(normed, reduced)))
        return x + block.drop_path(block.mlp(rows.normed(block.norm2, x), height, width))


class LinearFusion(EncodedTogether):
    """Linear Fusion: which streams run, their learned tokens, and the ensemble of the branches.

    Args:
        config: switches.
        modalities: names, M of them.
        width: channels of the first level, C.

    Shapes:
        branches (B, M, K, h, w) logits, exists (B, M) bool -> ensemble (B, K, h, w).
    """

    def __init__(self, config: LinearFusionConfig, modalities: Sequence[str], width: int) -> None:
        super().__init__(tuple(modalities))
        self.config = config
        if config.ensemble == "trainable":
            self.weight = nn.Parameter(torch.zeros(len(modalities)))
        if config.absent == "token":
            self.tokens = nn.ParameterDict({name: nn.Parameter(torch.randn(width)) for name in modalities})

    @classmethod
    def of(cls, config: ModelConfig, widths: tuple[int, ...]) -> LinearFusion:
        return cls(config.linear, config.modalities, widths[0])

    @classmethod
    def make_encoder(cls, config: ModelConfig, drop_path: float) -> LinearMiT:
        for name in config.modalities:
            if hasattr(nn.ModuleDict, name):  # its norms are parts of a module that are found by name
                raise UserError(
                    f"fusion=linear cannot have a sensor named {name}: call it otherwise", "model-unsuitable"
                )
        variant = config.encoder.removeprefix("mit_")
        return LinearMiT(variant, drop_path, config.modalities, config.layer_norm_eps)

    def fuse(self, network: Network, encoded: Encoded, anchor: list[Tensor] | None = None) -> Fused:
        levels, rows = self._streams(network, encoded)
        return Fused(logits=self(rows.spread(network.head(levels)), rows.exists))

    def decode(self, network: Network, fused: Fused) -> Tensor:
        assert fused.logits is not None  # `fuse` gives them
        return fused.logits

    def predict(self, network: Network, encoded: Encoded, resize: Resize) -> Prediction:
        levels, rows = self._streams(network, encoded)
        hidden = network.head.hidden(levels)  # (R, C, H_1, W_1)
        branches = network.head.classify(hidden)  # (R, K, H_1, W_1)
        fused = self(rows.spread(branches), rows.exists)  # (B, K, H_1, W_1)
        mean_hidden = self(rows.spread(hidden), rows.exists) if self.training else None  # (B, C, H_1, W_1)
        every = rows.spread(resize(branches))  # (B, M, K, H, W)
        return Prediction(resize(fused), Fused(logits=fused), encoded, every, rows.exists, mean_hidden)

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

    def _streams(self, network: Network, encoded: Encoded) -> tuple[list[Tensor], LinearRows]:
        """Four features (R, C_j, H_j, W_j) of every stream, and which streams these are."""
        images, present = self.all_modalities(encoded)
        rows = self.rows(present)
        return network.encoder(rows.gathered(images), rows), rows
