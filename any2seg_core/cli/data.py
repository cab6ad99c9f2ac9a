"""``any2seg data``: look through a data set, make its computed planes, show sparse labels of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from any2seg_core.base.command_options import JsonOption
from any2seg_core.base.errors import UserError
from any2seg_core.base.progress import Progress
from any2seg_core.base.screen import Screen, say
from any2seg_core.cli.classes import classes

if TYPE_CHECKING:  # it imports torch, which --help does without
    from any2seg_core.data.check import TreeReport
    from any2seg_core.data.propose import Proposal

data_app = typer.Typer(no_args_is_help=True, help="Data sets: look through a folder, propose a recipe, make planes.")

data_app.command("classes")(classes)

_SHOWN_PROBLEMS = 20
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")

RootArgument = Annotated[Path, typer.Argument(help="Folder of a data set or a drive; or a recording.")]
KindOption = Annotated[
    str, typer.Option("--dataset", help="deliver, muses, mcubes, bag; name or YAML of a recipe; auto looks.")
]


@data_app.command()
def check(
    root: RootArgument,
    kind: KindOption = "auto",
    modalities: Annotated[str | None, typer.Option(help="Sensors that must be there: camera,lidar; RL; all.")] = None,
    suite: Annotated[
        str | None, typer.Option(help="Sensors that there can be, where one may choose: name or YAML file.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only look whether files are there; read none.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Threads.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Look through a data set: frames per split and condition, missing partners, label ids, sizes.

    Exit code 0: nothing wrong. 1: problems, all listed with --json. 2: there is no data set to look through.

    Example: any2seg data check data/DELIVER
    """
    from any2seg_core.data.check import check_tree
    from any2seg_core.vocabulary.modalities import sensor_suite

    with Progress(f"check {root.name}") as progress:
        chosen = None if suite is None else sensor_suite(suite)
        report = check_tree(root, kind, modalities, not quick, workers, progress.stage, chosen)
    if as_json:
        say(json.dumps(report.as_json(), indent=1))
    else:
        _print(report)
    raise typer.Exit(1 if report.count else 0)


