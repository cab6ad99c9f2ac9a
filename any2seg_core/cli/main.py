"""The ``any2seg`` command. Bad input ends with one line on stderr and exit code 2."""

from __future__ import annotations

import json
import signal
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from any2seg_core.base.allocator import keep_freed_memory
from any2seg_core.base.command_options import JsonOption
from any2seg_core.base.entry import run
from any2seg_core.base.screen import Screen, say
from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.base.versions import __version__
from any2seg_core.cli import bag as bag_commands
from any2seg_core.cli.bag_evaluate import evaluate as evaluate_bag_command
from any2seg_core.cli.bag_view import view as view_bag_command
from any2seg_core.cli.bench import bench
from any2seg_core.cli.calib import calib_app
from any2seg_core.cli.calibrate import calibrate
from any2seg_core.cli.compare import compare
from any2seg_core.cli.data import data_app
from any2seg_core.cli.engines import engines
from any2seg_core.cli.evaluate import evaluate
from any2seg_core.cli.export import export
from any2seg_core.cli.features import features
from any2seg_core.cli.figure import figure
from any2seg_core.cli.fleet import fleet_app
from any2seg_core.cli.fleet_evaluate import evaluate as evaluate_fleet_command
from any2seg_core.cli.fleet_view import view as view_fleet_command
from any2seg_core.cli.imports import import_app
from any2seg_core.cli.predict import predict
from any2seg_core.cli.published import published
from any2seg_core.cli.robustness import robustness
from any2seg_core.cli.switch import switch

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
bag_app = typer.Typer(no_args_is_help=True, help="Recordings: inspect, extract, evaluate, replay with injected faults.")
app.add_typer(bag_app, name="bag")
app.add_typer(data_app, name="data")
app.add_typer(calib_app, name="calib")
app.add_typer(fleet_app, name="fleet")
app.add_typer(import_app, name="import")
bag_app.command("inspect")(bag_commands.inspect)
bag_app.command("extract")(bag_commands.extract)
app.command()(predict)
app.command()(evaluate)
app.command()(calibrate)
app.command()(switch)
app.command()(robustness)
app.command()(compare)
app.command()(features)
app.command()(figure)
app.command()(published)
app.command()(export)
app.command()(bench)
app.command()(engines)
bag_app.command("evaluate")(evaluate_bag_command)
bag_app.command("view")(view_bag_command)
fleet_app.command("evaluate")(evaluate_fleet_command)
fleet_app.command("view")(view_fleet_command)
for _entry in entry_points(group="any2seg.commands"):  # of packages that the core does not know, as the simulated drive
    _command = _entry.load()
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_entry.name)
    else:
        app.command(_entry.name)(_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"any2seg {__version__}")
        raise typer.Exit


@app.command()
def info(
    checkpoint: Annotated[
        Path, typer.Argument(help="Checkpoint (.safetensors), or a folder of any2seg export.")
    ] = default_checkpoint(),
    as_json: JsonOption = False,
) -> None:
    """Show what a checkpoint is: model, input contract, training and its 15-subset table.

    Example: any2seg info checkpoints/drive_b0.safetensors
    """
    from any2seg_core.runtime.checkpoint_metadata import read_metadata
    from any2seg_core.vocabulary.labels import stored_label_space

    document = read_metadata(checkpoint)
    _require_sound(checkpoint)
    if as_json:
        say(json.dumps(document, indent=2))
        return
    provenance = document["provenance"]
    results = provenance.pop("results", None)
    table = Table(title=str(checkpoint), show_header=False)
    for part in ("model", "contract", "provenance"):
        for key, value in document[part].items():
            if key == "label_space":
                value = stored_label_space(value).summary
            elif key == "feature_statistics":
                value = {name: f"{len(own['mean'])} features, limit {own['limit']:g}" for name, own in value.items()}
            text = value if isinstance(value, str) else json.dumps(value)
            table.add_row(part, key, text)
    Screen().print(table)
    if results is not None:
        say(_rendered(results))


def _require_sound(checkpoint: Path) -> None:
    """UserError where weights or graphs are damaged."""
    if checkpoint.is_dir():
        from any2seg_core.runtime.export.folder import open_exported

        open_exported(checkpoint)
    else:
        from any2seg_core.runtime.checkpoint import require_sound

        require_sound(checkpoint)


def _rendered(results: Any) -> str:
    """The table of a training's results; as they stand where another program wrote them."""
    from any2seg_core.evaluation.tables import render

    try:
        return render(results)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return f"results: {json.dumps(results)}"


# What talks ROS, which this package does not import, runs as a program of its own and reads its own options.
_PROGRAM = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def _run_program(module: str, context: typer.Context) -> None:
    import subprocess

    with subprocess.Popen([sys.executable, "-m", module, *context.args]) as program:
        try:
            code = program.wait()
        except SystemExit:  # this command was told to end: so is the program, which cleans up by itself
            program.terminate()
            raise
    raise typer.Exit(code)


@bag_app.command("replay", context_settings=_PROGRAM)
def bag_replay(context: typer.Context) -> None:
    """Publish a recording through ROS 2, with faults on a schedule.

    Example: any2seg bag replay runs/drive --rate 0.5 --drop camera@4:8 --fault blur:rgb@2:5,length=0.08
    """
    _run_program("any2seg_ros.replay", context)


@app.command(context_settings=_PROGRAM)
def demo(context: typer.Context) -> None:
    """Render an unseen town, run the ROS 2 node on it, take sensors away, score it, write a report.

    Example: any2seg demo --out runs/demo
    """
    _run_program("any2seg_ros.demo", context)


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Label images from whichever of camera, depth, event camera and LiDAR are alive."""


_TERMINATED, _INTERRUPTED = 128 + signal.SIGTERM, 128 + signal.SIGINT


def _end_in_order(*_: object) -> None:
    raise SystemExit(_TERMINATED)


def main() -> None:
    """Entry point; `run` says how it ends.

    SIGTERM ends like Ctrl-C, so that nothing half-written is left.
    """
    keep_freed_memory()
    signal.signal(signal.SIGTERM, _end_in_order)
    try:
        run(app, "any2seg")
    except KeyboardInterrupt:
        _say_interrupted()
        raise SystemExit(_INTERRUPTED) from None
    except SystemExit as error:  # typer turns Ctrl-C into one
        if error.code == _INTERRUPTED:
            _say_interrupted()
        raise


def _say_interrupted() -> None:
    say("any2seg: interrupted, nothing written", err=True)
