"""Run as a program in a new process: how long until a model is loaded, until its first label, and in how much memory.

    python -m any2seg_core.bench.fresh_process CHECKPOINT

Of a folder of `any2seg export` too. Prints JSON: seconds of processor time and megabytes.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from any2seg_core.base.screen import say
from any2seg_core.bench.machine import resident_mb
from any2seg_core.runtime.predictor import Predictor

_HEIGHT, _WIDTH = 97, 161


def main(path: str) -> dict[str, float]:
    """Load it and segment one camera image."""
    before_s = time.process_time()
    predictor = Predictor.load(path)
    loaded_s = time.process_time()
    camera = predictor.contract.suite.camera
    predictor({camera: np.random.default_rng(0).integers(0, 256, (_HEIGHT, _WIDTH, 3), np.uint8)})
    return {
        "load, with the packages that it imports": loaded_s - before_s,
        "first label since the start of the interpreter": time.process_time(),
        "resident memory": resident_mb(),
    }


if __name__ == "__main__":
    say(json.dumps(main(sys.argv[1])))
