"""The ``any2seg`` command. Bad input ends with one line on stderr and exit code 2."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from rich.table import Table

from any2seg_core.base.allocator import keep_freed_memory
from any2seg_core.base.command_options import JsonOption
from any2seg_core.base.entry import run
from any2seg_core.base.errors import UserError
from any2seg_core.base.screen import Screen, say
from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.base.versions import __version__
from any2seg_core.cli import bag as bag_commands
from any2seg_core.cli.bag_evaluate import evaluate as evaluate_bag_command
from any2seg_core.cli.calib import calib_app
from any2seg_core.cli.compare import compare
from any2seg_core.cli.data import data_app
from any2seg_core.cli.evaluate import evaluate
from any2seg_core.cli.features import features

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
bag_app = typer.Typer(no_args_is_help=True, help="Recordings: inspect, extract, evaluate, replay with injected faults.")
app.add_typer(bag_app, name="bag")
app.add_typer(data_app, name="data")
app.add_typer(calib_app, name="calib")
bag_app.command("inspect")(bag_commands.inspect)
bag_app.command("extract")(bag_commands.extract)
app.command()(evaluate)
app.command()(compare)
app.command()(features)
bag_app.command("evaluate")(evaluate_bag_command)
for _group in entry_points(group="any2seg.commands"):  # of packages that the core does not know, as the simulated drive
    app.add_typer(_group.load(), name=_group.name)

CheckpointOption = Annotated[Path, typer.Option(help="Any2Seg checkpoint (.safetensors).")]
ColumnsOption = Annotated[
    str, typer.Option("--point-columns", "--lidar-columns", help="Of a .bin: x,y,z,intensity,ring; default: by values.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"any2seg {__version__}")
        raise typer.Exit


@app.command()
def predict(
    out: Annotated[Path, typer.Option("-o", "--out", help="Label image to write: PNG of class ids, 255 = unlabelled.")],
    rgb: Annotated[Path | None, typer.Option(help="Camera image (PNG, JPEG).")] = None,
    depth: Annotated[Path | None, typer.Option(help="Depth: .npy in metres, or 16-bit PNG (--depth-scale).")] = None,
    event: Annotated[
        Path | None, typer.Option(help="Events: .raw, .dat, .h5, .aedat4; .npz, .npy with x, y, t, p.")
    ] = None,
    lidar: Annotated[
        Path | None, typer.Option(help="LiDAR: .pcd, .ply, .npy, .npz; .bin of float32 x y z intensity.")
    ] = None,
    depth_scale: Annotated[
        float, typer.Option(help="Units per metre of whole depth numbers: 1000 (mm, as without), KITTI's 256.")
    ] = 0.0,
    event_time_unit: Annotated[str, typer.Option(help="Of t where the file says none: ns, us, ms, s.")] = "",
    point_columns: ColumnsOption = "",
    intensity_max: Annotated[float, typer.Option(min=0, help="LiDAR intensity that means 1; 0: by its values.")] = 0.0,
    calib: Annotated[Path | None, typer.Option(help="Calibration YAML; needed for all but --rgb alone.")] = None,
    color: Annotated[Path | None, typer.Option(help="Also write the labels in palette colours.")] = None,
    confidence: Annotated[Path | None, typer.Option(help="Also write the confidence, 0..255.")] = None,
    checkpoint: CheckpointOption = default_checkpoint(),
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    precision: Annotated[str, typer.Option(help="Of the encoder: float32 or bfloat16.")] = "float32",
    as_json: JsonOption = False,
) -> None:
    """Segment one set of sensor files, any non-empty subset of the four sensors.

    Example: any2seg predict --rgb a.png --lidar b.bin --calib c.yaml -o out.png
    """
    from any2seg_core.runtime.checkpoint import read_metadata
    from any2seg_core.runtime.input_files import FileOptions, read_samples
    from any2seg_core.runtime.prediction_notes import prediction_note
    from any2seg_core.runtime.predictor import Predictor
    from any2seg_core.sensors.calibration import load_calibration
    from any2seg_core.sensors.rig import SensorRig

    paths = {"rgb": rgb, "depth": depth, "event": event, "lidar": lidar}
    given = {name: path for name, path in paths.items() if path is not None}
    if not given:
        raise UserError("no sensor file: give at least one of --rgb, --depth, --event, --lidar", "sensor-none")
    if calib is None and set(given) != {"rgb"}:
        raise UserError(
            f"--{', --'.join(n for n in given if n != 'rgb')}: needs a calibration: give --calib FILE.yaml",
            "calibration-missing",
        )
    _check_outputs((out, color, confidence), (*given.values(), calib, checkpoint))
    calibration = load_calibration(calib) if calib is not None else None
    predictor = Predictor.load(checkpoint, device, precision=precision)
    options = FileOptions(depth_scale, event_time_unit, point_columns, intensity_max)
    samples = read_samples(given, calibration, options)
    if calib is not None and calibration is not None and rgb is not None:
        _check_image_size(samples["rgb"], rgb, calibration.camera, calib)
    rig = SensorRig(calibration, predictor.contract.event_window_ns) if calibration is not None else None
    stamp_ns = int(samples["event"]["t"].max()) if "event" in samples and len(samples["event"]) else 0
    result = predictor(samples, rig, stamp_ns)
    for why in result.empty.values():
        typer.echo(f"any2seg: {why}: left out", err=True)
    if result.invalid_share:
        share = f"{result.invalid_share:.2%} of the pixels"
        typer.echo(f"any2seg: {share} have no finite logits: unlabelled, with confidence 0", err=True)

    _write_image(out, result.labels)
    if color is not None:
        _write_image(color, predictor.label_space.colourise(result.labels))
    assert result.confidence is not None  # a predictor leaves it out only when told to
    if confidence is not None:
        _write_image(confidence, np.round(result.confidence * 255).astype(np.uint8))
    note = prediction_note(float(result.confidence.mean()), read_metadata(checkpoint)["provenance"])
    if note:
        say(f"any2seg: {note}", err=True)
    _print_prediction(result, predictor.label_space, out, as_json)


def _check_image_size(image: np.ndarray, path: Path, camera: Any, calib: Path) -> None:
    from any2seg_core.sensors.rig import same_view

    height, width = image.shape[:2]
    if not same_view(image.shape, camera):
        raise UserError(
            f"{path} is {width}x{height}, the camera in {calib} is {camera.width}x{camera.height}: "
            "give the image and the calibration of the same camera",
            "calibration-size",
        )


def _check_outputs(wanted: Iterable[Path | None], inputs: Iterable[Path | None]) -> None:
    """Before anything is computed or written: a bad name among the outputs must not leave the others behind."""
    outputs = [path for path in wanted if path is not None]
    for path in outputs:
        if path.suffix.lower() != ".png":
            raise UserError(
                f"{path}: label images are written as PNG (JPEG would change ids): name it {path.stem}.png", "file-name"
            )
        if path.is_dir():
            raise UserError(f"{path} is a folder: give the name of the file to write", "output-unwritable")
    taken = [path.resolve() for path in inputs if path is not None]
    for path in (path.resolve() for path in outputs):
        if path in taken:
            raise UserError(
                f"{path} is given twice or is an input: it would be overwritten, choose another name", "output-is-input"
            )
        taken.append(path)


def _write_image(path: Path, pixels: np.ndarray) -> None:
    from any2seg_core.base.atomic import replacing

    with replacing(path) as partial:
        Image.fromarray(pixels).save(partial)


def _print_prediction(result: Any, space: Any, out: Path, as_json: bool) -> None:
    counts = np.bincount(result.labels.ravel(), minlength=256)[: len(space)]
    share = {space.classes[k]: counts[k] / result.labels.size for k in np.argsort(-counts) if counts[k]}
    if as_json:
        document = {
            "out": str(out),
            "used": result.used,
            "empty": result.empty,
            "invalid_share": round(result.invalid_share, 6),
            "height": result.labels.shape[0],
            "width": result.labels.shape[1],
            "mean_confidence": round(float(result.confidence.mean()), 4),
            "share": {name: round(float(value), 5) for name, value in share.items()},
        }
        say(json.dumps(document))
        return
    say(f"{out}: {', '.join(result.used)} fused, mean confidence {result.confidence.mean():.2f}")
    table = Table()
    table.add_column("class")
    table.add_column("pixels", justify="right")
    for name, value in share.items():
        table.add_row(name, f"{100 * value:.1f} %")
    Screen().print(table)


@app.command()
def info(
    checkpoint: Annotated[Path, typer.Argument(help="Any2Seg checkpoint (.safetensors).")] = default_checkpoint(),
    as_json: JsonOption = False,
) -> None:
    """Show what a checkpoint is: model, input contract, training and its 15-subset table.

    Example: any2seg info checkpoints/drive_b0.safetensors
    """
    from any2seg_core.runtime.checkpoint import read_metadata, require_sound

    document = read_metadata(checkpoint)
    require_sound(checkpoint)
    if as_json:
        say(json.dumps(document, indent=2))
        return
    provenance = document["provenance"]
    results = provenance.pop("results", None)
    table = Table(title=str(checkpoint), show_header=False)
    for part in ("model", "contract", "provenance"):
        for key, value in document[part].items():
            text = value if isinstance(value, str) else json.dumps(value)
            table.add_row(part, key, text)
    Screen().print(table)
    if results is not None:
        say(_rendered(results))


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
