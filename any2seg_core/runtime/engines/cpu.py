"""The engine for processors: encoder, fusion and head in compiled code, matrix products as PyTorch has them.

The hidden map of the head, ten times as large as the rest, is never whole: it is made strip by strip in the cache.
MFF reads the features twice, and what the subsets of one set have in common once.
"""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import lru_cache
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from any2seg_core.base.threads import counting, thread_count
from any2seg_core.base.versions import __version__
from any2seg_core.kernels.fusion import (
    Products,
    cosines_where,
    global_weights,
    inner_products,
    weigh_and_select,
)
from any2seg_core.kernels.head import add_upsampled
from any2seg_core.models import Any2Seg, Encoded, Fused
from any2seg_core.models.config import MFFConfig
from any2seg_core.models.content import taking_part
from any2seg_core.models.decoder import AllMLPHead, folded
from any2seg_core.models.fusion import Fusion
from any2seg_core.models.mff import MFF
from any2seg_core.models.mff_early import MFFEarly
from any2seg_core.models.mit import to_map, to_tokens
from any2seg_core.runtime.engines.compiled_encoder import CompiledEncoder, Workspace
from any2seg_core.runtime.engines.eager import EagerEngine

_STRIP_VALUES = 1 << 17  # hidden values that are worked on at a time: half a megabyte stays in the cache


class CpuEngine(EagerEngine):
    """MiT, fusion mff and the head of every model in compiled code: equal to the model up to the rounding of sums.

    Args:
        model: in evaluation mode, on the CPU, with head and features in float32; see :meth:`fits`. Its weights are
            brought in order now: later changes are not seen.
    """

    name = "cpu"
    version = f"any2seg {__version__}"

    def __init__(self, model: Any2Seg, precision: str = "float32") -> None:
        super().__init__(model, precision)
        self._threads = thread_count()
        compiled = copy.copy(model)
        compiled._modules = dict(model._modules)  # modules of its own; the model keeps those it has
        compiled.head = cast(AllMLPHead, CompiledHead(model.head))  # it only has what an engine calls
        compiled.fusion = _compiled(model.fusion)
        if CompiledEncoder.knows(model.encoder):
            compiled.encoder = CompiledEncoder(model.encoder)
        self.model = compiled

    @staticmethod
    def fits(model: Any2Seg) -> bool:
        """Whether the model is one that this engine takes."""
        weights = next(model.head.parameters())
        plain = weights.device.type == "cpu" and weights.dtype == torch.float32
        return plain and not model.training and not torch.is_autocast_enabled("cpu")

    @contextmanager
    def computing(self) -> Iterator[None]:
        """With products on one thread: a second one gains next to nothing within a sensor, and waits by spinning."""
        with torch.inference_mode(), torch_threads(1):
            yield

    def labels(
        self, logits: Tensor, size: tuple[int, int], with_confidence: bool = True, temperature: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray | None]:
        with counting(self._threads):  # rows of pixels are shared out well, and by threads that do not spin
            return super().labels(logits, size, with_confidence, temperature)

    def encode_sensors(self, images: Mapping[str, Tensor]) -> dict[str, Encoded]:
        """On several processors each sensor on one of them: within a sensor the strips are too small to be shared out.

        One sensor goes the same way, as another number of threads could change the last bits of a product.
        """
        is_apart = self._threads > 1 and thread_count() == 1 and self._filled_rows is None
        if not is_apart or not isinstance(self.model.encoder, CompiledEncoder):
            return super().encode_sensors(images)
        is_inference = torch.is_inference_mode_enabled()

        def encode(name: str, image: Tensor) -> Encoded:
            with torch.inference_mode(is_inference), torch.no_grad():  # both belong to a thread
                return self.encode_sensor(name, image)

        pool = _sensor_threads(os.getpid(), self._threads)
        waiting = {name: pool.submit(encode, name, image) for name, image in images.items()}
        return {name: future.result() for name, future in waiting.items()}

    def fuse_subsets(self, encoded: Encoded, subsets: Iterable[Sequence[str]]) -> Iterator[Fused]:
        fusion = self.model.fusion
        mff = fusion.mff if isinstance(fusion, MFFEarly) else fusion
        if not isinstance(mff, CompiledMFF):
            yield from super().fuse_subsets(encoded, subsets)
            return
        if encoded.content:  # who takes part depends on the subset, location by location: nothing is in common
            yield from (self.fuse(encoded.keep(subset)) for subset in subsets)
            return
        products = [mff.products(level, encoded.present) for level in encoded.levels]
        for subset in subsets:
            present = encoded.keep(subset).present
            pairs = zip(encoded.levels, products, strict=True)
            fused = Fused([mff(level, present, products=shared) for level, shared in pairs])
            yield self.model.finished(fused)


