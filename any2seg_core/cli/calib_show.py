"""``any2seg calib show``: another sensor over the camera's picture, of files of one moment or of a recording."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from any2seg_core.base.command_options import JsonOption
from any2seg_core.base.errors import UserError
from any2seg_core.base.screen import say
from any2seg_core.cli.bag import RulesOption, SuiteOption, TopicOption

if TYPE_CHECKING:  # they import what --help does without
    import numpy as np

    from any2seg_core.bags.opened import BagOptions, OpenBag
    from any2seg_core.files.samples import FileOptions
    from any2seg_core.sensors.alignment import Alignment
    from any2seg_core.vocabulary.modalities import SensorSuite

_MOST_FRAMES = 24


class _Shown(NamedTuple):
    """A finished picture and what it says; frames: of a recording, seconds from its begin and what each says."""

    picture: np.ndarray
    found: Alignment
    title: str
    is_image: bool
    facts: dict[str, Any]
    frames: tuple[tuple[float, Alignment], ...] = ()


def show(
    source: Annotated[Path, typer.Argument(help="Recording; or calibration YAML, with --rgb and a sensor's file.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="PNG to write.")],
    rgb: Annotated[Path | None, typer.Option(help="Camera image.")] = None,
    lidar: Annotated[Path | None, typer.Option(help="LiDAR file of the same moment.")] = None,
    sensor: Annotated[str, typer.Option(help="Of a recording NAME, else NAME=FILE; default: the first LiDAR.")] = "",
    point_columns: Annotated[str, typer.Option(help="Of a .bin: x,y,z,intensity,ring; default: by values.")] = "",
    depth_scale: Annotated[float, typer.Option(help="Units per metre of whole depth numbers; 0: millimetres.")] = 0.0,
    calib: Annotated[
        Path | None,
        typer.Option("--calib", "--calibration", help="Of a recording: calibration YAML; wins over what it says."),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, max=_MOST_FRAMES, help="Of a recording: how many moments.")] = 6,
    topic: TopicOption = None,
    rules: RulesOption = None,
    params: Annotated[Path | None, typer.Option(help="ROS 2 parameter file; its rectified counts.")] = None,
    suite: SuiteOption = "",
    as_json: JsonOption = False,
) -> None:
    """Draw a sensor over the camera's picture; say how many points fall inside and how well edges meet.

    Points are drawn as they are, depth as its jumps, another camera in squares that take turns with the picture.

    Example: any2seg calib show runs/drive --calib car.yaml -o seen.png
    Example: any2seg calib show car.yaml --rgb a.png --lidar a.bin -o seen.png
    """
    from PIL import Image

    from any2seg_core.bags.opened import BagOptions
    from any2seg_core.bags.reader import is_recording
    from any2seg_core.base.atomic import replacing
    from any2seg_core.data.bag_settings import read_settings
    from any2seg_core.files.samples import FileOptions
    from any2seg_core.vocabulary.modalities import VEHICLE, sensor_suite

    if out.suffix.lower() != ".png":
        raise UserError(f"{out}: the picture is written as PNG: name it {out.stem}.png", "file-name")
    if is_recording(source):
        if rgb or lidar or point_columns or depth_scale:
            given = "--rgb, --lidar, --point-columns or --depth-scale"
            raise UserError(f"{given} beside {source}: give files or a recording", "value-conflict")
        settings = read_settings(source, {"suite": suite} if suite else None)
        topics = settings.topics_for(settings.sensors, topic or ())
        shown = _of_recording(source, BagOptions(topics, rules, calib, params, suite=settings.sensors), sensor, frames)
    else:
        if calib or topic or rules or params:
            without = "leave --calib, --topic, --rules and --params out"
            raise UserError(f"{source} is no recording: {without}", "value-conflict")
        sensors = sensor_suite(suite) if suite else VEHICLE
        reading = FileOptions(depth_scale=depth_scale, point_columns=point_columns)
        shown = _of_files(source, _files(rgb, lidar, sensor, sensors), reading, sensors)
    with replacing(out) as partial:
        Image.fromarray(shown.picture).save(partial)
    if as_json:
        document = _document(shown.found) | shown.facts | {"out": str(out)}
        if shown.frames:
            document["frames"] = [{"time_s": round(at_s, 3)} | _document(each) for at_s, each in shown.frames]
        say(json.dumps(document))
    else:
        _tell(shown, out)


def _files(rgb: Path | None, lidar: Path | None, sensor: str, suite: SensorSuite) -> dict[str, Path]:
    """Files of the camera and, behind it, of the other sensor."""
    name, _, path = sensor.partition("=")
    if sensor and not (name and path):
        raise UserError(f"--sensor {sensor}: write it as --sensor NAME=FILE", "value-format")
    if rgb is None or (lidar is None) == (not sensor):
        raise UserError("give --rgb and either --lidar or --sensor NAME=FILE; or a recording", "sensor-none")
    return {suite.camera: rgb} | ({"lidar": lidar} if lidar is not None else {name: Path(path)})


def _of_files(calib: Path, files: dict[str, Path], options: FileOptions, suite: SensorSuite) -> _Shown:
    from any2seg_core.files.samples import read_samples
    from any2seg_core.prediction.sources import check_view
    from any2seg_core.sensors.alignment_views import compare_with_picture, require_showable
    from any2seg_core.sensors.calibration import load_calibration
    from any2seg_core.sensors.rig import SensorRig

    name = list(files)[-1]
    require_showable(name, suite)
    known = load_calibration(calib)
    samples = read_samples(files, known, options, suite)
    check_view(samples[suite.camera], str(files[suite.camera]), known, calib)
    rig = SensorRig(known, suite=suite)
    picture = rig.planes({suite.camera: samples[suite.camera]}, 0)[suite.camera]
    found, drawn = compare_with_picture(picture, samples[name], name, rig)
    return _Shown(drawn, found, suite.sensor(name).title, suite.sensor(name).kind == "image", {"sensor": name})


def _of_recording(path: Path, options: BagOptions, sensor: str, count: int) -> _Shown:
    from any2seg_core.bags.opened import open_bag
    from any2seg_core.bags.spread import spread_frames
    from any2seg_core.base.contact_sheet import contact_sheet
    from any2seg_core.base.progress import Progress
    from any2seg_core.sensors.alignment import pooled
    from any2seg_core.sensors.alignment_views import compare_with_picture

    found, pictures = [], []
    with open_bag(path, options) as opened, Progress(f"calib show {path.name}") as progress:
        suite = opened.suite
        name, camera = _sensor_of(opened, sensor), suite.camera
        total = opened.message_total
        for time_s, frame in spread_frames(opened, (camera, name), count, lambda: progress.step(total)):
            assert frame.rig is not None  # it made the planes
            alignment, picture = compare_with_picture(frame.planes[camera], frame.samples[name], name, frame.rig)
            found.append((time_s, alignment))
            pictures.append(picture)
        source, notes = opened.calibration.source, opened.notes
    if not found:
        raise UserError(
            f"{path}: not one set in which {camera} and {name} can be used: see any2seg bag inspect", "bag-no-sets"
        )
    for line in notes:
        say(f"! {line}", err=True)
    is_image = suite.sensor(name).kind == "image"
    captions = [f"{time_s:.1f} s: {_in_words(each, is_image)}" for time_s, each in found]
    facts = {"sensor": name, "recording": str(path), "calibration": source}
    mean = pooled([each for _, each in found])
    return _Shown(contact_sheet(pictures, captions), mean, suite.sensor(name).title, is_image, facts, tuple(found))


def _sensor_of(opened: OpenBag, wish: str) -> str:
    """The sensor to show; UserError where there is none, or where it or the camera is not recorded or calibrated."""
    from any2seg_core.sensors.alignment_views import require_showable
    from any2seg_core.vocabulary.sensor import DEPTH, IMAGE, POINTS

    suite, streams = opened.suite, opened.choice.map.streams
    others = [name for kind in (POINTS, DEPTH, IMAGE) for name in suite.of_kind(kind) if name != suite.camera]
    name = wish or next((name for name in others if name in streams), "")
    if not name:
        raise UserError(f"{opened.bag.path}: has no sensor to draw over the camera's picture", "bag-sensor-missing")
    require_showable(name, suite)
    for each in (suite.camera, name):
        if each not in streams:
            raise UserError(
                f"{opened.bag.path}: no topic for {each}: say which, --topic {each}=/...", "bag-sensor-missing"
            )
    opened.calibration.usable((suite.camera, name), must_have=(suite.camera, name))
    return name


def _document(found: Alignment) -> dict[str, Any]:
    return asdict(found) | {
        "better_when_turned": found.better_when_turned,
        "better_when_shifted": found.better_when_shifted,
        "best_move": found.best_move,
    }


def _in_words(found: Alignment, is_image: bool) -> str:
    inside = f"{found.inside / max(found.points, 1):.0%} seen" if is_image else f"{found.inside} points inside"
    edges = "too few edges" if found.closeness is None else f"edges {found.closeness:.2f}"
    return ", ".join([inside, edges, *([f"better {found.best_move}"] if found.best_move else [])])


def _tell(shown: _Shown, out: Path) -> None:
    found, title = shown.found, shown.title
    for at_s, each in shown.frames:
        say(f"{at_s:7.1f} s: {_in_words(each, shown.is_image)}")
    if shown.is_image:
        say(f"{out}: the {title} sees {found.inside / max(found.points, 1):.0%} of the camera's picture")
        lost = f"the {title} sees nothing of the picture: its to_camera may be inverted, or its axes no optical ones"
    else:
        say(f"{out}: {found.inside} of {found.points} points fall into the picture")
        lost = f"no point in the picture: the {title}'s transform may be inverted, or its axes those of another frame"
    edges = "edges" if shown.is_image else "jumps of range"
    if not found.inside:
        say(f"! {lost}", err=True)
    elif found.closeness is None:
        say(f"edges: only {found.edges} {edges} in the picture, too few to judge")
    else:
        say(f"edges: {found.edges} {edges} lie {found.closeness:.2f} close to edges of the picture (1: on them)")
        shifts = f" and {found.better_when_shifted} of {len(found.shifted)} shifts by 10 cm" if found.shifted else ""
        moves = f"{found.better_when_turned} of {len(found.turned)} turns by 1 degree{shifts}"
        if found.best_move:
            best = f"best with the {title} {found.best_move}"
            say(f"! {moves} meet better, {best}: calibrate again, look at {out}", err=True)
        else:
            say(f"{moves} meet better")
