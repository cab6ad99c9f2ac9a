"""Train variants of the model with equal budgets and seeds, and put what each reaches into one table.

    python training/study.py study=fusion data=data/drive out=runs/study/fusion "seeds=[0, 1, 2]"
    python training/study.py study=fusion data=data/drive out=runs/quick "variants=[mean, mff]" "train={steps: 100}"
    python training/study.py study=subsets data=D out=OUT "train={steps: 1000000, max_processor_minutes: 20}"

A study is a file of training/configs/study: names of variants and their settings, on top of RECIPE. `after: <variant>`
among them starts from that variant's finished weights, which are trained first; `taught_by: <variant>` makes them the
teacher of method=distil. Each run is training/train.py in its
own process. The budget is equal steps or, with `max_processor_minutes` or `max_minutes`, equal time on processors or on
the clock. An interrupted study goes on where it
stopped: finished runs are read, the run under way resumes. Written to <out>: study.md and study.json (table, commands,
seeds), and <variant>-<seed>/ with the run itself.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from any2seg_core.base.atomic import only_one, replacing
from any2seg_core.base.errors import UserError
from any2seg_core.base.screen import refusal
from any2seg_core.base.shipped import shipped_file
from any2seg_core.base.text_files import read_yaml
from any2seg_core.evaluation.monotonicity import TOLERATED_DROP, monotonicity
from any2seg_core.evaluation.robustness import mm_robust
from any2seg_core.runtime.checkpoint_metadata import read_metadata
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_training.config import load_config
from any2seg_training.origin import shown_command
from any2seg_training.settings import answered_help, load_settings

SCRIPTS = Path(__file__).parent
RECIPE = shipped_file("any2seg_training", "configs", "drive_b0_short.yaml")
STUDIES = shipped_file("any2seg_training", "configs", "study")
_ROBUST = "MM-Robust"
_BUDGET = ("steps", "max_minutes", "max_processor_minutes")
_SPENT = {
    "steps": ("steps", 0), "samples": ("samples", 0), "minutes": ("minutes", 1), "processor_minutes": ("processor", 1),
}  # fmt: skip
"""What each run took: its name in the checkpoint -> heading and digits."""
_TAKEN = ("after", "taught_by")
"""Keys of a variant that name another one, whose finished weights it takes."""
_VIOLATIONS = f"by over {TOLERATED_DROP:g}"


class StudyConfig(BaseModel):
    """What is compared, and with how much training."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    study: str = Field("fusion", description="a file of training/configs/study")
    data: Path
    out: Path
    variants: tuple[str, ...] | None = Field(None, description="names of the study's variants; default: all")
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    teacher: Path | None = Field(None, description="embeddings for LSCD; default: made with the text teacher in <out>")
    train: dict[str, Any] = Field({}, description="settings of training/train.py for all runs alike, e.g. {steps: 100}")


def read_study(config: StudyConfig) -> dict[str, dict[str, Any]]:
    """Chosen variants of a study and those that they start from, each with its settings, in the order of training.

    Raises:
        UserError: an unknown study or variant.
    """
    path = STUDIES / f"{config.study}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in STUDIES.glob("*.yaml")))
        raise UserError(f"unknown study {config.study!r}: known are {known}", "value-unknown")
    variants = read_yaml(path, "study")
    unknown = [name for name in config.variants or () if name not in variants]
    if unknown:
        raise UserError(f"unknown variant {unknown[0]!r}: {config.study} has {', '.join(variants)}", "value-unknown")
    chosen: dict[str, dict[str, Any]] = {}
    for name in config.variants or variants:
        chosen |= {needed: variants[needed] for needed in _needed(name, variants)}
    return chosen


def _needed(name: str, variants: dict[str, dict[str, Any]]) -> list[str]:
    """A variant after those whose finished weights it takes."""
    before = [variants[name][key] for key in _TAKEN if key in variants[name]]
    return [*(needed for other in before for needed in _needed(other, variants)), name]


