"""An evaluation of a data set as files for people and programs: JSON lines, Markdown, HTML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from any2seg_core.base.atomic import replacing
from any2seg_core.base.versions import versions
from any2seg_core.evaluation.frame_views import FrameView
from any2seg_core.evaluation.tables import mapping_lines, render
from any2seg_core.reports.document import Figure, Report, Section, Table
from any2seg_core.reports.monotonicity import MONOTONICITY_NOTE, monotonicity_rows
from any2seg_core.reports.pictures import CONFUSION_NOTE, class_figures, class_legend, frame_sheet
from any2seg_core.reports.subset_charts import reliability, shown_subsets, subset_bars
from any2seg_core.vocabulary.labels import stored_label_space
from any2seg_core.vocabulary.modalities import SensorSuite

_RIVALS_DRAWN = 4
_COLUMNS = 15  # subsets of four sensors


def write_documents(
    folder: Path, document: dict[str, Any], views: Sequence[FrameView] = (), command: str = ""
) -> list[Path]:
    """Write ``results.jsonl``, ``report.md`` and ``report.html``; each whole or not at all.

    Args:
        document: of `evaluate_dataset`. views: frames to show. command: what was run.

    Raises:
        UserError: the folder cannot be written.
    """
    report = dataset_report(document, views, command)
    texts = {"results.jsonl": json_lines(document), "report.md": report.markdown(), "report.html": report.html()}
    written = []
    for name, text in texts.items():
        path = folder / name
        with replacing(path) as partial:
            partial.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def json_lines(document: dict[str, Any]) -> str:
    """First line: what was evaluated and all figures that are not per subset; then a line per subset and per frame."""
    per_class = ("class_iou", "class_f1", "class_accuracy", "calibration")
    apart = ("subsets", "per_frame", *per_class)
    lines = [{"kind": "evaluation"} | {key: value for key, value in document.items() if key not in apart}]
    for letters, row in document["subsets"].items():
        own = {key: document[key][letters] for key in per_class}
        lines.append({"kind": "subset", "sensors": letters} | row | own)
    lines += [{"kind": "frame"} | entry for entry in document["per_frame"]]
    return "".join(json.dumps(entry) + "\n" for entry in lines)


def dataset_report(document: dict[str, Any], views: Sequence[FrameView] = (), command: str = "") -> Report:
    """All tables, charts and pictures of an evaluation."""
    charts = _charts(document)
    parts = []
    for section in sections(document):
        chart = charts.get(section.title)
        parts.append(section if chart is None else Section(section.title, (chart, *section.blocks), section.note))
    parts.append(_confusion_section(document))
    if views:
        space = stored_label_space(document["label_space"])
        suite = SensorSuite.of_document(document["suite"])
        sensors = suite.canonical({name for view in views for name in view.planes})
        note = f"{len(views)} frames, evenly spread; labels of all sensors. Red: wrong."
        parts.append(Section("Predictions", (frame_sheet(views, sensors, suite, space), class_legend(space)), note))
    facts = [
        ("checkpoint", str(document["checkpoint"])),
        ("data", f"{document['data']}, split {document['split']}"),
        ("frames", str(document["frames"])),
        *(("classes", line) for line in mapping_lines(document.get("mapping"))),
        ("protocol", document["protocol"]),
        ("engine", ", ".join(document["engine"].values())),
        ("seed of the damage", str(document["seed"])),
        ("versions", ", ".join(f"{name} {value}" for name, value in versions().items())),
    ]
    problems = [f"left out: {skipped}" for skipped in document["skipped"]]
    return Report(_title(document), _introduction(document), parts, facts, command, problems)


def _charts(document: dict[str, Any]) -> dict[str, Figure]:
    """Section -> its chart."""
    rivals = [
        (f"{row['method']} ({row['protocol']})", row["subsets"])
        for row in document["published"]
        if len(row["subsets"]) > 1
    ]
    policy = "miou_all" if rivals else "miou_present"
    subsets = shown_subsets(list(document["subsets"]))
    bars = {letters: document["subsets"][letters][policy] for letters in subsets}
    diagrams = reliability({letters: document["calibration"][letters]["bins"] for letters in subsets})
    return {
        "Sensor subsets": Figure(subset_bars(bars, rivals[:_RIVALS_DRAWN]), "mIoU per sensor subset"),
        "Calibration": Figure(diagrams, "share of right pixels over confidence, per sensor subset"),
    }


def text(document: dict[str, Any]) -> str:
    """The subset table and what else was asked for, narrow enough for a terminal; the documents say the rest."""
    singles = [letters for letters in document["subsets"] if len(letters) == 1]
    narrow = {
        "Conditions and failures": ("case", "frames", list(document["subsets"])[-1], *singles),
        "Robustness": ("figure", "this checkpoint"),
        "Retention": ("sensors", "this checkpoint", "specialist", "retention"),
        "Damaged sensors": ("damage", "this checkpoint"),
    }
    parts = [render(document)]
    if document.get("mapping"):
        parts += ["", *mapping_lines(document["mapping"])]
    for section in sections(document):
        if section.title in narrow:
            headings = tuple(dict.fromkeys(narrow[section.title]))
            columns = [section.table.headings.index(heading) for heading in headings]
            rows = [headings, *(tuple(row[column] for column in columns) for row in section.table.rows)]
            parts += ["", section.title, *_aligned([row for row in rows if any(row[1:])])]
    return "\n".join(parts)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows
    ]


def sections(document: dict[str, Any]) -> Iterator[Section]:
    """All tables that the document has the numbers for."""
    yield _subset_section(document)
    if document["published"]:
        yield _published_section(document)
    if document["cases"]:
        yield _case_section(document)
    yield _robustness_section(document)
    if "retention" in document:
        yield _retention_section(document)
    if "noise" in document:
        yield _noise_section(document)
    yield _calibration_section(document)
    yield _class_section(document)


def _title(document: dict[str, Any]) -> str:
    return f"{Path(document['checkpoint']).name} on {Path(document['data']).resolve().name} ({document['split']})"


def _introduction(document: dict[str, Any]) -> str:
    size, protocol = document["eval_size"], document["protocol"]
    absent = {"drop": "absent sensors leave the fusion", "zero": "absent sensors are zeros after normalisation"}
    sentences = [
        f"{document['frames']} frames",
        f", {len(document['skipped'])} corrupt ones skipped" if document["skipped"] else "",
        ", truth as on disk." if size is None else f", truth resized to a shorter side of {size}, nearest pixel.",
        f" Protocol {protocol}: {absent[protocol]}. All figures in percent.",
        "" if document["precision"] == "float32" else f" Encoder in {document['precision']}.",
        "" if document["parity"] == "none" else f" Read as the loader of {document['parity']} does, defects included.",
    ]
    return "".join(sentences)


_MEANS = {
    "miou_present": "mIoU present", "miou_all": "mIoU all", "miou_without_other": "mIoU w/o Other",
    "f1_present": "F1 present", "f1_all": "F1 all", "accuracy_present": "acc. present", "accuracy_all": "acc. all",
    "pixel_accuracy": "pixel acc.",
}  # fmt: skip


def _subset_section(document: dict[str, Any]) -> Section:
    rows = [(letters, *_cells(row, list(_MEANS))) for letters, row in document["subsets"].items()]
    rows.append(("mean", *_cells(document["subset_mean"], list(_MEANS))))
    rows.append(("standard deviation", *_cells(document["subset_std"], list(_MEANS))))
    if "prior_baselines" in document:
        baselines = document["prior_baselines"]
        rows.append((f"baseline: always {baselines['constant_class']}", _number(baselines["constant"]), *[""] * 7))
        rows.append(("baseline: prior per pixel", _number(baselines["pixel_prior"]), *[""] * 7))
    note = (
        "mIoU over the classes present in the truth, over all classes (an absent class counts 0, the papers' "
        'convention) and over all without "Other"; F1 and accuracy (recall) the same. Standard deviation: '
        "of the subsets. Prior baselines need no sensor. "
        f"The chart shows mIoU over {'all classes' if document['published'] else 'the classes present'}."
        f"{_left_out(shown_subsets(list(document['subsets'])), document)}"
    )
    headings = ("sensors", *_MEANS.values())
    return Section("Sensor subsets", (Table(headings, rows),), note)


def _columns(document: dict[str, Any]) -> list[str]:
    """Subsets that are columns of the tables."""
    return shown_subsets(list(document["subsets"]), _COLUMNS)


def _left_out(shown: Sequence[str], document: dict[str, Any]) -> str:
    """A sentence where a page shows some of the subsets."""
    count = len(document["subsets"])
    if len(shown) == count:
        return ""
    return f" {len(shown)} of {count} subsets are shown: each sensor alone, all but each, all; results.jsonl has every."


def _published_section(document: dict[str, Any]) -> Section:
    subsets = _columns(document)
    own = {letters: row["miou_all"] for letters, row in document["subsets"].items()}
    mean = _number(document["subset_mean"]["miou_all"])
    rows = [("this checkpoint", document["protocol"], *_cells(own, subsets), mean)]
    notes: dict[tuple[str, str], list[str]] = {}
    for row in document["published"]:
        name = ", ".join(filter(None, (row["method"], row["backbone"])))
        rows.append((name, row["protocol"], *_cells(row["subsets"], subsets), _number(row["mean"])))
        printed = row["printed_mean"]
        changed = f", printed mean {printed:.2f}" if printed is not None and printed != row["mean"] else ""
        notes.setdefault((row["source"], row["note"]), []).append(f"{name}{changed}")
    told = [f"{source}: {'; '.join(names)}{f' ({said})' if said else ''}." for (source, said), names in notes.items()]
    note = f"mIoU over all classes; means recomputed from complete rows. {' '.join(told)}"
    return Section("Beside published numbers", (Table(("method", "protocol", *subsets, "mean"), rows),), note)


def _case_section(document: dict[str, Any]) -> Section:
    subsets = _columns(document)
    policy = "miou_all" if document["published"] else "miou_present"
    entries = document["cases"].values()
    rows = [
        (case, str(entry["frames"]), *_cells(entry[policy], subsets)) for case, entry in document["cases"].items()
    ]
    rows.append(("mean", "", *(_number(_mean(entry[policy][name] for entry in entries)) for name in subsets)))
    for row in document["published"]:
        if row["cases"]:
            known = [case for case in document["cases"] if case in row["cases"]]
            for case in known:
                blank = [""] * (len(subsets) - 1)
                rows.append((f"{row['method']}: {case}", "", *blank, _number(row["cases"][case])))
    classes = "all classes" if document["published"] else "the classes present there"
    note = f"mIoU over {classes}, for the frames of one weather or one failure. A frame can count for one of each."
    note += _left_out(subsets, document)
    return Section("Conditions and failures", (Table(("case", "frames", *subsets), rows),), note)


def _expectation_rows(
    key: str, title: str, mean: float, expectation: dict[str, float | None], rivals: Sequence[dict[str, Any]]
) -> list[tuple[str, ...]]:
    """Mean over the subsets and what to expect when sensors fail on their own, beside those who printed the same.

    The expectation is unknown where some subsets were left out.
    """
    rows = [(key, f"{title}mean over the subsets", mean)]
    for probability, value in expectation.items():
        if value is not None:
            rows.append((f"{key}_p{probability}", f"{title}each sensor fails with p = {probability}", value))
    return [(text, _number(value), *_cells_of(rivals, name)) for name, text, value in rows]


def _cells_of(rivals: Sequence[dict[str, Any]], name: str) -> list[str]:
    return [_number(rival["numbers"].get(name)) for rival in rivals]


def _robustness_section(document: dict[str, Any]) -> Section:
    rivals = [row for row in document["published"] if "emm" in row["numbers"]]
    rows = _expectation_rows(
        "emm", "", document["subset_mean"]["miou_all"], document["failure_expectation"], rivals
    )
    if document["mm_robust"] is not None:
        rows.append(("MM-Robust: mean of camera, depth and both", _number(document["mm_robust"])))
    rows += monotonicity_rows(document["monotonicity"])
    note = (
        "From mIoU over all classes. Mean and expectation (over independent failures that leave at least one sensor) "
        f"are the EMM benchmark of arXiv 2503.18445 where the protocol is zero. {MONOTONICITY_NOTE}"
    )
    headings = ("figure", "this checkpoint", *(f"{rival['method']} ({rival['protocol']})" for rival in rivals))
    padded = [(*row, *[""] * (len(headings) - len(row))) for row in rows]
    return Section("Robustness", (Table(headings, padded),), note)


def _retention_section(document: dict[str, Any]) -> Section:
    rows = []
    for letters, entry in document["retention"].items():
        rows.append((letters, *_cells(entry, ("model", "specialist", "retention"))))
    note = "mIoU over all classes in percent of what a specialist reaches that was trained on these sensors alone."
    return Section("Retention", (Table(("sensors", "this checkpoint", "specialist", "retention"), rows),), note)


def _noise_section(document: dict[str, Any]) -> Section:
    noise = document["noise"]
    rivals = [row for row in document["published"] if "nm_low" in row["numbers"]]
    rows = []
    for rate, entry in noise["rmm"].items():
        title = f"RMM r = {rate}: "
        rows += _expectation_rows(f"rmm_r{rate}", title, entry["mean"], entry["expectation"], rivals)
    rows += [
        (f"NM {name}: noise on all sensors", _number(value), *_cells_of(rivals, f"nm_{name}"))
        for name, value in noise["nm"].items()
    ]
    note = (
        "Benchmark of arXiv 2503.18445, mIoU over all classes. RMM: in the sensors outside the subset each value is "
        "zero with probability r. NM: salt and pepper on all sensors, then Gaussian noise on all but events; both "
        "after normalisation."
    )
    headings = ("damage", "this checkpoint", *(row["method"] for row in rivals))
    return Section("Damaged sensors", (Table(headings, rows),), note)


def _calibration_section(document: dict[str, Any]) -> Section:
    rows = [
        (letters, *_cells(entry, ("ece", "overconfidence"))) for letters, entry in document["calibration"].items()
    ]
    note = (
        "Expected calibration error over 15 bins of confidence, and mean confidence minus share of right pixels. "
        "Diagrams: confidence to the right, share of right pixels upwards, both 0 to 100 %; a dot above the diagonal "
        "means: more often right than promised."
    )
    return Section("Calibration", (Table(("sensors", "ECE", "overconfidence"), rows),), note)


def _class_section(document: dict[str, Any]) -> Section:
    subsets = _columns(document)
    full = subsets[-1]
    rows = [
        (name, *(_number(document["class_iou"][letters][name]) for letters in subsets),
         _number(document["class_f1"][full][name]), _number(document["class_accuracy"][full][name]))
        for name in document["class_iou"][full]
    ]  # fmt: skip
    note = f"IoU of the classes present in the truth, per subset; F1 and accuracy (recall) of {full}."
    note += _left_out(subsets, document)
    return Section("Classes", (Table(("class", *subsets, f"F1 {full}", f"accuracy {full}"), rows),), note)


def _confusion_section(document: dict[str, Any]) -> Section:
    confusion = document["confusion"]
    charts = class_figures(stored_label_space(document["label_space"]), np.asarray(confusion["counts"], np.int64))
    return Section("Confusion", charts, f"Of {confusion['sensors']}. {CONFUSION_NOTE} Bars: IoU.")


def _cells(row: dict[str, Any], keys: Sequence[str]) -> list[str]:
    return [_number(row.get(key)) for key in keys]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
