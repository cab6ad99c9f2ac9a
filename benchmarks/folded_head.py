"""How much does the folded all-MLP head save against the published order of the same computation?

    python benchmarks/folded_head.py

Prints the time ratio folded / unfolded (below 1 is faster) for MiT-B0 and B2 widths; both run in turns in this process.
"""

from __future__ import annotations

import statistics
from functools import partial

import torch
import torch.nn.functional as F

from any2seg_core.base.turns import in_turns, ratio
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


def main() -> None:
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {ROUNDS}")
    for variant, size in (("b0", 64), ("b2", 64), ("b2", 128)):
        widths = VARIANTS[variant].widths
        head = AllMLPHead(widths, 25).eval()
        compiled = CompiledHead(head)
        levels = [torch.randn(1, c, size >> j, size >> j) for j, c in enumerate(widths)]
        with torch.inference_mode():
            difference = (compiled(levels) - unfolded(head, levels)).abs().max().item()
            works = {"folded": partial(compiled, levels), "unfolded": partial(unfolded, head, levels)}
            folded, own_order = in_turns(works, ROUNDS, 2).values()
        print(
            f"{variant} {size}x{size}: folded / unfolded = {ratio(folded.cpu_s, own_order.cpu_s)}, "
            f"{statistics.median(folded.cpu_s) * 1e3:.1f} ms, largest difference {difference:.1e}"
        )


if __name__ == "__main__":
    main()