def run_study(config: StudyConfig) -> dict[str, Any]:
    """Train what is missing, in order of the seeds, and write the table after every run.

    Raises:
        UserError: an unknown variant or setting, before anything is trained; a run that failed.
    """
    variants = read_study(config)
    plan = [(name, seed) for seed in config.seeds for name in variants]
    settings = [load_config(arguments(config, name, variants[name], seed)) for name, seed in plan]
    budgets = [{key: getattr(one, key) for key in _BUDGET} for one in settings]
    budget = budgets[0]
    if any(each != budget for each in budgets):
        other = next(each for each in budgets if each != budget)
        raise UserError(
            f"study={config.study}: its variants have different budgets ({budget} and {other}); set one with "
            "train={steps: N}",
            "study-mismatch",
        )
    runs: list[dict[str, Any]] = []
    document = {"study": config.study, **budget, "seeds": list(config.seeds), "runs": runs}
    is_timed = any(budget[key] for key in _BUDGET[1:])
    for number, (name, seed) in enumerate(plan, start=1):
        print(f"study: run {number} of {len(plan)}: {name}, seed {seed}", flush=True)
        runs.append(train_one(config, name, variants[name], seed, None if is_timed else budget["steps"]))
        write_table(config.out, document)
    return document


def arguments(config: StudyConfig, name: str, variant: dict[str, Any], seed: int) -> list[str]:
    """Command line of training/train.py for one run."""
    given = {"data": config.data, "out": config.out / f"{name}-{seed}", "seed": seed}
    if "after" in variant:
        given["init"] = finished_weights(config, variant["after"], seed)
    settings = variant | config.train
    if "taught_by" in variant:
        teacher = str(finished_weights(config, variant["taught_by"], seed))
        settings["distil"] = settings.get("distil", {}) | {"teachers": teacher}
    given |= {key: json.dumps(value) for key, value in settings.items() if key not in _TAKEN}
    if needs_teacher(variant):
        given["teacher"] = config.teacher or config.out / "teacher"
    return [str(RECIPE), *(f"{key}={value}" for key, value in given.items())]


def finished_weights(config: StudyConfig, name: str, seed: int) -> Path:
    """Checkpoint of one run, there once it is finished."""
    return config.out / f"{name}-{seed}" / "final.safetensors"


def needs_teacher(variant: dict[str, Any]) -> bool:
    """Whether a variant has a term of LSCD."""
    return "lambda_cr" in variant or "lambda_se" in variant


def train_one(config: StudyConfig, name: str, variant: dict[str, Any], seed: int, steps: int | None) -> dict[str, Any]:
    """One run: read if it is finished, resumed if it was interrupted, else from the start.

    Args:
        steps: that a finished run must have had; None: the time decided.
    """
    folder = config.out / f"{name}-{seed}"
    given = arguments(config, name, variant, seed)
    finished = finished_weights(config, name, seed)
    if not finished.is_file():
        if needs_teacher(variant) and config.teacher is None:
            make = ["teacher=text", f"data={config.data}", f"out={config.out / 'teacher'}"]
            run_script([str(SCRIPTS / "cache_teacher.py"), *make])
        resume = ["resume=true"] if (folder / "last.pt").is_file() else []
        run_script([str(SCRIPTS / "train.py"), *given, *resume])
    metadata = read_metadata(finished)
    provenance = metadata["provenance"]
    if steps is not None and provenance["steps"] != steps:
        raise UserError(
            f"{finished} had {provenance['steps']} steps, not {steps}: choose another out", "study-mismatch"
        )
    facts = {key: provenance.get(key) for key in _SPENT} | {"results": provenance["results"]}
    config_of_run = provenance["config"]
    facts["samples"] = provenance["steps"] * config_of_run["batch_size"] * config_of_run["accumulate"]
    facts["suite"] = InputContract.model_validate(metadata["contract"]).suite.to_document()
    return {"variant": name, "seed": seed, "after": variant.get("after"), "command": shown_command(given)} | facts


def run_script(command: Sequence[str]) -> None:
    """A script of this folder in a process of its own; UserError if it fails."""
    code = subprocess.call([sys.executable, *command])
    if code != 0:
        raise UserError(
            f"exit code {code} of: {shlex.join(['python', *command])}; the same study goes on from there",
            "process-failed",
        )


