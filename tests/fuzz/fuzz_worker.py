"""Runs inputs of one kind in a process of its own and reports, one JSON line each, what broke a rule.

The rules: an input ends in a result or in a UserError, within 5 s, with less than 300 MB of memory more than before.
The index of the input that runs stands in a file that the parent reads when this process hangs or dies.
"""

from __future__ import annotations

import json
import mmap
import random
import resource
import struct
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / place) for place in ("bags", "core/data/recipes")), str(HERE.parents[1])]

MAX_SECONDS, MAX_BYTES, MAX_INPUT_BYTES = 5.0, 300_000_000, 1_000_000
_ADDRESS_SPACE = 6 << 30  # what nobody can serve ends in a MemoryError instead of a stopped machine
_WARM_UP = {"messages": 60}
_KINDS = {
    "messages": "messages:Messages",
    "files": "files:Files",
    "yaml": "texts:Texts",
    "bags": "recordings:Recordings",
    "checkpoints": "weights:Weights",
}


def rng_of(seed: int, kind: str, index: int) -> random.Random:
    """The chance of one input: it depends on nothing else, so that the input can be made again."""
    return random.Random(f"{seed}/{kind}/{index}")


def make_kind(name: str, folder: Path):
    """The object whose `one(rng)` makes and reads one input."""
    module, _, class_name = _KINDS[name].partition(":")
    return getattr(__import__(module), class_name)(folder)


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def judge(kind, rng: random.Random) -> tuple[str, str]:
    """Run one input: ("read" or "refused", ""), or the rule that it broke and how."""
    from any2seg_core.base.errors import UserError

    before, start, cpu = _resident_bytes(), time.perf_counter(), time.process_time()
    try:
        verdict, text = ("read" if kind.one(rng) else "refused"), ""
    except UserError as error:
        verdict, text = "refused", ""
        if "\n" in str(error):
            verdict, text = "several lines", repr(str(error)[:200])
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        place = traceback.extract_tb(error.__traceback__)
        names = [(Path(frame.filename), frame.lineno) for frame in place]
        own = [f"{path.name}:{line}" for path, line in names if "site-packages" not in path.parts]
        verdict, text = "traceback", f"{type(error).__name__}: {str(error)[:160]} at {' '.join(own[-3:])}"
    taken = min(time.perf_counter() - start, time.process_time() - cpu)
    if taken > MAX_SECONDS:
        return "slow", f"{taken:.1f} s"
    grown = _peak_bytes() - before
    if grown > MAX_BYTES and _peak_bytes() > judge.peak:
        verdict, text = "memory", f"{grown / 1e6:.0f} MB"
    judge.peak = max(judge.peak, _peak_bytes())
    return verdict, text


judge.peak = 0


def main() -> None:
    """Arguments: kind, seed, first index, end index, path of the progress file."""
    name, seed, first, end, progress = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]
    warnings.simplefilter("ignore")
    with open(progress, "r+b") as file, tempfile.TemporaryDirectory(prefix="any2seg-fuzz-") as folder:
        place = mmap.mmap(file.fileno(), 32)
        kind = make_kind(name, Path(folder))
        for index in range(_WARM_UP.get(name, 8)):  # kernels compile and caches fill: that is nobody's memory and time
            judge(kind, rng_of(0, name, index))
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
        settled, judge.peak = _resident_bytes(), _peak_bytes()
        read = 0
        for index in range(first, end):
            place[:16] = struct.pack("<qq", index, read)
            verdict, text = judge(kind, rng_of(seed, name, index))
            read += verdict == "read"
            if verdict not in ("read", "refused"):
                print(json.dumps({"index": index, "rule": verdict, "text": text}), flush=True)
        kept = _resident_bytes() - settled
        if kept > MAX_BYTES:
            text = f"{kept / 1e6:.0f} MB after {end - first} inputs"
            print(json.dumps({"index": first, "rule": "kept", "text": text}))
        place[:16] = struct.pack("<qq", end, read)


if __name__ == "__main__":
    main()
