"""Is a damaged sensor, or a picture of another world, told from what is like training?

    OMP_NUM_THREADS=1 python benchmarks/novelty.py CALIBRATED [DRIVES [FOLDER [PICTURES]]]

CALIBRATED is a checkpoint that `any2seg calibrate` has given statistics. The recordings 0, 1, ... of FOLDER
(runs/streams, as benchmarks/streams.py writes them) are read as they are, and with each fault. PICTURES is a folder of
pictures of another camera. Per fault: AUROC against the whole frames, of the novelty (Mahalanobis distance of pooled
features) and, for comparison, of the mean energy and the mean largest softmax of the sensor alone; and which share of
the frames lies beyond the limit. Last the processor time that the novelty of a frame of all sensors takes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.data.images import read_plane
from any2seg_core.faults.kinds import make_fault
from any2seg_core.faults.payloads import change_payload
from any2seg_core.runtime.novelty import novelty
from any2seg_core.runtime.predictor import Predictor

FAULTS = (
    ("blur", "rgb", "length", (0.03, 0.1, 0.3)), ("exposure", "rgb", "stops", (-5.0, -2.0, 2.0, 4.0)),
    ("beams", "lidar", "share", (0.25, 0.5, 0.8)), ("shake", "lidar", "scale", (1.0, 4.0)),
    ("noise", "event", "rate_hz", (2.0, 10.0, 50.0)),
)  # fmt: skip
EVERY, FIRST = 13, 5  # of the sets of a recording
WHOLE = "as recorded"
SCORES = ("novelty", "energy", "softmax")


def scores(predictor: Predictor, name: str, plane: np.ndarray) -> tuple[float, ...]:
    """Of one plane alone, larger where it is stranger."""
    engine, contract = predictor.engine, predictor.contract
    with engine.computing():
        encoded = engine.encode(engine.images({name: plane}, contract))
        logits = engine.array(engine.decode(engine.fuse(encoded)))[0]
        found = novelty(engine.pooled(encoded), contract.feature_statistics)[name]
    top = logits.max(axis=0)
    total = np.exp(logits - top).sum(axis=0)
    return found, -float((top + np.log(total)).mean()), -float((1.0 / total).mean())


def planes(bag: Path, predictor: Predictor, rng: np.random.Generator) -> Iterator[tuple[str, str, np.ndarray]]:
    """(what was done, sensor, plane) of some sets of a recording."""
    with open_bag(bag, BagOptions(suite=predictor.contract.suite)) as opened:
        frames = opened.frames(predictor.contract.event_window_ns)
        for index, found in enumerate(opened.sets(predictor.contract.event_window_ns)):
            if index % EVERY != FIRST:
                continue
            place = found.stamp_ns, found.sample_set.offsets_ns
            for name, plane in found.frame().planes.items():
                yield WHOLE, name, plane
            for kind, name, parameter, values in FAULTS:
                for value in values if name in found.payloads else ():
                    fault = make_fault(kind, predictor.contract.suite, sensors=(name,), **{parameter: value})
                    changed = [change_payload(message, fault, rng)
                               for message in map(_decoded, found.payloads[name])]  # fmt: skip
                    frames.reset()
                    for _, plane in frames.build({name: changed}, *place).planes.items():
                        yield f"{kind} {value:g}", name, plane


def _decoded(payload: object) -> object:
    """The message of a payload that is read when it is used."""
    return payload.recorded.value if hasattr(payload, "recorded") else payload


def auroc(usual: np.ndarray, strange: np.ndarray) -> float:
    """Share of the pairs in which the strange one has the larger score; equal ones count half."""
    pairs = strange[:, None] - usual[None]
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def main() -> None:
    predictor = Predictor.load(Path(sys.argv[1]))
    drives = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    folder = Path(sys.argv[3]) if len(sys.argv) > 3 else Path("runs/streams")
    found: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for drive in range(drives):
        for what, name, plane in planes(folder / str(drive), predictor, np.random.default_rng(drive)):
            found.setdefault((name, what), []).append(scores(predictor, name, plane))
    for path in sorted(Path(sys.argv[4]).iterdir()) if len(sys.argv) > 4 else ():
        picture = read_plane(path)
        found.setdefault(("rgb", "other pictures"), []).append(scores(predictor, "rgb", picture))
    print(f"| sensor, fault | frames | {' | '.join(f'AUROC {score}' for score in SCORES)} | beyond the limit, % |")
    print("|---|---:|---:|---:|---:|---:|")
    for (name, what), rows in sorted(found.items()):
        usual, strange = np.array(found[name, WHOLE]), np.array(rows)
        shares = " | ".join(f"{auroc(usual[:, k], strange[:, k]):.2f}" for k in range(len(SCORES)))
        print(f"| {name}, {what} | {len(rows)} | {shares} | {100 * (strange[:, 0] > 1.0).mean():.0f} |")
    engine, contract = predictor.engine, predictor.contract
    dark = dict.fromkeys(contract.modalities, np.full((contract.height, contract.width, 3), 99, np.uint8))
    with engine.computing():
        encoded, begin_s = engine.encode(engine.images(dark, contract)), time.process_time()
        for _ in range(50):
            novelty(engine.pooled(encoded), contract.feature_statistics)
    print(f"\nnovelty of a frame: {1e3 * (time.process_time() - begin_s) / 50:.2f} ms")


if __name__ == "__main__":
    main()
