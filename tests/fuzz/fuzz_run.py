"""Feed random damaged inputs to every reader: `make fuzz`, or python tests/fuzz/fuzz_run.py --help.

The same seed makes the same inputs; one of them alone is run again with --kind K --seed S --index I.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]

import typer  # noqa: E402
from fuzz_worker import MAX_SECONDS, make_kind, rng_of  # noqa: E402

DEFAULT_COUNTS = {"messages": 300_000, "files": 10_000, "yaml": 6_000, "bags": 2_000, "checkpoints": 2_000}
_PER_PROCESS = {"messages": 25_000, "files": 2_000, "yaml": 2_000, "bags": 300, "checkpoints": 500}
_HANG_SECONDS = 6 * MAX_SECONDS  # of wall time on a busy machine; a slow input is told by its processor time
_SPOKEN_SECONDS = 10.0
_SHOWN = 12


@dataclass
class Outcome:
    """What became of the inputs of one kind."""

    kind: str
    seed: int
    inputs: int = 0
    read: int = 0
    seconds: float = 0.0
    broken: list[dict] = field(default_factory=list)


def run_kind(kind: str, count: int, seed: int, say=print) -> Outcome:
    """Run `count` inputs in processes one after the other; one that dies or hangs costs only the input that it ran."""
    outcome, start, spoken = Outcome(kind, seed), time.monotonic(), [time.monotonic()]
    first = 0
    while first < count:
        end = min(first + _PER_PROCESS[kind], count)
        done, read = _run_part(outcome, first, end, say, spoken)
        outcome.read += read
        first = done
    outcome.inputs, outcome.seconds = count, round(time.monotonic() - start, 1)
    return outcome


def _run_part(outcome: Outcome, first: int, end: int, say, spoken: list[float]) -> tuple[int, int]:
    """One process; where to go on, and how many inputs could be read."""
    with tempfile.TemporaryDirectory(prefix="any2seg-fuzz-") as folder:
        progress, log = Path(folder) / "progress", Path(folder) / "errors"
        progress.write_bytes(struct.pack("<qq", first, 0) + bytes(16))
        command = [sys.executable, HERE / "fuzz_worker.py", outcome.kind, outcome.seed, first, end, progress]
        with log.open("wb") as errors, subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process:
            last, since, is_hung = -1, time.monotonic(), False
            while process.poll() is None:
                time.sleep(0.05)
                index, read = struct.unpack("<qq", progress.read_bytes()[:16])
                now = time.monotonic()
                if index != last:
                    last, since = index, now
                elif now - since > _HANG_SECONDS + (60 if index == first else 0):  # kernels may compile at first
                    is_hung = True
                    process.kill()
                if now - spoken[0] > _SPOKEN_SECONDS:
                    spoken[0] = now
                    say(f"{outcome.kind}: {index} inputs, {len(outcome.broken)} broke a rule")
            outcome.broken += [json.loads(line) for line in process.stdout if line.strip()]
        index, read = struct.unpack("<qq", progress.read_bytes()[:16])
        if process.returncode:
            text = f"no end after {_HANG_SECONDS:.0f} s" if is_hung else f"exit code {process.returncode}: "
            text += "" if is_hung else log.read_text(errors="replace")[-300:]
            outcome.broken.append({"index": index, "rule": "hang" if is_hung else "died", "text": text})
            index += 1
        return index, read


def one_again(kind: str, seed: int, index: int) -> None:
    """Run one input in this process, with its traceback."""
    with tempfile.TemporaryDirectory(prefix="any2seg-fuzz-") as folder:
        try:
            print(make_kind(kind, Path(folder)).one(rng_of(seed, kind, index)))
        except Exception:
            traceback.print_exc()


def table(outcomes: list[Outcome]) -> str:
    """Rows of kinds, and the first inputs of each that broke a rule."""
    lines = ["| kind | seed | inputs | read | refused | broke a rule | seconds |", "|---|" + 6 * "---:|"]
    for each in outcomes:
        refused = each.inputs - each.read - len(each.broken)
        cells = each.kind, each.seed, each.inputs, each.read, refused, len(each.broken), each.seconds
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for each in outcomes:
        lines += [f"{each.kind} {rule}: {count}" for rule, count in Counter(b["rule"] for b in each.broken).items()]
        again = f"--kind {each.kind} --seed {each.seed} --index"
        lines += [f"{again} {b['index']}  {b['rule']}: {b['text']}" for b in each.broken[:_SHOWN]]
    return "\n".join(lines)


def main(
    kind: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(DEFAULT_COUNTS)}; default: all.")] = None,
    count: Annotated[int, typer.Option(help="Inputs of each kind; 0: the full run.")] = 0,
    seed: Annotated[int, typer.Option(help="Which inputs.")] = 0,
    index: Annotated[int, typer.Option(help="Run this input alone, here, with its traceback.")] = -1,
    out: Annotated[Path | None, typer.Option("--json", help="Also write the outcome as JSON.")] = None,
) -> None:
    """Exit code 1 when an input broke a rule: a traceback, more than 5 s, more than 300 MB."""
    kinds = kind or list(DEFAULT_COUNTS)
    if index >= 0:
        one_again(kinds[0], seed, index)
        return
    outcomes = []
    for name in kinds:
        outcomes.append(run_kind(name, count or DEFAULT_COUNTS[name], seed, lambda text: print(text, flush=True)))
        print(table(outcomes[-1:]), flush=True)
    if len(outcomes) > 1:
        print(table(outcomes))
    if out is not None:
        out.write_text(json.dumps([asdict(each) for each in outcomes], indent=1) + "\n")
    raise typer.Exit(int(any(each.broken for each in outcomes)))


if __name__ == "__main__":
    typer.run(main)
