"""``any2seg engines``: which engine ``runtime: auto`` takes here, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from any2seg_core.base.command_options import JsonOption
from any2seg_core.base.precisions import PRECISION_HELP
from any2seg_core.base.screen import Screen, say
from any2seg_core.base.shipped import default_checkpoint

if TYPE_CHECKING:
    from any2seg_core.runtime.engines.chooser import EngineChooser


def engines(
    checkpoint: Annotated[
        Path, typer.Argument(help="Checkpoint (.safetensors), or a folder of any2seg export.")
    ] = default_checkpoint(),
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    precision: Annotated[str, typer.Option(help=PRECISION_HELP)] = "float32",
    also: Annotated[
        list[str] | None, typer.Option(help="Also measure one that takes minutes to make: compile, tensorrt.")
    ] = None,
    build_only: Annotated[
        bool, typer.Option("--build-only", help="Build the engine of tensorrt into the cache, and run nothing.")
    ] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Forget what was measured, and remove graphs and engines made for it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure the engines that can run a model here; show which one `--runtime auto` takes, and why.

    Measured once for a model, its size, precision, threads, processor and package versions; then it is remembered.

    Example: any2seg engines checkpoints/drive_b0.safetensors
    Example: any2seg engines --forget
    """
    from any2seg_core.runtime.engines.chooser import report
    from any2seg_core.runtime.engines.memory import forget_engines

    if forget:
        gone = [str(path) for path in forget_engines()]
        say(json.dumps({"removed": gone}) if as_json else f"removed: {', '.join(gone) or 'nothing was there'}")
        return
    if build_only:
        path = str(_built(checkpoint, device))
        say(json.dumps({"built": path}) if as_json else f"built: {path}")
        return
    chooser = _chooser(checkpoint, device, precision)
    for name in also or ():
        chooser.named(name)
    document = report(chooser)
    if as_json:
        say(json.dumps(document))
    else:
        _print(document)


def _chooser(checkpoint: Path, device: str, precision: str) -> EngineChooser:
    if checkpoint.is_dir():
        from any2seg_core.runtime.export.load import exported_chooser

        return exported_chooser(checkpoint, device, precision)
    from any2seg_core.base.torch_package import require_torch

    require_torch(f"the checkpoint {checkpoint}")
    from any2seg_core.runtime.checkpoint import load_checkpoint
    from any2seg_core.runtime.devices import available_device
    from any2seg_core.runtime.engines.choice import chooser_of

    present = available_device(device)
    model, contract, _ = load_checkpoint(checkpoint)
    return chooser_of(model, (contract.height, contract.width), present, precision)


def _built(checkpoint: Path, device: str) -> Path:
    from any2seg_core.base.torch_package import require_torch

    require_torch("runtime tensorrt")
    from any2seg_core.runtime.checkpoint import load_checkpoint
    from any2seg_core.runtime.devices import available_device
    from any2seg_core.runtime.engines.choice import trained_model
    from any2seg_core.runtime.engines.tensorrt import build_only

    present = available_device(device)
    model, contract, _ = load_checkpoint(checkpoint)
    return build_only(trained_model(model, (contract.height, contract.width), present, "float32", "tensorrt"))


def _print(document: dict[str, Any]) -> None:
    table = Table(title=f"runtime auto: {document['engine']} ({document['version']}), {document['precision']}")
    for name in ("engine", "ms", "share of the default's time", "labels that differ", "version"):
        table.add_column(name, justify="left" if name in ("engine", "version") else "right")
    for name, each in document["measured"].items():
        share = "-" if each["share"] is None else f"{each['share']:.3%}"
        table.add_row(name, f"{each['ms']:.1f}", f"{each['ratio']:.2f}", share, each["version"])
    screen = Screen()
    screen.print(table)
    for name, why in document["missing"].items():
        say(f"{name}: {why}")
    say("wall time of one frame of all sensors, from images to labels, median of turns on this machine")
