"""`any2seg fleet`: the group, and `index`: options in, an index of many recordings out."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from any2seg_core.base.command_options import JsonOption
from any2seg_core.base.progress import Progress
from any2seg_core.base.screen import say
from any2seg_core.cli import fleet_ask
from any2seg_core.cli.fleet_ask import StoreArgument

fleet_app = typer.Typer(no_args_is_help=True, help="Many recordings: index, evaluate, ask questions, look.")
_SHOWN = 20


@fleet_app.command("index")
def index(
    store: StoreArgument,
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Folders, recordings, patterns, URLs (s3://, https://), or a manifest: CSV or Parquet with the "
            "columns url, vehicle, date, weather, time_of_day, tags."
        ),
    ],
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Look through recordings once and keep what is in them; the store comes first, then where recordings lie.

    A second run looks only at what is new or has changed. A recording that cannot be read is kept with its reason.

    Of an MCAP file at a URL only its index and its beginning are read.

    Example: any2seg fleet index runs/store runs/drive s3://bucket/drives/
    """
    from any2seg_core.fleet.indexing import index as index_fleet
    from any2seg_core.fleet.remote import shown_url

    with Progress("index") as progress:
        report = index_fleet(
            store, sources, workers, progress.show, lambda url, reason: say(f"! {shown_url(url)}: {reason}", err=True)
        )
    if as_json:
        say(json.dumps(asdict(report), indent=1))
        return
    new = report.found - report.unchanged
    say(f"{store}: {report.found} recordings, {new} new or changed, {len(report.broken)} of them broken")
    if report.bytes_read:
        of = f" of {report.bytes_remote} bytes of recordings" if report.bytes_remote else ""
        say(f"  read over the network: {report.bytes_read} bytes{of}")
    for url in report.fetched_whole[:_SHOWN]:
        say(f"  fetched as a whole, it has no index to read a part by: {shown_url(url)}")
    if len(report.fetched_whole) > _SHOWN:
        say(f"  and {len(report.fetched_whole) - _SHOWN} others")


fleet_app.command("query")(fleet_ask.query)
fleet_app.command("worst")(fleet_ask.worst)
fleet_app.command("failures")(fleet_ask.failures)
fleet_app.command("compare")(fleet_ask.compare)
fleet_app.command("drift")(fleet_ask.drift)
fleet_app.command("select")(fleet_ask.select)
