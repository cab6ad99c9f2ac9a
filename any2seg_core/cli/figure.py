"""``any2seg figure``: several evaluations in one picture of mIoU over the sensor subsets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer
from rich.table import Table

from any2seg_core.base.command_options import JsonOption
from any2seg_core.base.errors import UserError
from any2seg_core.base.screen import Screen, say
from any2seg_core.evaluation.policies import Policy

_Beside = Literal["deliver", "muses", "mcubes", "none"]


def figure(
    evaluations: Annotated[
        list[str], typer.Argument(help="LABEL=PATH each: what evaluate has written, or a trained checkpoint.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="SVG file.")] = Path("subsets.svg"),
    policy: Annotated[
        str, typer.Option(help="Classes that mIoU is the mean of: present, all, without_other.")
    ] = "present",
    published: Annotated[
        str, typer.Option(help="Published methods below, on their own data: deliver, muses, mcubes, or none.")
    ] = "deliver",
    as_json: JsonOption = False,
) -> None:
    """Draw mIoU over every sensor subset of several evaluations, with what papers print for theirs below.

    Example: any2seg figure ours=runs/evaluation "before it=runs/evaluation_new" -o runs/subsets.svg
    """
    from any2seg_core.base.atomic import replacing
    from any2seg_core.evaluation.subset_tables import read_tables, rivals
    from any2seg_core.reports.subset_figure import figure_document, figure_rows, subset_figure

    for name, value, choices in (("policy", policy, get_args(Policy)), ("published", published, get_args(_Beside))):
        if value not in choices:
            raise UserError(f"--{name} {value}: choose one of {', '.join(choices)}", "value-unknown")
    if out.suffix != ".svg":
        raise UserError(f"--out {out}: the picture is SVG; name it .svg", "value-format")
    chosen: Policy = next(each for each in get_args(Policy) if each == policy)
    tables = read_tables(evaluations, chosen)
    others = rivals(published, list(tables[0].miou)) if published != "none" else []
    with replacing(out) as partial:
        partial.write_text(subset_figure(tables, others, chosen, published), encoding="utf-8")
    if as_json:
        say(json.dumps(figure_document(tables, others, chosen)))
    else:
        head, *rows = figure_rows(tables)
        table = Table(*head)
        for row in rows:
            table.add_row(*row)
        Screen().print(table)
    say(f"wrote {out}", err=True)
