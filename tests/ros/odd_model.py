"""The real node with a model stand-in that is told at run time what to do, as a process of its own.

    python odd_model.py CONTROL.json [--cameras a,b] --ros-args ...

CONTROL.json holds {"delay_s": 0.5, "fail": false, "real": false, "not_finite": false}; without the file the stand-in
costs nothing and never fails. With "real" the checkpoint's own model is run; "not_finite" makes its logits NaN.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from any2seg_core.models import Any2Seg
from any2seg_core.runtime.predictor import Predictor, Segmentation
from any2seg_core.vocabulary.modalities import VEHICLE


def stand_in(control: Path):
    """A call of the Predictor that gives every pixel class 6, after the wished delay."""

    real, decode = Predictor.__call__, Any2Seg.decode

    def call(self, samples, rig=None, stamp_ns=0, size=None, **options):
        wish = json.loads(control.read_text()) if control.exists() else {}
        time.sleep(wish.get("delay_s", 0.0))
        if wish.get("fail"):
            raise RuntimeError("the model fails as it was told to")
        if wish.get("real"):
            Any2Seg.decode = nowhere if wish.get("not_finite") else decode
            return real(self, samples, rig, stamp_ns, size, **options)
        height, width = size if size is not None else next(iter(samples.values())).shape[:2]
        labels, confidence = np.full((height, width), 6, np.uint8), np.full((height, width), 0.75, np.float32)
        return Segmentation(labels, confidence, VEHICLE.canonical(samples))

    def nowhere(self, *arguments):
        return torch.full_like(decode(self, *arguments), torch.nan)

    return call


if __name__ == "__main__":
    Predictor.__call__ = stand_in(Path(sys.argv.pop(1)))
    if "--cameras" in sys.argv:
        from any2seg_ros.segment_cameras import main
    else:
        from any2seg_ros.segment_node import main
    main(sys.argv)
