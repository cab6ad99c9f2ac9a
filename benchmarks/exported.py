"""What does a fresh process save with an exported model: until it is loaded, until the first label, and in memory?

    OMP_NUM_THREADS=1 python benchmarks/exported.py runs/exported [checkpoint] [turns]

Below 1: the exported folder (`any2seg export`) needs less than the checkpoint that it was made of. Each turn is a new
process per way, in turns; processor time counts from the start of the interpreter, so that other programs on the
machine do not; printed are the medians and the ratios within the turns. The picture is one camera image of 161x97.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from any2seg_core.base.shipped import default_checkpoint

WORK = """
import json, sys, time
import numpy as np
from any2seg_core import Predictor

def resident_mb():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS"))

before_s = time.process_time()
import any2seg_core.runtime.predictor
imported_s = time.process_time()
if sys.argv[1].endswith(".safetensors"):
    import torch, any2seg_core.runtime.checkpoint, any2seg_core.runtime.engines.choice
else:
    import onnxruntime, any2seg_core.runtime.export.load
packages_s = time.process_time()
predictor = Predictor.load(sys.argv[1])
loaded_s = time.process_time()
predictor({"rgb": np.random.default_rng(0).integers(0, 256, (97, 161, 3), np.uint8)})
print(json.dumps({"load without imports, s": loaded_s - packages_s, "load with imports, s": loaded_s - before_s,
                  "first label, s": time.process_time(), "resident memory, MB": resident_mb()}))
"""


def measured(path: str) -> dict[str, float]:
    """Seconds of processor time and megabytes of a new process."""
    done = subprocess.run([sys.executable, "-c", WORK, path], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    folder = sys.argv[1]
    checkpoint = sys.argv[2] if len(sys.argv) > 2 else str(default_checkpoint())
    turns = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    for path in (folder, checkpoint):
        measured(path)  # compiled kernels and files are in their caches from here on
    pairs = [(measured(folder), measured(checkpoint)) for _ in range(turns)]
    for name in pairs[0][0]:
        ratios = sorted(exported[name] / original[name] for exported, original in pairs)
        exported, original = (statistics.median(pair[side][name] for pair in pairs) for side in (0, 1))
        print(
            f"{name}: exported {exported:.2f}, checkpoint {original:.2f}, ratio {statistics.median(ratios):.2f} "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
