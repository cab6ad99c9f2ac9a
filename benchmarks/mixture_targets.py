"""What do AGMM's Gaussian mixtures say about the pixels that nobody has labelled?

    python benchmarks/mixture_targets.py data/drive [checkpoints/drive_b0.safetensors]

Clicks are drawn on val frames; of the other pixels whose class has a click somewhere in the image, printed are:
accuracy of the mixtures (the class of largest G), accuracy of the segmentation among the same classes, and the mean of
G for the true class and for the others, which is what L_self teaches the segmentation. With the checkpoint, and with a
model of its shape that has learnt nothing: the supplement of AGMM-SASS says that mixtures are better at the beginning.
"""

from __future__ import annotations

import sys

import torch
import torch.nn.functional as F

from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.data.catalogue import open_dataset
from any2seg_core.data.samples import Sample
from any2seg_core.data.sparse import SparseConfig, sparse_labels
from any2seg_core.evaluation.batches import spread
from any2seg_core.losses.gaussian_mixture import GaussianMixtureConfig, gaussian_mixture
from any2seg_core.models import Any2Seg
from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_core.runtime.preprocess import planes_to_tensor

FRAMES, CLICKS = 8, (20, 100)
SIGMAS = ("unit", "labelled", "predicted")


@torch.no_grad()
def figures(model: Any2Seg, images: dict[str, torch.Tensor], sample: Sample, clicks: int) -> dict[str, torch.Tensor]:
    """sigma -> accuracy of the mixtures, of the segmentation, mean G of the true class and of the others."""
    truth = torch.from_numpy(sample.labels).long()[None]  # (1, H, W)
    sparse = sparse_labels(sample.labels, sample.frame.name, SparseConfig(kind="points", count=clicks))
    labels = torch.from_numpy(sparse).long()[None]
    hidden = model.head.hidden(model.fuse(model.encode(images)).levels)
    logits = F.interpolate(model.head.classify(hidden), truth.shape[1:], mode="bilinear")
    found = {}
    for sigma in SIGMAS:
        mixture = gaussian_mixture(hidden, logits, labels, GaussianMixtureConfig(weight=1.0, sigma=sigma))
        density = F.interpolate(mixture.density, truth.shape[1:], mode="bilinear")[0]  # (J, H, W)
        classes = mixture.classes[0]  # (J,), all of them exist: there is one image
        is_true = truth == classes[:, None, None]  # (J, H, W)
        known = is_true.any(dim=0)
        own = logits[0, classes].argmax(dim=0)
        right = [(is_true.gather(0, guess[None])[0])[known].float().mean() for guess in (density.argmax(dim=0), own)]
        others = known & ~is_true
        found[sigma] = torch.stack([*right, density[is_true].mean(), density[others].mean()])
    return found


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    path = sys.argv[2] if len(sys.argv) == 3 else default_checkpoint()
    trained, contract, _ = load_checkpoint(path)
    torch.manual_seed(0)
    untrained = Any2Seg(trained.config).train()  # its BatchNorm knows no statistics yet
    frames = open_dataset("auto", sys.argv[1], "val", contract.modalities)
    print(f"{'model':10}{'clicks':>7}  {'sigma':10}{'mixtures':>9}{'segment.':>9}{'G true':>8}{'G other':>8}")
    samples = [frames[index] for index in spread(len(frames), FRAMES)]
    images = [planes_to_tensor(sample.planes, contract, "cpu") for sample in samples]
    for name, model in (("trained", trained.eval()), ("untrained", untrained)):
        for clicks in CLICKS:
            rows = [figures(model, *pair, clicks) for pair in zip(images, samples, strict=True)]
            for sigma in SIGMAS:
                mean = torch.stack([row[sigma] for row in rows]).mean(dim=0).tolist()
                print(f"{name:10}{clicks:7}  {sigma:10}{mean[0]:9.3f}{mean[1]:9.3f}{mean[2]:8.3f}{mean[3]:8.3f}")


if __name__ == "__main__":
    main()
