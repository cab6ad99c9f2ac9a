"""Tables of papers: against each other, against arithmetic that holds for any table, and as they are shown."""

from __future__ import annotations

import json
import math

import pytest
from raised import user_error
from typer.testing import CliRunner

from any2seg_core.cli.main import app
from any2seg_core.cli.published import table_text
from any2seg_core.evaluation.published import PrintedRow, PrintedTable, find_tables, published, published_tables
from any2seg_core.vocabulary.labels import DELIVER
from any2seg_core.vocabulary.modalities import VEHICLE, sensor_suite

TABLES = {table.id: table for table in published_tables()}


def by_measure(name: str, measure: str, method: str) -> PrintedRow:
    return next(row for row in TABLES[name].rows if (row.labels["measure"], row.labels["method"]) == (measure, method))


@pytest.mark.parametrize("method", ["CMNeXt", "Any2Seg"])
def test_value_f1_of_a_class_follows_from_its_iou(method: str):
    """F1 = 2 IoU / (1 + IoU) for each of the 25 classes: both rows are typed rightly, or both wrongly alike."""
    iou, f1 = (by_measure("any2seg-s1", measure, method) for measure in ("IoU", "F1"))
    assert tuple(iou.values) == DELIVER.classes
    for name, value in iou.values.items():
        assert f1.values[name] == pytest.approx(200.0 * value / (100.0 + value), abs=0.016)  # both rounded


def test_value_printed_means_that_are_not_those_of_their_rows():
    wrong = {
        (table.id, row.labels["method"], row.mean, row.recomputed)
        for table in TABLES.values()
        if table.data in ("deliver", "muses", "mcubes") and table.id != "any2seg-4"
        for row in table.rows
        if row.is_mean_wrong
    }
    assert wrong == {
        ("any2seg-3", "CMNeXt", 25.25, 25.15),
        ("entropy-1", "CMNeXt", 22.81, 22.21),
        ("entropy-2", "Functional entropy", 47.80, 46.32),
        ("entropy-3", "Functional entropy", 48.29, 48.03),
    }
    assert TABLES["any2seg-4"].wrong_means == 7  # of conditions: for seven rows the mIoU over all frames is printed


def test_value_what_is_printed_twice_is_the_same_here():
    """Rows that several tables print: all sensors, the reprint of Any2Seg's subsets, and the terms of the loss."""
    full = {
        TABLES["any2seg-1"].rows[-1].values["RDEL"],
        TABLES["any2seg-3"].rows[-1].values["RDEL"],
        by_measure("any2seg-s1", "IoU", "Any2Seg").mean,
    }
    assert full == {68.25}
    assert TABLES["any2seg-3"].rows[1].values == TABLES["entropy-3"].rows[2].values
    assert by_measure("any2seg-s2", "F1", "Any2Seg").values["RDEL"] == by_measure("any2seg-s1", "F1", "Any2Seg").mean
    assert TABLES["any2seg-8"].rows[1].values == TABLES["any2seg-5"].rows[2].values
    # M3L's Tables 2 and 7 contradict each other for plain fusion with 0.2 % of the labels.
    robust = [
        row.mean for name in ("m3l-2a", "m3l-7") for row in TABLES[name].rows
        if (row.labels["labels"], row.labels["method"], row.labels.get("measure", "mIoU")) == ("0.2%", "LF", "mIoU")
    ]  # fmt: skip
    assert robust == [34.96, 36.56]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_property_numbers_are_percent_and_names_are_known(table: PrintedTable):
    assert all(0.0 <= value <= 100.0 for row in table.rows for value in row.values.values())
    assert len({tuple(row.labels.items()) for row in table.rows}) == len(table.rows)
    assert table.measure or "measure" in table.rows[0].labels or any("mIoU" in name for name in table.columns)
    letters = {"deliver": VEHICLE.letters, "muses": sensor_suite("muses").letters, "mcubes": "IADN"}
    if table.protocol == "drop" and table.data in letters:
        suite = sensor_suite(table.data) if table.data != "deliver" else VEHICLE
        known = set(map(suite.subset_letters, suite.all_subsets()))
        assert set(table.columns) <= known


def test_value_rows_that_stand_beside_an_evaluation():
    rows = published("mcubes")
    assert [row.method for row in rows if len(row.subsets) == 15] == ["CMNeXt", "MAGIC", "Functional entropy"]
    assert {row.protocol for row in rows} == {"drop", "specialist"}
    any2seg = [row for row in published("deliver") if row.method == "Any2Seg" and len(row.subsets) == 15]
    assert len(any2seg) == 1  # printed by two papers
    assert "Table 3; Functional entropy (ICCV 2025), Table 3" in any2seg[0].source
    assert published("voc") == ()
    segformer = next(row for row in published("deliver") if row.method == "SegFormer")
    assert (segformer.subsets, segformer.mean) == ({"R": 52.10}, None)  # one subset is no mean


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("name", ["any2seg-3", "any2seg-s1", "any2seg-4", "entropy-2", "m3l-7", "agmm-s3"])
def test_shape_a_table_stays_within_the_terminal(name: str, width: int):
    text = table_text(TABLES[name], width)
    assert max(map(len, text.splitlines())) <= width
    for row in TABLES[name].rows:
        for value in row.values.values():
            assert f"{value:.2f}" in text


def test_value_the_command_shows_printed_and_recomputed_means():
    shown = CliRunner().invoke(app, ["published", "entropy-3"], env={"COLUMNS": "80"}).output
    line = next(line for line in shown.splitlines() if line.endswith("48.03*"))
    assert line.split()[0:2] == ["Functional", "entropy"]
    assert "1 of 4 rows: the printed mean is not that of the row" in shown
    listed = CliRunner().invoke(app, ["published"]).output.splitlines()
    assert len(listed) == 1 + len(TABLES)
    assert max(map(len, listed)) <= 80
    documents = json.loads(CliRunner().invoke(app, ["published", "muses", "--json"]).output)
    assert {table["data"] for table in documents} == {"muses"}
    rows = next(table for table in documents if table["id"] == "entropy-2")["rows"]
    assert (rows[-1]["printed_mean"], rows[-1]["mean"]) == (47.80, 46.32)
    assert math.isclose(rows[-1]["values"]["FEL"], 47.89)


def test_exception_an_unknown_table_names_what_there_is():
    with user_error("value-unknown", "any2seg-99", "deliver", "any2seg published"):
        find_tables("any2seg-99")