def columns(runs: Sequence[dict[str, Any]]) -> list[str]:
    """What a table shows of runs: all sensors that one of them has, means, each sensor, lowered steps of how many."""
    full = max((letters for run in runs for letters in run["results"]["subsets"]), key=len, default="")
    return list(dict.fromkeys([full, _mean_of(full), _ROBUST, *full, _steps_of(full), _VIOLATIONS]))


def figures(results: dict[str, Any], suite: SensorSuite) -> dict[str, float]:
    """All columns of one run, as far as it has them; mIoU in percent over the classes present."""
    own = {letters: row["miou_present"] for letters, row in results["subsets"].items()}
    table, full = dict(own), max(own, key=len, default="")
    if (robust := mm_robust(table, suite)) is not None:
        own[_ROBUST] = robust
    if len(table) == 2 ** len(full) - 1 and (pairs := monotonicity(table)) is not None:
        own[_mean_of(full)] = results["subset_mean"]["miou_present"]
        own[_steps_of(full)], own[_VIOLATIONS] = float(pairs["lowered"]), float(pairs["violations"])
    return own


def _mean_of(letters: str) -> str:
    return f"mean of {2 ** len(letters) - 1}"


def _steps_of(letters: str) -> str:
    """Adding one sensor to each subset that lacks it."""
    return f"steps lowered of {len(letters) * (2 ** len(letters) // 2 - 1)}"


def write_table(out: Path, document: dict[str, Any]) -> None:
    """study.json and study.md: mean and standard deviation over the seeds so far, and every command."""
    rows, heads = [], columns(document["runs"])
    for name in dict.fromkeys(run["variant"] for run in document["runs"]):
        runs = [run for run in document["runs"] if run["variant"] == name]
        measured = [figures(run["results"], SensorSuite.of_document(run["suite"])) for run in runs]
        cells = [spread([figure[head] for figure in measured if head in figure]) for head in heads]
        spent = [mean_spent([run.get(key) for run in runs], digits) for key, (_, digits) in _SPENT.items()]
        rows.append([name, str(len(runs)), *cells, *spent])
    headings = ["variant", "seeds", *heads, *(heading for heading, _ in _SPENT.values())]
    frames = " or ".join(str(count) for count in sorted({run["results"]["frames"] for run in document["runs"]}))
    starts = {run["variant"]: run["after"] for run in document["runs"] if run["after"] is not None}
    lines = [
        f"# Study: {document['study']}", "",
        f"mIoU in percent over the classes present in the truth, {frames} val frames, protocol drop; "
        f"{budget_text(document)} each; mean and standard deviation over the seeds. Samples are labelled ones; minutes "
        "on the clock and on processors are without the last evaluation.", "",
        f"| {' | '.join(headings)} |", "| --- |" + " ---: |" * (len(headings) - 1),
        *(f"| {' | '.join(row)} |" for row in rows), "",
        *(f"- {name} goes on from the weights of {start}" for name, start in starts.items()), *[""] * bool(starts),
        "## Commands", "",
        *(f"    {run['command']}" for run in document["runs"]),
    ]  # fmt: skip
    for name, text in (("study.json", json.dumps(document, indent=1)), ("study.md", "\n".join(lines))):
        with replacing(out / name) as partial:
            partial.write_text(text + "\n", encoding="utf-8")


def budget_text(document: dict[str, Any]) -> str:
    """What every run of a study may take, in words."""
    for key, unit in (("max_processor_minutes", "minutes of processor time"), ("max_minutes", "minutes")):
        if document.get(key):
            return f"{document[key]:g} {unit}"
    return f"{document['steps']} steps"


def mean_spent(values: Sequence[float | None], digits: int) -> str:
    """Mean over the seeds; empty where a checkpoint of an older version does not say."""
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.{digits}f}" if known else ""


def spread(values: Sequence[float]) -> str:
    """``mean ± standard deviation`` over seeds; the value alone for one, empty for none."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"


def main(given: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    words = sys.argv[1:] if given is None else given
    if answered_help(words, __doc__, StudyConfig):
        return 0
    try:
        config = load_settings(StudyConfig, words)
        with only_one(config.out / ".lock", f"out={config.out}: a study"):
            run_study(config)
    except (UserError, OSError) as error:
        print(f"study: {refusal(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("study: stopped; the same command goes on from the last state saved", file=sys.stderr)
        return 130
    print((config.out / "study.md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
