"""`any2seg fleet view`: the drives of a store as a web page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.cli.bag_view import HostOption, PortOption
from any2seg_core.cli.fleet_ask import StoreArgument
from any2seg_core.view.serving import LOOPBACK, PORT

if TYPE_CHECKING:  # they import what --help does without
    from any2seg_core.runtime.predictor import Predictor


def view(
    store: StoreArgument,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", "--model", help="Of the labels; default: that of the evaluation.")
    ] = None,
    evaluation: Annotated[str, typer.Option(help="Whose timelines are shown; default: the only one.")] = "",
    port: PortOption = PORT,
    host: HostOption = LOOPBACK,
) -> None:
    """Show a fleet as a web page: its drives, where they went, what failed, and any moment of any drive.

    Example: any2seg fleet view runs/store
    """
    from any2seg_core.fleet.queries import chosen_evaluation
    from any2seg_core.fleet.store import FleetStore
    from any2seg_core.view.fleet import FleetDrives
    from any2seg_core.view.serving import require_packages, serve

    require_packages()
    opened = FleetStore.open(store)
    known = opened.evaluations()
    name = chosen_evaluation(opened, evaluation) if known or evaluation else ""
    predictor, told = _predictor(checkpoint, known.get(name, {}))
    serve(FleetDrives(opened, predictor, told, name), host, port)


def _predictor(checkpoint: Path | None, evaluation: dict[str, Any]) -> tuple[Predictor | None, str]:
    """A checkpoint and its name; None, and why, where that of the evaluation is not on this machine."""
    from any2seg_core.runtime.checkpoint_metadata import checkpoint_sha256
    from any2seg_core.runtime.predictor import Predictor

    meant = evaluation.get("checkpoint", {})
    if checkpoint is None and meant:
        shipped = default_checkpoint().parent
        places = (Path(meant["name"]), Path("checkpoints") / meant["name"], shipped / meant["name"])
        found = (place for place in places if place.exists() and checkpoint_sha256(place) == meant["sha256"])
        checkpoint = next(found, None)
        if checkpoint is None:
            return None, f"{meant['name']} of the evaluation is not here, give it with --checkpoint"
    chosen = checkpoint or default_checkpoint()
    return Predictor.load(chosen), chosen.name