@data_app.command()
def init(
    root: Annotated[Path, typer.Argument(help="Folder of your own data.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Recipe to write; default: print it.")] = None,
    suite: Annotated[str | None, typer.Option(help="Sensors to look for: name or YAML file; default: vehicle.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Look at a folder and propose a recipe: patterns, sensors, splits, and the ids of its labels.

    With ``-o`` the recipe is written, and classes.yaml beside it where nothing says what the ids of the labels mean.
    Nothing that exists is overwritten. Sensors of your own have a suite: ``--suite van.yaml`` (docs/sensors.md).

    Example: any2seg data init my_data -o my_data.yaml
    """
    from any2seg_core.data.propose import proposal_texts, propose_recipe, write_proposal
    from any2seg_core.vocabulary.modalities import SHIPPED, VEHICLE, sensor_suite

    chosen = VEHICLE if suite is None else sensor_suite(suite)
    proposal = propose_recipe(root, chosen, None if suite is None or chosen in SHIPPED else Path(suite))
    written = [] if out is None else write_proposal(proposal, out)
    if as_json:
        say(json.dumps(proposal.as_json() | {"written": [str(path) for path in written]}, indent=1))
        return
    if out is None:
        for text in proposal_texts(proposal).values():
            say(text)
    _print_proposal(proposal)
    for path in written:
        say(f"wrote {path}")


@data_app.command()
def convert(
    root: RootArgument,
    kind: KindOption = "auto",
    split: Annotated[str | None, typer.Option(help="Only this split; default: all there are.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    skip_corrupt: Annotated[bool, typer.Option("--skip-corrupt", help="Go on past unreadable files.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make HHA from depth, or project events and points, once and for all: of DELIVER, MUSES and recipes.

    The planes go to ROOT/any2seg_planes, where training finds them (source=raw). What is there already is left alone,
    so the same command goes on after an interruption. Exit code 1: frames were skipped.

    Example: any2seg data convert data/muses --workers 8
    """
    from any2seg_core.data.convert import convert_tree

    with Progress(f"convert {root.name}") as progress:
        done = convert_tree(root, kind, None if split is None else [split], workers, skip_corrupt, progress.stage)
    if as_json:
        document = {"folder": str(done.folder), "frames": done.frames, "made": done.made, "skipped": done.skipped}
        say(json.dumps(document, indent=1))
    else:
        say(f"{done.folder}: {done.made} planes made, {done.frames} frames looked at")
        for line in done.skipped:
            say(f"skipped {line}")
    raise typer.Exit(1 if done.skipped else 0)


@data_app.command()
def sparse(
    root: RootArgument,
    out: Annotated[Path, typer.Argument(help="Picture to write: .png, .jpg or .webp.")],
    kind: Annotated[str, typer.Option("--kind", help="points, scribbles, blocks or lidar.")] = "points",
    count: Annotated[int | None, typer.Option(help="Points or blocks per image.")] = None,
    side: Annotated[int | None, typer.Option(help="Pixels, of a block or across a stroke.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all that is drawn.")] = None,
    every_class: Annotated[bool | None, typer.Option("--every-class", help="At least one per class.")] = None,
    dataset: KindOption = "auto",
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "train",
    frames: Annotated[int, typer.Option(min=1, help="Rows of the picture.")] = 6,
    as_json: JsonOption = False,
) -> None:
    """Show the labels that training with data.sparse keeps: a picture, and how many they are.

    Each row: what was seen, the whole truth, the labels that are kept.

    Example: any2seg data sparse data/drive clicks.png --count 50
    """
    from dataclasses import asdict

    import cv2

    from any2seg_core.base.atomic import replacing
    from any2seg_core.data.catalogue import open_dataset
    from any2seg_core.data.sparse_sheet import sparse_config, sparse_sheet

    if out.suffix.lower() not in _PICTURES:
        raise UserError(f"{out}: is written as {', '.join(_PICTURES)}: name it {out.stem}.png", "file-name")
    config = sparse_config(kind=kind, count=count, side=side, seed=seed, every_class=every_class)
    picture, facts = sparse_sheet(open_dataset(dataset, root, split, sparse=config), frames)
    with replacing(out) as partial:
        if not cv2.imwrite(str(partial), picture[..., ::-1]):
            raise OSError("OpenCV wrote nothing")
    if as_json:
        say(json.dumps([asdict(fact) for fact in facts], indent=1))
        return
    table = Table("frame", "labelled pixels", "% of the image", "classes", title=str(out))
    for fact in facts:
        classes = f"{fact.classes} of {fact.of_classes}"
        table.add_row(fact.name, str(fact.pixels), f"{100 * fact.share:.2f}", classes)
    Screen().print(table)


def _print_proposal(proposal: Proposal) -> None:
    table = Table(Column("pattern", overflow="fold"), "files", "kind", "used as", "of its frames", title_justify="left")
    for finding in proposal.findings:
        frames = str(finding.frames) if finding.use else ""
        table.add_row(finding.pattern, str(finding.files), finding.kind, finding.use or "not used", frames)
    console = Screen()
    console.print(table)
    for note in proposal.notes:
        console.print(f"note: {note}")


def _print(report: TreeReport) -> None:
    console = Screen()
    frames = Table(title=f"{report.root}: {report.kind}", title_justify="left")
    frames.add_column("condition")
    for split in report.frames:
        frames.add_column(split, justify="right")
    for condition in sorted({name for counts in report.frames.values() for name in counts}):
        frames.add_row(condition, *(str(counts.get(condition, 0)) for counts in report.frames.values()))
    frames.add_section()
    frames.add_row("frames", *(str(sum(counts.values())) for counts in report.frames.values()))
    frames.add_row("problems", *(str(len(report.problems[split])) for split in report.frames))
    console.print(frames)

    planes = Table("plane", "encoding", "sizes (W x H)")
    for key in (*report.encodings, "labels"):
        sizes = ", ".join(f"{size} ({count})" for size, count in report.sizes.get(key, {}).items())
        planes.add_row(key, report.encodings.get(key, ""), sizes or "not read")
    console.print(planes)

    if report.class_pixels:
        labelled = sum(report.class_pixels.values()) or 1
        shares = sorted(report.class_pixels.items(), key=lambda entry: -entry[1])
        text = ", ".join(f"{name} {100 * count / labelled:.1f} %" for name, count in shares if count)
        console.print(f"labels: {text}; {100 * report.unlabelled:.1f} % of all pixels are unlabelled")
    for note in report.notes:
        console.print(f"note: {note}")
    for split, lines in report.problems.items():
        for line in lines[:_SHOWN_PROBLEMS]:
            console.print(f"{split}: {line}", style="red")
        if len(lines) > _SHOWN_PROBLEMS:
            console.print(f"{split}: {len(lines) - _SHOWN_PROBLEMS} more problems; --json lists all")
    console.print("nothing wrong" if not report.count else f"{report.count} problems")
