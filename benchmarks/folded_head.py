"""How much does the folded all-MLP head save against the published order of the same computation?

    python benchmarks/folded_head.py

Prints the time ratio folded / unfolded (below 1 is faster) for MiT-B0 and B2 widths; both run in turns in this process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

from any2seg_core.models.decoder import AllMLPHead
from any2seg_core.models.mit import VARIANTS
from any2seg_core.runtime.engines.cpu import CompiledHead

ROUNDS = 15


def unfolded(head: AllMLPHead, levels: list[torch.Tensor]) -> torch.Tensor:
    """Project, upsample, concatenate coarsest first, fuse, norm, classify: SegFormer's own order."""
    size = levels[0].shape[-2:]
    projected = []
    layers = [layer for layer in head.projections if isinstance(layer, torch.nn.Linear)]
    for layer, level in zip(layers, levels, strict=True):
        mapped = F.conv2d(level, layer.weight[:, :, None, None], layer.bias)  # (B, C, H, W)
        projected.append(F.interpolate(mapped, size, mode="bilinear", align_corners=False))
    return head.classifier(F.relu(head.norm(head.fuse(torch.cat(projected[::-1], dim=1)))))


def median_times_s(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Medians of ROUNDS runs in turns, so that both see the same machine."""
    times: tuple[list[float], list[float]] = ([], [])
    for round_ in range(ROUNDS + 2):
        for function, kept in zip((first, second), times, strict=True):
            start_s = time.perf_counter()
            function()
            if round_ >= 2:
                kept.append(time.perf_counter() - start_s)
    own, peer = (sorted(kept)[ROUNDS // 2] for kept in times)
    return own, peer


def main() -> None:
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {ROUNDS}")
    for variant, size in (("b0", 64), ("b2", 64), ("b2", 128)):
        widths = VARIANTS[variant].widths
        head = AllMLPHead(widths, 25).eval()
        compiled = CompiledHead(head)
        levels = [torch.randn(1, c, size >> j, size >> j) for j, c in enumerate(widths)]
        with torch.inference_mode():
            difference = (compiled(levels) - unfolded(head, levels)).abs().max().item()
            folded_s, unfolded_s = median_times_s(partial(compiled, levels), partial(unfolded, head, levels))
        print(
            f"{variant} {size}x{size}: folded / unfolded = {folded_s / unfolded_s:.2f} "
            f"({folded_s * 1e3:.1f} / {unfolded_s * 1e3:.1f} ms), largest difference {difference:.1e}"
        )


if __name__ == "__main__":
    main()
