"""An evaluation as files for people and programs: JSON lines, Markdown, HTML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from any2seg_core.base.atomic import replacing
from any2seg_core.evaluation.tables import render
from any2seg_core.reports.page import number_table, page
from any2seg_core.reports.subset_charts import reliability, subset_bars

_RIVALS_DRAWN = 4


class Section(NamedTuple):
    """One table: title, a sentence that says how to read it, headings, rows of cells."""

    title: str
    note: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]


def write_documents(folder: Path, document: dict[str, Any]) -> list[Path]:
    """Write ``results.jsonl``, ``report.md`` and ``report.html``; each whole or not at all. UserError if not."""
    texts = {"results.jsonl": json_lines(document), "report.md": markdown(document), "report.html": html(document)}
    written = []
    for name, text in texts.items():
        path = folder / name
        with replacing(path) as partial:
            partial.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def json_lines(document: dict[str, Any]) -> str:
    """First line: what was judged and every figure that is not per subset; then one line per subset."""
    tables = ("subsets", "class_iou", "calibration")
    head = {"kind": "evaluation"} | {key: value for key, value in document.items() if key not in tables}
    lines = [head]
    for letters, row in document["subsets"].items():
        per_class = {"class_iou": document["class_iou"][letters], "calibration": document["calibration"][letters]}
        lines.append({"kind": "subset", "sensors": letters} | row | per_class)
    return "".join(json.dumps(entry) + "\n" for entry in lines)


def markdown(document: dict[str, Any]) -> str:
    """Headline and all tables."""
    parts = [f"# {_title(document)}", "", _introduction(document)]
    for section in sections(document):
        parts += ["", f"## {section.title}", "", section.note, ""]
        parts.append(f"| {' | '.join(section.headings)} |")
        parts.append("| --- |" + " ---: |" * (len(section.headings) - 1))
        parts += [f"| {' | '.join(row)} |" for row in section.rows]
    return "\n".join(parts) + "\n"


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
    for section in sections(document):
        if section.title in narrow:
            headings = tuple(dict.fromkeys(narrow[section.title]))
            columns = [section.headings.index(heading) for heading in headings]
            rows = [headings, *(tuple(row[column] for column in columns) for row in section.rows)]
            parts += ["", section.title, *_aligned([row for row in rows if any(row[1:])])]
    return "\n".join(parts)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows
    ]


def html(document: dict[str, Any]) -> str:
    """The same tables, with charts, in one file that refers to nothing outside itself."""
    rivals = [
        (f"{row['method']} ({row['protocol']})", row["subsets"])
        for row in document["published"]
        if len(row["subsets"]) > 1
    ]
    policy = "miou_all" if rivals else "miou_present"
    bars = {letters: row[policy] for letters, row in document["subsets"].items()}
    diagrams = reliability({letters: entry["bins"] for letters, entry in document["calibration"].items()})
    charts = {
        "Sensor subsets": f'<div class="scroll">{subset_bars(bars, rivals[:_RIVALS_DRAWN])}</div>',
        "Calibration": f'<div class="scroll">{diagrams}</div>',
    }
    parts = []
    for section in sections(document):
        columns = [(heading, "right" if number else "left") for number, heading in enumerate(section.headings)]
        table = number_table(columns, section.rows)
        chart = charts.get(section.title, "")
        parts.append((section.title, f'<p class="muted">{escape(section.note)}</p>\n{chart}\n{table}'))
    return page(_title(document), _introduction(document), parts)


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


def _subset_section(document: dict[str, Any]) -> Section:
    rows = [
        (letters, *_cells(row, ("miou_present", "miou_all", "miou_without_other", "f1_present", "accuracy_present")))
        for letters, row in document["subsets"].items()
    ]
    rows.append(("mean", *_cells(document["subset_mean"], ("miou_present", "miou_all", "miou_without_other")), "", ""))
    if "prior_baselines" in document:
        baselines = document["prior_baselines"]
        rows.append((f"baseline: always {baselines['constant_class']}", _number(baselines["constant"]), *[""] * 4))
        rows.append(("baseline: prior per pixel", _number(baselines["pixel_prior"]), *[""] * 4))
    note = (
        "mIoU over the classes present in the truth, over all classes (an absent class counts 0, the papers' "
        'convention) and over all without "Other"; F1 and accuracy over the classes present. Prior baselines '
        "need no sensor. "
        f"The chart shows mIoU over {'all classes' if document['published'] else 'the classes present'}."
    )
    headings = ("sensors", "mIoU present", "mIoU all", "mIoU w/o Other", "F1", "accuracy")
    return Section("Sensor subsets", note, headings, rows)


def _published_section(document: dict[str, Any]) -> Section:
    subsets = list(document["subsets"])
    own = {letters: row["miou_all"] for letters, row in document["subsets"].items()}
    mean = _number(document["subset_mean"]["miou_all"])
    rows = [("this checkpoint", document["protocol"], *_cells(own, subsets), mean)]
    notes = []
    for row in document["published"]:
        name = f"{row['method']}, {row['backbone']}"
        rows.append((name, row["protocol"], *_cells(row["subsets"], subsets), _number(row["mean"])))
        printed = row["printed_mean"]
        changed = f", printed mean {printed:.2f}" if printed is not None and printed != row["mean"] else ""
        notes.append(f"{name}: {row['source']}{changed}{'; ' + row['note'] if row['note'] else ''}.")
    note = f"mIoU over all classes; means recomputed from complete rows. {' '.join(notes)}"
    return Section("Beside published numbers", note, ("method", "protocol", *subsets, "mean"), rows)


def _case_section(document: dict[str, Any]) -> Section:
    subsets = list(document["subsets"])
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
    return Section("Conditions and failures", note, ("case", "frames", *subsets), rows)


def _expectation_rows(
    key: str, title: str, mean: float, expectation: dict[str, float], rivals: Sequence[dict[str, Any]]
) -> list[tuple[str, ...]]:
    """Mean over the subsets and what to expect when sensors fail on their own, beside those who printed the same."""
    rows = [(key, f"{title}mean over all subsets", mean)]
    for probability, value in expectation.items():
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
        rows.append(("MM-Robust: mean of R, D and RD", _number(document["mm_robust"])))
    steps = document["monotonicity"]
    if steps is not None:
        share = f"{steps['lowered']} of {steps['steps']}"
        rows.append(("steps at which one more sensor lowers mIoU", share))
        rows.append(("mean drop where it does, points", _number(steps["mean_drop"])))
        rows.append(("mean change of all steps, points", _number(steps["mean_change"])))
        for drop in steps["worst"]:
            rows.append((f"drop: {drop['from']} + {drop['adding']}, points", _number(drop["change"])))
        for sensor, change in steps["by_sensor"].items():
            rows.append((f"adding {sensor}, mean change in points", _number(change)))
    note = (
        "From mIoU over all classes. Mean and expectation (over independent failures that leave at least one sensor) "
        "are the EMM benchmark of arXiv 2503.18445 where the protocol is zero."
    )
    headings = ("figure", "this checkpoint", *(f"{rival['method']} ({rival['protocol']})" for rival in rivals))
    return Section("Robustness", note, headings, [(*row, *[""] * (len(headings) - len(row))) for row in rows])


def _retention_section(document: dict[str, Any]) -> Section:
    rows = []
    for letters, entry in document["retention"].items():
        rows.append((letters, *_cells(entry, ("model", "specialist", "retention"))))
    note = "mIoU over all classes in percent of what a specialist reaches that was trained on these sensors alone."
    return Section("Retention", note, ("sensors", "this checkpoint", "specialist", "retention"), rows)


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
    return Section("Damaged sensors", note, ("damage", "this checkpoint", *(row["method"] for row in rivals)), rows)


def _calibration_section(document: dict[str, Any]) -> Section:
    rows = [
        (letters, *_cells(entry, ("ece", "overconfidence"))) for letters, entry in document["calibration"].items()
    ]
    note = (
        "Expected calibration error over 15 bins of confidence, and mean confidence minus share of right pixels. "
        "Diagrams: confidence to the right, share of right pixels upwards, both 0 to 100 %; a dot above the diagonal "
        "means: more often right than promised."
    )
    return Section("Calibration", note, ("sensors", "ECE", "overconfidence"), rows)


def _class_section(document: dict[str, Any]) -> Section:
    subsets = list(document["subsets"])
    rows = [
        (name, *(_number(document["class_iou"][letters][name]) for letters in subsets))
        for name in document["class_iou"][subsets[-1]]
    ]
    return Section("Classes", "IoU of the classes present in the truth.", ("class", *subsets), rows)


def _cells(row: dict[str, Any], keys: Sequence[str]) -> list[str]:
    return [_number(row.get(key)) for key in keys]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
