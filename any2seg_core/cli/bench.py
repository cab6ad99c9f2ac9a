"""``any2seg bench``: what this program takes on this machine."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from any2seg_core.base.command_options import JsonOption, with_settings
from any2seg_core.base.errors import UserError
from any2seg_core.base.progress import Progress
from any2seg_core.base.screen import Screen, say
from any2seg_core.bench.settings import BenchSettings


@with_settings(BenchSettings, arguments=("model",))
def bench(
    settings: BenchSettings,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="New folder for bench.json, bench.md, bench.html and plots.")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(help="bench.json of an earlier run on this machine, to put beside this one.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure time and memory here: planes to labels, sensors to planes, the node, start, recordings.

    Each row is measured in turns with what it is compared with. Libraries and networks of others are compared where
    they are installed.

    Example: any2seg bench --quick
    Example: OMP_NUM_THREADS=1 any2seg bench -o runs/bench --compare runs/bench_before
    """
    from any2seg_core.base.threads import thread_count
    from any2seg_core.bench.document import read_bench, require_comparable
    from any2seg_core.bench.machine import this_machine
    from any2seg_core.bench.run import run_bench
    from any2seg_core.bench.workshop import require_usable
    from any2seg_core.reports.bench import notes, terminal_tables, write_bench

    require_usable(settings)
    if out is not None and out.exists():
        raise UserError(f"--out {out}: is there already; remove it or choose another name", "output-exists")
    older = None if compare is None else read_bench(compare)
    if older is not None and compare is not None:
        require_comparable(older, this_machine(settings.device), thread_count(), compare)
    with Progress("bench") as progress:
        document = run_bench(settings, shlex.join(["any2seg", *sys.argv[1:]]), progress.stage)
    if as_json:
        say(document.model_dump_json())
    else:
        screen = Screen() if sys.stdout.isatty() else Screen(width=110)
        for table in terminal_tables(document, older):
            screen.print(table)
        for note in notes(document):
            screen.print(f"note: {note}", soft_wrap=True)
    if out is not None:
        for path in write_bench(out, document, older):
            say(f"wrote {path}", err=True)
