"""From planes to labels: by number of sensors, size, frames at once and precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.fixed_arrays import fixed
from any2seg_core.bench import scene
from any2seg_core.bench.document import Row
from any2seg_core.bench.workshop import Workshop, row
from any2seg_core.runtime.feature_memory import FeatureMemory
from any2seg_core.runtime.predictor import Predictor

_SIZES, _QUICK_SIZES = (128, 256, 384, 512), (128, 256)
_FASTER = 3  # the camera's rate over that of the others
_BATCHES, _QUICK_BATCHES = (1, 2, 4, 8), (1, 2)


def frame_work(predictor: Predictor, names: tuple[str, ...], planes: dict[str, np.ndarray]) -> Callable[[], object]:
    """One frame of these sensors to labels, without confidence."""
    return partial(predictor, {name: planes[name] for name in names}, with_confidence=False)


def sensors(shop: Workshop) -> Iterator[Row | str]:
    """Each sensor alone, and more and more of them in canonical order; all of them against the camera alone."""
    predictor, suite, names = shop.predictor, shop.contract.suite, shop.contract.modalities
    planes = scene.planes(shop.contract, shop.random())
    growing = [names[:count] for count in range(1, len(names) + 1)]
    subsets = [*((name,) for name in names), *growing[1:]]
    works = {suite.subset_letters(subset): frame_work(predictor, subset, planes) for subset in subsets}
    found = shop.time("each number of sensors", works)
    for subset in subsets:
        letters = suite.subset_letters(subset)
        peers = {} if subset == names else {shop.letters: found[shop.letters]}
        line = "in canonical order" if subset in growing else "one sensor alone"
        yield row(letters, found[letters], shop.clock, line, len(subset), peers)


def size(shop: Workshop) -> Iterator[Row | str]:
    """All sensors, and the camera alone."""
    if shop.is_exported:
        yield "an exported folder has one size: give its checkpoint"
        return
    for side in _QUICK_SIZES if shop.settings.quick else _SIZES:
        predictor = shop.predictor_of(shop.settings.precision, side, shop.settings.runtime)
        suite, names = predictor.contract.suite, predictor.contract.modalities
        planes = scene.planes(predictor.contract, shop.random())
        subsets = {suite.subset_letters(subset): subset for subset in (names, (suite.camera,))}
        works = {letters: frame_work(predictor, subset, planes) for letters, subset in subsets.items()}
        for letters, times in shop.time(f"{side}x{side}", works).items():
            yield row(f"{letters} {side}x{side}", times, shop.clock, letters, side)


def batch(shop: Workshop) -> Iterator[Row | str]:
    """Images to logits of several frames at once, per frame, as `any2seg evaluate` computes them."""
    if shop.is_exported:
        yield "an exported folder is measured frame by frame"
        return
    engine, contract = shop.predictor.engine, shop.contract
    with engine.computing():
        images = engine.images(scene.planes(contract, shop.random()), contract)
    works = {}
    counts = _QUICK_BATCHES if shop.settings.quick else _BATCHES
    for count in counts:
        several = {name: image.repeat(count, 1, 1, 1) for name, image in images.items()}  # (B, 3, h, w)
        works[str(count)] = partial(_logits, engine, several)
    for name, times in shop.time("frames at once", works).items():
        yield row(name, times, shop.clock, shop.letters, int(name), per=int(name))


def _logits(engine: Any, images: dict[str, Any]) -> np.ndarray:
    with engine.computing():
        return engine.winners(engine.decode(engine.fuse(engine.encode(images))))


def precision(shop: Workshop) -> Iterator[Row | str]:
    """Both against float32, on all sensors."""
    exact = shop.predictor_of("float32", shop.settings.size, shop.settings.runtime)
    planes = scene.planes(exact.contract, shop.random())
    names = exact.contract.modalities
    works = {"float32": frame_work(exact, names, planes)}
    try:
        reduced = shop.predictor_of("bfloat16", shop.settings.size, shop.settings.runtime)
    except UserError as error:
        yield str(error)
        return
    if reduced.precision != "bfloat16":
        yield "bfloat16: this processor has no instructions for it, and would take several times as long as in float32"
    else:
        works["bfloat16"] = frame_work(reduced, names, planes)
    found = shop.time("precision", works)
    for name, times in found.items():
        yield row(name, times, shop.clock, peers={"float32": found["float32"]} if name != "float32" else {})


def runtime(shop: Workshop) -> Iterator[Row | str]:
    """Those that can be had here without minutes of work, against eager (of an exported folder the first)."""
    if shop.is_exported:
        from any2seg_core.runtime.engines.graph_runtimes import GRAPH_RUNTIMES

        names = tuple(GRAPH_RUNTIMES)
    else:
        from any2seg_core.runtime.engines.registry import ENGINES, SLOW

        names = tuple(name for name in ENGINES if name not in SLOW)
        yield f"{' and '.join(SLOW)} take minutes to make: measure one with --runtime"
    works = {}
    for name in names:
        shop.tell(name)
        try:
            predictor = shop.predictor_of("float32", shop.settings.size, name)
        except UserError as error:
            yield str(error)
            continue
        planes = scene.planes(predictor.contract, shop.random())
        works[name] = frame_work(predictor, predictor.contract.modalities, planes)
    first = next(iter(works), "")
    found = shop.time("runtimes", works)
    for name, times in found.items():
        yield row(name, times, shop.clock, peers={first: found[first]} if name != first else {})


def reuse(shop: Workshop) -> Iterator[Row | str]:
    """Sets of a camera at 30 Hz, in which the others bring something new every third time, with and without memory."""
    predictor, names = shop.predictor, shop.contract.modalities
    if not predictor.engine.encodes_alone:
        yield "this model encodes its sensors together: every set is encoded whole"
        return
    camera = shop.contract.suite.camera
    rng = shop.random()
    moments = [{name: fixed(plane) for name, plane in scene.planes(shop.contract, rng).items()} for _ in range(2)]
    sets = []
    for index in range(2 * _FASTER):
        newest = moments[index // _FASTER]
        sets.append(newest | {camera: fixed(moments[index % 2][camera].copy())})

    def stream(memory: bool) -> None:
        features = FeatureMemory() if memory else None
        for planes in sets:
            predictor(planes, with_confidence=False, features=features)

    letters = shop.contract.suite.subset_letters(names)
    works = {"encoded again": partial(stream, False), "reused": partial(stream, True)}
    found = shop.time("stream", works)
    for name, times in found.items():
        peers = {"encoded again": found["encoded again"]} if name == "reused" else {}
        yield row(f"{letters}, {name}", times, shop.clock, peers=peers, per=len(sets))
