"""Networks of others on the same frame, and the floor: its products at the best rate of this machine."""

from __future__ import annotations

import importlib
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from any2seg_core.base.turns import ratio
from any2seg_core.bench import scene
from any2seg_core.bench.document import Row
from any2seg_core.bench.network import frame_work
from any2seg_core.bench.peers import missing
from any2seg_core.bench.workshop import Workshop, row, share
from any2seg_core.models.mit import VARIANTS

_PRODUCTS = "products at the best rate"


def peers(shop: Workshop) -> Iterator[Row | str]:
    """One frame of all sensors: ours, the peers', and what its products alone would take."""
    model = shop.torch_model()[0]
    if model.config.encoder.removeprefix("mit_") not in VARIANTS:
        yield "networks of others are compared with checkpoints of a MiT on PyTorch"
        return
    if shop.settings.device != "cpu":
        yield "networks of others are compared on the processor"
        return
    contract, encoder = shop.contract, model.config.encoder
    planes = scene.planes(contract, shop.random())
    images = {name: torch.randn(1, 3, contract.height, contract.width) for name in contract.modalities}
    classes = len(contract.label_space)
    own = shop.letters
    works: dict[str, Callable[[], object]] = {own: frame_work(shop.predictor, contract.modalities, planes)}
    others = {"SegFormer per sensor": segformer(encoder, classes, images)}
    checkout = shop.settings.cmnext
    others["CMNeXt"] = _NO_CMNEXT if checkout is None else cmnext(checkout, encoder, classes, images)
    for name, found in others.items():
        if isinstance(found, str):
            yield found
        else:
            works[name] = found
    rates = {f"products by {name}": work for name, work in rate_of_products().items()}
    times = shop.time("networks of others", works | {name: work for name, (work, _) in rates.items()})
    yield row(own, times[own], peers={name: times[name] for name in works if name != own})
    for name in list(works)[1:]:
        yield row(name, times[name])
    best = 0.0
    for name, (_, gflop) in rates.items():
        rate = gflop / min(times[name].cpu_s)
        best = max(best, rate)
        yield Row(case=name, unit="GFLOP/s", median=round(gflop / statistics.median(times[name].cpu_s), 1),
                  least=round(rate, 1), turns=len(times[name].cpu_s))  # fmt: skip
    needed = network_gflop(model.eval(), images)
    floor_s = needed / best
    floor = share(ratio(times[own].cpu_s, [floor_s] * len(times[own].cpu_s)))
    yield row(f"{own}, against its {needed:.1f} GFLOP at {best:.0f} GFLOP/s", times[own]).model_copy(
        update={"shares": {_PRODUCTS: floor}}
    )


_NO_CMNEXT = "CMNeXt is not compared: git clone https://github.com/jamycheung/DELIVER, then --cmnext DELIVER"


def segformer(encoder: str, classes: int, images: dict[str, Any]) -> Callable[[], object] | str:
    """SegFormer of Hugging Face with this MiT, random weights, once per sensor, to labels at a quarter of the size."""
    try:
        transformers = importlib.import_module("transformers")
    except ImportError:
        return missing("transformers", "Hugging Face's SegFormer")
    variant = VARIANTS[encoder.removeprefix("mit_")]
    config = transformers.SegformerConfig(
        hidden_sizes=list(variant.widths), depths=list(variant.depths), num_labels=classes,
        decoder_hidden_size=256 if encoder in ("mit_b0", "mit_b1") else 768,
    )  # fmt: skip
    model = transformers.SegformerForSemanticSegmentation(config).eval()

    @torch.inference_mode()
    def run() -> list[Any]:
        return [model(pixel_values=image).logits.argmax(dim=1) for image in images.values()]

    return run


def cmnext(folder: Path, encoder: str, classes: int, images: dict[str, Any]) -> Callable[[], object] | str:
    """CMNeXt's published code, random weights, on four sensors; a note where it cannot be imported.

    Args:
        folder: checkout of github.com/jamycheung/DELIVER. images: of four sensors, (1, 3, h, w) each.
    """
    if len(images) != 4:
        return f"CMNeXt takes four sensors, this model has {len(images)}: not compared"
    try:
        with _published_code(folder):
            module = importlib.import_module("semseg.models.cmnext")
            name = encoder.replace("mit_b", "CMNeXt-B")
            model = module.CMNeXt(name, classes, ["img", "depth", "event", "lidar"]).eval()
        given = list(images.values())
        with torch.inference_mode():
            model(given)
    except Exception as error:  # code of others: whatever it raises, the measurement goes on without it
        return f"CMNeXt: {folder} does not run here ({type(error).__name__}: {error}): not compared"

    @torch.inference_mode()
    def run() -> Any:
        return model(given).argmax(dim=1)

    return run


class _Idle(torch.nn.Module):
    """Stands for what a trained network does not compute: a path that is dropped in training, a first weight."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def forward(self, features: Any) -> Any:
        return features


class _Absent(ModuleType):
    """Stands for a package that the published files import, and the network in use does not run."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "build_norm_layer":  # of mmcv; CMNeXt asks it for batch normalisation alone
            return lambda config, width: ("bn", torch.nn.BatchNorm2d(width))
        return type(name, (_Idle,), {})


_NOT_RUN = ("einops", "fvcore", "fvcore.nn", "mmcv", "mmcv.cnn", "tabulate", "timm", "timm.models",
            "timm.models.layers", "torchvision", "torchvision.ops")  # fmt: skip


@contextmanager
def _published_code(folder: Path) -> Iterator[None]:
    """`semseg` of a checkout can be imported meanwhile, without its data sets, whose packages few have."""
    before = dict(sys.modules)
    for package, place in (("semseg", folder / "semseg"), ("semseg.models", folder / "semseg" / "models")):
        if not place.is_dir():
            raise ImportError(f"no folder {place}")
        module = ModuleType(package)
        module.__path__ = [str(place)]
        sys.modules[package] = module
    for name in _NOT_RUN:
        try:
            importlib.import_module(name)
        except ImportError:
            sys.modules[name] = _Absent(name)
    try:
        yield
    finally:
        for name in set(sys.modules) - set(before):
            if name.split(".")[0] == "semseg" or name in _NOT_RUN:
                del sys.modules[name]


def rate_of_products(side: int = 1024) -> dict[str, tuple[Callable[[], object], float]]:
    """Products of two square float32 matrices by each library that is there: what is timed, and its GFLOP."""
    rng = np.random.default_rng(0)
    left, right = (rng.normal(size=(side, side)).astype(np.float32) for _ in range(2))
    gflop = 2 * side**3 / 1e9
    found: dict[str, tuple[Callable[[], object], float]] = {"NumPy": (lambda: left @ right, gflop)}
    first, second = torch.from_numpy(left), torch.from_numpy(right)
    found["PyTorch"] = (lambda: first @ second, gflop)
    return found


def network_gflop(model: Any, images: dict[str, Any]) -> float:
    """Products and convolutions of one frame, two operations per multiplication, by PyTorch's own counter."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.decode(model.fuse(model.encode(images)))
    return counter.get_total_flops() / 1e9
