"""Questions in SQL: what is answered, and what is refused."""

import json
import math
import os

import pytest
from raised import user_error
from store_tables import IDS, frames_table, recordings_table, topics_table

from any2seg_core.fleet.queries import Answer, ask, chosen_evaluation, fields_of
from any2seg_core.fleet.store import FleetStore


@pytest.fixture
def store(tmp_path):
    found = FleetStore.create(tmp_path / "store")
    rows = [{"vehicle": "car-1", "date": "2026-03-01", "tags": ["a"], "duration_s": math.nan}, {"vehicle": "car-2"}]
    found.write_index(recordings_table(rows), topics_table())
    return found


def test_value_one_select_is_answered(store):
    answer = ask(store, "SELECT vehicle, date, tags, duration_s FROM recordings ORDER BY vehicle")
    assert answer.columns == ("vehicle", "date", "tags", "duration_s")
    records = answer.records()
    assert json.loads(json.dumps(records)) == records == [
        {"vehicle": "car-1", "date": "2026-03-01", "tags": ["a"], "duration_s": None},
        {"vehicle": "car-2", "date": None, "tags": [], "duration_s": None},
    ]  # fmt: skip
    assert ask(store, "SELECT count(*) FROM recordings WHERE vehicle = ?", ["car-1"]).rows == [(1,)]
    assert ask(store, "WITH a AS (FROM recordings) SELECT $x + count(*) FROM a", {"x": 5}).rows == [(7,)]


def test_value_columns_of_one_name_are_all_there(store):
    answer = ask(store, "SELECT 1 AS a, 2 AS a_1, 3 AS a, 4 AS a, 5 AS b")
    (record,) = answer.records()
    assert list(record.values()) == [1, 2, 3, 4, 5]
    assert answer.columns == tuple(record) == ("a", "a_1", "a_2", "a_3", "b")


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM recordings",
        "DROP VIEW recordings",
        "CREATE TABLE a AS SELECT 1",
        "COPY recordings TO '{folder}/stolen.csv'",
        "COPY (SELECT 1) TO '{folder}/store/recordings.parquet'",
        "EXPORT DATABASE '{folder}/stolen'",
        "ATTACH '{folder}/a.db'",
        "SET threads=1",
        "INSTALL httpfs",
        "SELECT 1; SELECT 2",
        "SELECT 1; COPY (SELECT 1) TO '{folder}/a.csv'",
        "",
        "-- nothing",
        "SELECT * FROM read_csv('{folder}/outside.csv')",
        "SELECT * FROM '{folder}/outside.csv'",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM read_parquet('{folder}/store/../outside.csv')",
        "SELEC 1",
        "SELECT nothing FROM recordings",
        "SELECT * FROM recordings WHERE",
    ],
)
def test_exception_anything_else_is_refused_and_changes_nothing(store, sql):
    folder = store.path.parent
    (folder / "outside.csv").write_text("a\n1\n")
    before = {path.name: path.read_bytes() for path in store.path.iterdir() if path.is_file()}
    with user_error("query-refused"):
        ask(store, sql.format(folder=folder))
    assert {path.name: path.read_bytes() for path in store.path.iterdir() if path.is_file()} == before
    assert sorted(os.listdir(folder)) == ["outside.csv", "store"]


def test_value_the_evaluation_that_is_meant(store):
    with user_error("data-missing", store.path):
        chosen_evaluation(store)
    store.write_evaluation("b0", {})
    assert chosen_evaluation(store) == chosen_evaluation(store, "b0") == "b0"
    with user_error("value-unknown", "b9", "b0"):
        chosen_evaluation(store, "b9")
    store.write_evaluation("b1", {})
    with user_error("value-unknown", "b0, b1"):
        chosen_evaluation(store)


def test_value_fields_of_structs(store):
    store.write_evaluation("b0", {})
    store.write_part("b0", IDS[0], frames_table(IDS[0], [{}], ["R", "RL"], ["rgb", "lidar"]))
    assert fields_of(store, "agreement") == ["R", "RL"]
    assert fields_of(store, "reliability") == ["rgb", "lidar"]


def test_value_values_as_json_has_them():
    odd = ({"a": math.inf, "b": (1, None)}, b"\x00", True, 2.5)
    (record,) = Answer(("a", "b", "c", "d"), [odd]).records()
    assert record == {"a": {"a": None, "b": [1, None]}, "b": "b'\\x00'", "c": True, "d": 2.5}


def test_value_a_decimal_is_a_number_in_json(store):
    """DuckDB takes 0.5 in a question for one."""
    (record,) = ask(store, "SELECT 0.5 AS half, sum(1) AS one, NULL::DECIMAL AS none").records()
    assert json.loads(json.dumps(record)) == {"half": 0.5, "one": 1, "none": None}
