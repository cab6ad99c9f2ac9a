"""How much does one encoding for all sensor subsets save against one forward pass per subset?

    python benchmarks/miss_one_pass.py [encoder] [size] [rounds]

Prints the time ratio 15 separate forwards / one pass over all 15 subsets (above 1: one pass is faster), for the
protocol drop (absent sensors are not encoded) and zero (each forward encodes zeros for them), and the largest
difference between the logits. Both run in turns in this process. Random weights: the time does not depend on them.
"""

from __future__ import annotations

import sys
import time

import torch
from torch import Tensor

from any2seg_core.evaluation.batches import EvaluationBatch
from any2seg_core.evaluation.subsets import STAND_INS, subset_logits
from any2seg_core.modalities import MODALITIES, all_subsets
from any2seg_core.models import Any2Seg, ModelConfig


def separate(model: Any2Seg, images: dict[str, Tensor], protocol: str) -> list[Tensor]:
    """Logits (B, K, h/4, w/4) of each subset from a forward of its own."""
    results = []
    for subset in all_subsets():
        if protocol == "drop":
            given = {name: images[name] for name in subset}
        else:
            given = {name: image if name in subset else torch.zeros_like(image) for name, image in images.items()}
        results.append(model.decode(model.fuse(model.encode(given))))
    return results


def one_pass(model: Any2Seg, batch: EvaluationBatch, protocol: str) -> list[Tensor]:
    """The same from one encoding of each sensor, as `any2seg evaluate` computes them."""
    return [logits for _, logits in subset_logits(model, batch, all_subsets(), STAND_INS[protocol])]


def main() -> None:
    encoder, size, rounds = ([*sys.argv[1:], *("mit_b2", "512", "3")[len(sys.argv) - 1 :]])[:3]
    torch.manual_seed(0)
    model = Any2Seg(ModelConfig(encoder=encoder)).eval()
    for stage in model.encoder.stages:  # modalities of unlike norms, so that MFF of two of them is no tie
        torch.nn.init.uniform_(stage.norm.weight, 0.2, 2.0)
        torch.nn.init.normal_(stage.norm.bias)
    images = {name: torch.randn(1, 3, int(size), int(size)) for name in MODALITIES}
    batch = EvaluationBatch(images, torch.zeros(1, int(size), int(size), dtype=torch.uint8), (0,))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {encoder} {size}x{size}, best of {rounds}")
    for protocol in STAND_INS:
        times: tuple[list[float], list[float]] = ([], [])
        with torch.inference_mode():
            for _ in range(int(rounds)):
                outputs = []
                for function, argument, kept in zip((separate, one_pass), (images, batch), times, strict=True):
                    start_s = time.perf_counter()
                    outputs.append(function(model, argument, protocol))
                    kept.append(time.perf_counter() - start_s)
        difference = max(float((a - b).abs().max()) for a, b in zip(*outputs, strict=True))
        scale = max(float(a.abs().max()) for a in outputs[0])
        many_s, one_s = map(min, times)
        print(
            f"{protocol}: 15 forwards {many_s:.2f} s, one pass {one_s:.2f} s, ratio {many_s / one_s:.1f}; "
            f"largest difference of logits {difference:.1e} of {scale:.1f}"
        )


if __name__ == "__main__":
    main()
