"""Hostile streams in virtual time: `make faults`, or python tests/streams/faults_run.py --help.

Every transition between two subsets of the sensors, and random schedules in which all sensors but one lie, die or
flood.
The same seed makes the same schedules; one of them alone is run again with --seed S --schedules 1.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import combinations, permutations
from multiprocessing import Pool
from pathlib import Path
from typing import Annotated

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import typer  # noqa: E402
from hostile import MS, NAMES, schedule, transition  # noqa: E402
from promise import run  # noqa: E402

SUBSETS = [subset for size in range(1, len(NAMES) + 1) for subset in combinations(NAMES, size)]
_SPOKEN_SECONDS = 10.0
_SHOWN = 12


@dataclass
class Tally:
    """What came of schedules of one kind.

    Attributes:
        schedules, messages: how many. broken: seed and violation, one line each.
        gap_ms: longest silence; of_bound: largest share of what is promised.
        sets, with_healthy: sets after the start, and those of them that hold the healthy sensor.
    """

    schedules: int = 0
    messages: int = 0
    broken: list[str] = field(default_factory=list)
    gap_ms: int = 0
    of_bound: float = 0.0
    sets: int = 0
    with_healthy: int = 0

    def add(self, label: str, messages: int, outcome) -> None:
        self.schedules += 1
        self.messages += messages
        self.broken += [f"{label}: {violation}" for violation in outcome.violations[:1]]
        self.gap_ms = max(self.gap_ms, outcome.gap_ns // MS)
        self.of_bound = round(max(self.of_bound, outcome.gap_ns / outcome.bound_ns), 3)
        self.sets += outcome.sets
        self.with_healthy += outcome.with_healthy


def run_transitions(rounds: int) -> Tally:
    """Every ordered pair of two subsets, `rounds` times."""
    tally = Tally()
    for before, after in permutations(SUBSETS, 2):
        for seed in range(rounds):
            plan = transition(seed, before, after)
            tally.add(f"{'+'.join(before)} -> {'+'.join(after)}, seed {seed}", len(plan.messages), run(plan))
    return tally


def judged(seed: int) -> tuple[int, str, int, object]:
    """One random schedule: seed, its lies, its messages, the outcome."""
    plan = schedule(seed)
    return seed, "+".join(sorted(plan.lies.values())), len(plan.messages), run(plan)


def run_schedules(seeds: range, workers: int, say=print) -> dict[str, Tally]:
    """Random schedules by the number of liars, and by the lie where there is one alone."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    spoken = time.monotonic()
    with Pool(workers) as pool:
        outcomes: Iterable = pool.imap(judged, seeds, 50) if workers > 1 else map(judged, seeds)
        for done, (seed, lies, messages, outcome) in enumerate(outcomes, 1):
            names = lies.split("+")
            if outcome.violations:
                say(f"seed {seed}, {lies}: {outcome.violations[0]}")
            for kind in [f"{len(names)} liars", *([lies] if len(names) == 1 else [])]:
                tallies[kind].add(f"seed {seed}, {lies}", messages, outcome)
            if time.monotonic() - spoken > _SPOKEN_SECONDS:
                spoken = time.monotonic()
                broken = sum(len(tally.broken) for kind, tally in tallies.items() if kind.endswith("liars"))
                say(f"{done} of {len(seeds)} schedules, {broken} broke the promise")
    return dict(sorted(tallies.items()))


def table(tallies: dict[str, Tally]) -> str:
    """One row per kind, and the first violations."""
    lines = ["| kind | schedules | messages | broken | longest silence ms | of the bound | with the healthy |"]
    lines.append("|---|" + 6 * "---:|")
    for kind, each in tallies.items():
        share = f"{each.with_healthy / each.sets:.1%}" if each.sets else ""
        cells = kind, each.schedules, each.messages, len(each.broken), each.gap_ms, f"{each.of_bound:.2f}", share
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += [text for kind, each in tallies.items() for text in each.broken[:_SHOWN]]
    return "\n".join(lines)


def main(
    schedules: Annotated[int, typer.Option(help="Random schedules.")] = 100_000,
    seed: Annotated[int, typer.Option(help="The first of them.")] = 0,
    rounds: Annotated[int, typer.Option(help="How often each of 210 transitions.")] = 5,
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
    out: Annotated[Path | None, typer.Option("--json", help="Also write the outcome as JSON.")] = None,
) -> None:
    """Exit code 1 when a schedule broke the promise."""
    tallies = {"transitions": run_transitions(rounds)} if rounds else {}
    print(table(tallies), flush=True)
    tallies |= run_schedules(range(seed, seed + schedules), workers, lambda text: print(text, flush=True))
    print(table(tallies))
    if out is not None:
        out.write_text(json.dumps({kind: asdict(each) for kind, each in tallies.items()}, indent=1) + "\n")
    raise typer.Exit(int(any(each.broken for each in tallies.values())))


if __name__ == "__main__":
    typer.run(main)
