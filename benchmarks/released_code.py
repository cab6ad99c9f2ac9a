"""How far is this code from what others have released? Figures of docs/methods.md, "Differences to released code".

    python benchmarks/released_code.py [--size 256] [--seeds 3]

Released formulas are written out here from their sources: M3L (01ce42a), DELIVER's OHEM (CMNeXt), AGMM-SASS (6a60ea0)
and the MUSES SDK. Weights are random, images are noise of 16 x 16 cells: what differs, and how much, not who is better.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from torch import Tensor

from any2seg_core.losses.gaussian_mixture import GaussianMixtureConfig, gaussian_mixture, self_loss
from any2seg_core.losses.segmentation import OhemCrossEntropy
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.models.linear import LinearFusion
from any2seg_core.vocabulary.labels import IGNORE, NOT_ANNOTATED

_CELLS = 16


def model_like_m3l(seed: int, **options: object) -> Any2Seg:
    """MiT-B0, Linear Fusion of two sensors, 25 classes."""
    torch.manual_seed(seed)
    shape = ModelConfig(fusion="linear", modalities=("rgb", "depth"), **options)
    return Any2Seg(shape).eval()


def images(seed: int, size: int) -> dict[str, Tensor]:
    """Noise (2, 3, H, W) of large cells, which a resize does not smooth away."""
    generator = torch.Generator().manual_seed(seed)
    small = {name: torch.randn(2, 3, _CELLS, _CELLS, generator=generator) for name in ("rgb", "depth")}
    return {name: F.interpolate(image, (size, size), mode="nearest") for name, image in small.items()}


@torch.no_grad()
def other_labels(seed: int, size: int, **options: object) -> float:
    """Percent of the pixels that get another label with these options of the model config."""
    plain, changed = model_like_m3l(seed), model_like_m3l(seed, **options)
    changed.load_state_dict(plain.state_dict())
    labels = [model(images(seed, size)).logits.argmax(dim=1) for model in (plain, changed)]
    return 100 * float((labels[0] != labels[1]).float().mean())


def ohem(seed: int, size: int) -> tuple[float, float]:
    """OHEM with class weights: the released mean and ours."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 25, size, size, generator=generator)
    labels = torch.randint(0, 25, (2, size, size), generator=generator)
    weights = torch.rand(25, generator=generator) + 0.5
    loss = F.cross_entropy(logits, labels, weights, reduction="none").flatten()
    kept = loss[loss > -np.log(0.7)]  # mined, and divided by their number, after weighting
    return float(kept.mean()), float(OhemCrossEntropy(0.7, weights)(logits, labels))


@torch.no_grad()
def mixtures(seed: int, size: int) -> tuple[float, float, float]:
    """AGMM beside the padding of a crop: mean |G - G released| within 4 pixels of it, and elsewhere; L_self apart."""
    model = model_like_m3l(seed)
    given = images(seed, size)
    edge = 5 * size // 8 + 2
    for image in given.values():
        image[..., edge:] = 0.0  # a crop beyond the image, as padded
    assert isinstance(model.fusion, LinearFusion)
    levels = model.encoder(given["rgb"], model.fusion.rows(torch.tensor([[True, False]] * 2)))
    features, logits = model.head.hidden(levels), model.head(levels)
    logits = F.interpolate(logits, (size, size), mode="bilinear")
    generator = torch.Generator().manual_seed(seed)
    labels = torch.full((2, size, size), NOT_ANNOTATED)
    clicks = torch.randint(0, edge, (2, 60, 2), generator=generator)
    for b in range(2):
        labels[b, clicks[b, :, 0], clicks[b, :, 1]] = torch.randint(0, 5, (60,), generator=generator)
    labels[:, :, edge:] = IGNORE
    mixture = gaussian_mixture(features, logits, labels, GaussianMixtureConfig(sigma="unit"))
    density = F.interpolate(mixture.density, (size, size), mode="bilinear")  # (B, J, H, W), as our loss enlarges it
    large = F.interpolate(features, (size, size), mode="bilinear")  # the released order: features are enlarged
    own = mixture.prototypes.gather(1, mixture.classes[:, :, None].expand(-1, -1, large.shape[1]))  # (B, J, C)
    distance = torch.stack([(large - p[:, :, None, None]).abs().mean(dim=1) for p in own.unbind(1)], dim=1)
    released = (-distance.square()).exp()
    apart = (density - released).abs().mean(dim=1)  # (B, H, W)
    probability = logits.softmax(dim=1)
    own_probability = probability.gather(1, mixture.classes[:, :, None, None].expand(-1, -1, size, size))
    terms = [float(self_loss(own_probability, each, mixture.exists, labels)) for each in (density, released)]
    beside, elsewhere = apart[:, :, edge - 4 : edge], apart[:, :, : edge - 4]
    return float(beside.mean()), float(elsewhere.mean()), 100 * abs(terms[0] / terms[1] - 1)


def muses_planes(seed: int) -> tuple[float, float, float]:
    """MUSES' own projection beside ours: percent of points at another pixel, range apart in metres: mean, largest."""
    rng = np.random.default_rng(seed)
    camera = rng.uniform([-20, -2, 4], [20, 3, 60], (100_000, 3))  # x right, y down, z forward, metres
    lidar_at = np.array([0.0, -0.5, -0.6])  # above and behind the camera
    pixels = 1500.0 * camera[:, :2] / camera[:, 2:] + [960.0, 540.0]
    apart = np.abs(np.linalg.norm(camera - lidar_at, axis=1) - np.linalg.norm(camera, axis=1))
    other = (pixels.astype(int) != np.floor(pixels + 0.5)).any(axis=1)
    return 100 * float(other.mean()), float(apart.mean()), float(apart.max())


def main(
    size: Annotated[int, typer.Option(help="Side of the images, a multiple of 64.")] = 256,
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions.")] = 3,
) -> None:
    """Print one line per difference; ranges are over the seeds."""
    for what, options in (
        ("logits enlarged with align_corners", {"align_corners": True}),
        ("LayerNorm eps 1e-6", {"layer_norm_eps": 1e-6}),
    ):
        found = [other_labels(seed, size, **options) for seed in range(seeds)]
        print(f"{what}: {min(found):.2f} to {max(found):.2f} % other labels")
    for seed in range(seeds):
        print("OHEM with class weights: released {:.4f}, here {:.4f}".format(*ohem(seed, size)))
    for seed in range(seeds):
        beside, elsewhere, term = mixtures(seed, size)
        print(f"AGMM: G {beside:.1e} apart within 4 pixels of padding, {elsewhere:.1e} elsewhere; L_self {term:.2f} %")
    print("MUSES planes: {:.0f} % of the points at another pixel, range {:.2f} m apart, at most {:.2f}".format(
        *muses_planes(0)))  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