@lru_cache(maxsize=1)
def _sensor_threads(process: int, count: int) -> ThreadPoolExecutor:
    """Threads of this process that compute on one processor each."""
    pool = ThreadPoolExecutor(count, "any2seg-sensor", initializer=_take_threads, initargs=(1,))
    begun = threading.Barrier(count)
    wait([pool.submit(begun.wait) for _ in range(count)])
    return pool


@lru_cache(maxsize=1)
def _other_thread(process: int) -> ThreadPoolExecutor:
    """A thread of this process that computes nothing."""
    return ThreadPoolExecutor(1, "any2seg-threads")


_TAKING = threading.Lock()


def _take_threads(count: int) -> int:
    """So many threads for the products of the calling thread; returns how many it had.

    PyTorch gives the number that it was told last, by whichever thread, to every thread that asks it for the first
    time, for ever: another thread tells it at once what it was told before.
    """
    with _TAKING:
        before = torch.get_num_threads()
        if count != before:
            torch.set_num_threads(count)
            _other_thread(os.getpid()).submit(torch.set_num_threads, before).result()
    return before


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many threads for the products of this thread; threads that begin meanwhile have as many as before."""
    before = _take_threads(count)
    try:
        yield
    finally:
        if before != count:
            torch.set_num_threads(before)


class CompiledMFF(MFF):
    """MFF with global weights and selection; with trust, or an anchor and content, as PyTorch computes it.

    Shapes:
        As of MFF. products: what :meth:`products` returned, where subsets of the same features are fused; not with
            content.
    """

    @staticmethod
    def knows(config: MFFConfig) -> bool:
        """Whether these switches have compiled code."""
        return config.select and config.weight == "global"

    def products(self, features: Tensor, present: Tensor) -> Products:
        """Of all pairs of present modalities: they give the weights of any subset."""
        return inner_products(_rows(features), present.numpy())

    def forward(
        self,
        features: Tensor,
        present: Tensor,
        anchor: Tensor | None = None,
        content: Tensor | None = None,
        trust: Tensor | None = None,
        products: Products | None = None,
    ) -> Tensor:
        if trust is not None or (anchor is not None and content is not None):
            return super().forward(features, present, anchor, content, trust)
        rows, there, config = _rows(features), present.numpy(), self.config
        scale = 0.5 if config.residual and config.unit_scale else 1.0
        factors = (scale if config.residual else 0.0), scale
        if content is not None:
            fused = self._fused_where(rows, taking_part(present, content).flatten(2).numpy(), factors)
            return to_map(torch.from_numpy(fused), *features.shape[3:])  # (B, C, H, W)
        products = inner_products(rows, there) if products is None else products
        if config.reweight and anchor is not None:
            weights = _weights_of_anchor(rows, there, _rows(anchor[:, None]), config.unit_scale)
        elif config.reweight:
            weights = global_weights(products.whole, there, config.unit_scale)
        else:
            weights = (there / there.sum(axis=1, keepdims=True)).astype(np.float32)  # (B, M)
        fused = weigh_and_select(rows, there, weights, products.local, *factors, config.select_temperature)
        return to_map(torch.from_numpy(fused), *features.shape[3:])  # (B, C, H, W)

    def _fused_where(self, rows: np.ndarray, there: np.ndarray, factors: tuple[float, float]) -> np.ndarray:
        """rows (B, M, N, C), there (B, M, N) bool -> (B, N, C)."""
        shares = there.astype(np.float32)  # (B, M, N)
        weights = cosines_where(rows, there)[..., None] if self.config.reweight else np.float32(1.0)
        if self.config.reweight and self.config.unit_scale:
            shares, weights = shares * np.exp(weights), np.float32(1.0)
        weights = weights * shares / shares.sum(axis=1, keepdims=True)
        products = inner_products(rows, np.asarray(there.any(axis=2))).local
        return weigh_and_select(rows, there, weights, products, *factors, self.config.select_temperature)


def _compiled(fusion: Fusion) -> Fusion:
    """The same fusion, with MFF in compiled code where it is part of it and has any."""
    if isinstance(fusion, MFFEarly):
        early = copy.copy(fusion)
        early._modules = {"mff": _compiled(fusion.mff)}
        return early
    return CompiledMFF(fusion.config) if type(fusion) is MFF and CompiledMFF.knows(fusion.config) else fusion


def _rows(features: Tensor) -> np.ndarray:
    """(B, M, C, H, W) -> (B, M, N, C) in C order: a view where the encoder left channels last."""
    return features.permute(0, 1, 3, 4, 2).contiguous().numpy().reshape(*features.shape[:2], -1, features.shape[2])


def _weights_of_anchor(rows: np.ndarray, there: np.ndarray, anchor: np.ndarray, unit_scale: bool) -> np.ndarray:
    """(B, M) float32 of rows (B, M, N, C) by their cosine with an anchor (B, 1, N, C); 0 where not there."""
    share = there / there.sum(axis=1, keepdims=True)  # (B, M)
    tokens, other = rows.reshape(*there.shape, -1), anchor.reshape(len(anchor), -1, 1)
    norms = np.linalg.norm(tokens, axis=2) * np.linalg.norm(other, axis=1)
    cosine = (tokens @ other)[..., 0] / np.maximum(norms, np.float32(1e-8))
    cosine = np.where(there, cosine, 0.0)  # values of absent sensors are never read
    if unit_scale:
        raised = np.exp(cosine - cosine.max(axis=1, keepdims=True)) * there
        return (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)
    return (cosine * share).astype(np.float32)


class CompiledHead(nn.Module):
    """The head of a trained model, folded once.

    Shapes:
        levels 4 x (B, C_j, H_j, W_j) float32 -> logits (B, K, H_1, W_1).
    """

    @torch.no_grad()
    def __init__(self, head: AllMLPHead) -> None:
        super().__init__()
        self._rectified = head.rectified
        weights, self._bias = folded(head)
        self._weights = [weight.t().contiguous() for weight in weights]  # (C_j, C)
        assert head.classifier.bias is not None
        self._classify, self._offset = head.classifier.weight.detach()[:, :, 0, 0].t(), head.classifier.bias.detach()
        self._space = Workspace()

    def forward(self, levels: list[Tensor]) -> Tensor:
        height, width = levels[0].shape[-2:]
        tokens = [to_tokens(level).contiguous() for level in self._rectified(levels)]  # 4 x (B, N_j, C_j)
        logits = tokens[0].new_empty(*tokens[0].shape[:2], len(self._offset))  # (B, N, K)
        for b in range(len(logits)):
            maps = [self._coarse(j, tokens[j][b], levels[j].shape[-2:]) for j in range(1, len(levels))]
            self._classified(tokens[0][b], width, maps, logits[b])
        return to_map(logits, height, width)  # (B, K, H, W)

    def _coarse(self, j: int, tokens: Tensor, size: Sequence[int]) -> np.ndarray:
        """One of the levels that are upsampled, (N_j, C_j) -> (H_j, W_j, C)."""
        mixed = self._space.room(f"level {j}", len(tokens), len(self._bias))
        torch.mm(tokens, self._weights[j], out=mixed)
        if j == len(self._weights) - 1:
            mixed += self._bias  # with the smallest map: what is upsampled is a mean, so it arrives everywhere
        return mixed.view(*size, -1).numpy()

    def _classified(self, finest: Tensor, width: int, maps: list[np.ndarray], logits: Tensor) -> None:
        """Finest level (N, C_1) and the maps of the coarser ones -> logits (N, K)."""
        height = len(finest) // width
        rows = max(1, _STRIP_VALUES // (width * len(self._bias)))
        strip = self._space.room("strip", rows * width, len(self._bias))  # (n, C)
        for row in range(0, height, rows):
            part = slice(row * width, min(row + rows, height) * width)
            hidden = strip[: part.stop - part.start]
            torch.mm(finest[part], self._weights[0], out=hidden)
            add_upsampled(hidden.numpy(), row, (height, width), maps)
            torch.addmm(self._offset, hidden, self._classify, out=logits[part])
