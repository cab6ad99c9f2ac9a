"""`any2seg fleet`: from recordings to answers, as a user types it."""

import csv
import io
import json

import pytest
from bag_files import START_NS
from raised import assert_refused
from recordings import small_bag
from store_tables import frames_table
from typer.testing import CliRunner

from any2seg_core.base.entry import run as run_program
from any2seg_core.cli.fleet import fleet_app
from any2seg_core.fleet.store import FleetStore


def called(*words):
    done = CliRunner().invoke(fleet_app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        run_program(fleet_app, "any2seg fleet", [str(word) for word in words])
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet")
    bags = [small_bag(folder / "bags" / name, count) for name, count in (("a", 5), ("b", 6))]
    rows = f"{bags[0]},car-1,rain,2026-03-02\nbags/b,car-2,sun,\n"
    (folder / "drives.csv").write_text("url,vehicle,weather,date\n" + rows)
    said = called("index", folder / "store", folder / "drives.csv", "--workers", "1")
    assert said == f"{folder}/store: 2 recordings, 2 new or changed, 0 of them broken\n"
    opened = FleetStore.open(folder / "store")
    for name, gain in (("old", 0.0), ("new", 0.25)):
        opened.write_evaluation(name, {})
        for row in opened.recordings().to_pylist():
            frames = [{"stamp_ns": START_NS + at * 100_000_000, "used": "RL", "confidence": 0.5 + gain - at / 100,
                       "agreement": {"R": 0.5, "RL": 1.0}, "reliability": {"rgb": 1.0, "lidar": 0.5},
                       "embedding": [at, gain]} for at in range(5)]  # fmt: skip
            opened.write_part(name, row["recording_id"], frames_table(row["recording_id"], frames))
    return folder / "store"


def test_value_query_prints_a_table_json_and_csv(store):
    sql = "SELECT vehicle, tags, duration_s FROM recordings ORDER BY vehicle"
    table = called("query", store, sql)
    assert "car-1" in table and max(map(len, table.splitlines())) <= 120
    as_json = json.loads(called("query", store, sql, "--json"))
    assert [(row["vehicle"], row["tags"]) for row in as_json] == [("car-1", []), ("car-2", [])]
    rows = list(csv.reader(io.StringIO(called("query", store, sql, "--csv"))))
    assert rows[0] == ["vehicle", "tags", "duration_s"]
    assert [row[0] for row in rows[1:]] == ["car-1", "car-2"]


def test_value_worst_writes_a_page_with_what_the_camera_saw(store, tmp_path):
    words = ("--evaluation", "old", "--count", "3", "--apart", "0.2", "--out", tmp_path / "out", "--json")
    rows = json.loads(called("worst", store, *words))
    assert [(row["vehicle"], row["stamp_ns"]) for row in rows] == [
        ("car-1", START_NS + 400_000_000), ("car-2", START_NS + 400_000_000), ("car-1", START_NS + 200_000_000),
    ]  # fmt: skip
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/jpeg") == 4  # the last row is filled up
    assert "car-1" in page and "rain" in page and "<script" not in page


def test_value_the_other_questions_answer(store):
    assert json.loads(called("failures", store, "--evaluation", "old", "--json")) == []
    (first, *_) = json.loads(called("compare", store, "old", "new", "--json"))
    assert (first["group"], first["measure"], first["difference"]) == ("all", "confidence", pytest.approx(25.0))
    weeks = json.loads(called("drift", store, "--evaluation", "new", "--json"))
    assert [(row["week"], row["vehicle"], row["lidar"]) for row in weeks] == [
        ("2020-09-07", None, 0.5), ("2026-03-02", None, 0.5), ("2026-03-02", "car-1", 0.5), ("2020-09-07", "car-2", 0.5)
    ]  # fmt: skip


def test_value_select_writes_moments(store, tmp_path):
    said = called("select", store, "--evaluation", "old", "--budget", "4", "--out", tmp_path / "moments.csv")
    assert said == f"{tmp_path}/moments.csv: 4 frames of 1 recordings\n"  # the other one shows the same
    with (tmp_path / "moments.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert {row["why"] for row in rows} == {"unsure"}
    words = ("--evaluation", "old", "--budget", "4", "--out", tmp_path / "again.csv", "--json")
    told = json.loads(called("select", store, *words))
    assert [(row["url"], row["stamp_ns"]) for row in told] == [(row["url"], int(row["stamp_ns"])) for row in rows]
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "moments.csv").read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("query", "{store}", "DROP VIEW frames"), "query-refused", "SELECT"),
        (("query", "{store}", "SELECT 1", "--json", "--csv"), "value-conflict", "--csv"),
        (("query", "{store}/none", "SELECT 1"), "store-missing", "none"),
        (("worst", "{store}"), "value-unknown", "old"),
        (("worst", "{store}", "--by", "luck", "--evaluation", "old"), "value-unknown", "luck"),
        (("compare", "{store}", "old", "older"), "value-unknown", "older"),
        (("select", "{store}", "--evaluation", "old", "--budget", "0"), "value-invalid", "budget"),
        (("index", "{store}", "{store}/none"), "file-missing", "none"),
    ],
)
def test_exception_a_wrong_call_is_one_line(store, capsys, words, code, named):
    assert_refused(refused(capsys, *(word.format(store=store) for word in words)), code, named)
