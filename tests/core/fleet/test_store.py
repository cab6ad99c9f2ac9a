"""A fleet's store: whole files, one version, and what DuckDB sees of it."""

import json
import os
import random

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raised import user_error
from store_tables import IDS, frames_table, recordings_table, topics_table

from any2seg_core.fleet.schemas import frames_schema, recordings_schema
from any2seg_core.fleet.store import FleetStore


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def indexed(folder, rows=({}, {})):
    store = FleetStore.create(folder)
    store.write_index(recordings_table(rows), topics_table([{"recording_id": IDS[0], "topic": "/a"}]))
    return store


def test_smoke_an_empty_store_has_all_views(tmp_path):
    connection = FleetStore.create(tmp_path / "store").connection()
    views = ("recordings", "topics", "frames")
    counts = [connection.execute(f"SELECT count(*) FROM {view}").fetchone() for view in views]
    assert counts == [(0,), (0,), (0,)]
    names = [row[0] for row in connection.execute("DESCRIBE frames").fetchall()]
    assert names == ["evaluation", *frames_schema(["R"], ["rgb"]).names]


def test_value_tables_come_back_as_written(tmp_path):
    rows = [{"url": "/b", "vehicle": "car", "date": "2026-03-01", "tags": ["a", "b"]}, {"url": "/a", "state": "broken"}]
    indexed(tmp_path / "store", rows)
    table = FleetStore.open(tmp_path / "store").recordings()
    assert table.schema.equals(recordings_schema())
    assert table.column("url").to_pylist() == ["/a", "/b"]
    assert table.column("tags").to_pylist() == [[], ["a", "b"]]
    assert str(table.column("date").to_pylist()[1]) == "2026-03-01"


@settings(max_examples=25)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "vehicle": st.none() | st.text(max_size=9),
                "tags": st.none() | st.lists(st.text(max_size=5), max_size=3),
                "n_bytes": st.none() | st.integers(0, 2**63 - 1),
                "duration_s": st.none() | st.floats(allow_nan=False),
                "date": st.none() | st.dates(),
            }
        ),
        max_size=5,
    )
)
def test_property_duckdb_reads_what_pyarrow_wrote(tmp_path_factory, rows):
    store = indexed(tmp_path_factory.mktemp("fleet") / "store", rows)
    names = list(rows[0]) if rows else ["vehicle"]
    found = store.connection().execute(f"SELECT {', '.join(names)} FROM recordings ORDER BY url").fetchall()
    assert found == [tuple(row[name] for name in names) for row in rows]


@pytest.mark.parametrize(
    ("document", "code", "named"),
    [
        ({"format": "any2seg-fleet", "version": 2}, "store-version", "2"),
        ({"format": "any2seg-fleet"}, "store-version", "None"),
        ({"format": "another", "version": 1}, "store-missing", "store.json"),
        ([1], "store-missing", "store.json"),
    ],
)
def test_exception_a_store_of_another_version(tmp_path, document, code, named):
    indexed(tmp_path / "store")
    (tmp_path / "store" / "store.json").write_text(json.dumps(document))
    before = files(tmp_path)
    with user_error(code, named):
        FleetStore.open(tmp_path / "store")
    assert files(tmp_path) == before


def test_exception_no_store(tmp_path):
    with user_error("store-missing", tmp_path / "none"):
        FleetStore.open(tmp_path / "none")
    (tmp_path / "data").mkdir()
    with user_error("store-missing", tmp_path / "data"):
        FleetStore.open(tmp_path / "data")
    with user_error("output-exists", tmp_path / "data"):
        FleetStore.create(tmp_path / "data")
    with user_error("value-format", "[1]"):
        FleetStore.create(tmp_path / "[1]")


def test_exception_a_description_of_an_evaluation_that_is_none(tmp_path):
    store = indexed(tmp_path / "store")
    store.write_evaluation("b0", {})
    (store.path / "evaluations/b0/evaluation.json").write_text("[1]")
    with user_error("store-damaged", "evaluation.json"):
        store.evaluations()


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"nothing of Parquet"])
def test_exception_a_damaged_table(tmp_path, damage):
    indexed(tmp_path / "store")
    (tmp_path / "store" / "topics.parquet").write_bytes(damage)
    with user_error("store-damaged", "topics.parquet"):
        FleetStore.open(tmp_path / "store")


def test_exception_a_table_with_another_column(tmp_path):
    store = indexed(tmp_path / "store")
    pq.write_table(store.recordings().drop_columns("etag"), store.path / "recordings.parquet")
    with user_error("store-damaged", "recordings.parquet", "etag"):
        FleetStore.open(store.path)


def test_exception_the_same_recording_twice(tmp_path):
    store = indexed(tmp_path / "store")
    before = files(tmp_path)
    with user_error("value-twice", IDS[3]):
        store.write_index(recordings_table([{"recording_id": IDS[3]}] * 2), topics_table())
    assert files(tmp_path) == before


def test_exception_neither_table_is_replaced_where_one_cannot_be(tmp_path, monkeypatch):
    store = indexed(tmp_path / "store")
    before = files(tmp_path)
    real = pq.write_table

    def full(table, path, **options):
        if "topics" in str(path):
            raise OSError(28, "No space left on device")
        real(table, path, **options)

    monkeypatch.setattr(pq, "write_table", full)
    with user_error("output-unwritable", "topics.parquet"):
        store.write_index(recordings_table([{}]), topics_table())
    assert files(tmp_path) == before


def test_value_frames_of_parts_and_of_the_merged_file_are_the_same(tmp_path):
    store = indexed(tmp_path / "store", [{}] * 5)
    store.write_evaluation("b0", {"checkpoint": "drive_b0"})
    for at in (4, 0, 2):
        rows = [{"stamp_ns": stamp, "confidence": at / 8, "agreement": {"R": 0.5, "RL": 1.0}} for stamp in (7, 3)]
        store.write_part("b0", IDS[at], frames_table(IDS[at], rows))
    ask = "SELECT evaluation, recording_id, stamp_ns, confidence, agreement.R FROM frames"
    expected = [("b0", IDS[at], stamp, at / 8, 0.5) for at in (0, 2, 4) for stamp in (3, 7)]
    assert store.finished("b0") == {IDS[0], IDS[2], IDS[4]}
    assert sorted(store.connection().execute(ask).fetchall()) == expected
    assert store.merge("b0") == 6
    merged = pq.read_table(store.path / "evaluations/b0/frames.parquet")
    assert merged.column("recording_id").to_pylist() == [IDS[at] for at in (0, 0, 2, 2, 4, 4)]
    assert merged.column("stamp_ns").to_pylist() == [3, 7] * 3
    assert store.connection().execute(ask).fetchall() == expected
    store.write_part("b0", IDS[1], frames_table(IDS[1], [{"stamp_ns": 1}]))  # after the merge: counted, and once
    assert store.connection().execute("SELECT count(*) FROM frames").fetchone() == (7,)


def test_value_two_evaluations_of_different_sensors_stand_in_one_view(tmp_path):
    store = indexed(tmp_path / "store")
    for name, sensors, letters in (("one", ["rgb"], ["R"]), ("two", ["thermal", "rgb"], ["T", "RT"])):
        store.write_evaluation(name, {})
        part = frames_table(IDS[0], [{"reliability": dict.fromkeys(sensors, 0.5)}], letters, sensors)
        store.write_part(name, IDS[0], part)
    found = store.connection().execute(
        "SELECT evaluation, reliability.rgb, reliability.thermal FROM frames ORDER BY evaluation"
    )
    assert found.fetchall() == [("one", 0.5, None), ("two", 0.5, 0.5)]


@pytest.mark.parametrize("is_merged", [True, False])
def test_value_frames_of_a_recording_that_left_the_index_do_not_count(tmp_path, is_merged):
    store = indexed(tmp_path / "store", [{}, {}])
    store.write_evaluation("b0", {})
    for at in (0, 1):
        store.write_part("b0", IDS[at], frames_table(IDS[at], [{}]))
    if is_merged:
        store.merge("b0")
    store.write_index(recordings_table([{"recording_id": IDS[1]}, {"recording_id": IDS[9]}]), topics_table())
    assert store.connection().execute("SELECT recording_id FROM frames").fetchall() == [(IDS[1],)]
    assert store.merge("b0") == 1


def test_value_merging_gives_the_same_bytes_whatever_the_order_of_the_parts(tmp_path):
    contents = []
    for seed in (1, 2):
        store = indexed(tmp_path / str(seed), [{}] * 9)
        order = list(range(9))
        random.Random(seed).shuffle(order)
        for at in order:
            store.write_part("b0", IDS[at], frames_table(IDS[at], [{"flicker": 0.25}] * (at + 1)))
        store.merge("b0")
        contents.append((store.path / "evaluations/b0/frames.parquet").read_bytes())
    assert contents[0] == contents[1]


def test_value_embeddings_keep_their_sixteen_bits(tmp_path):
    store = indexed(tmp_path / "store")
    store.write_evaluation("b0", {})
    vector = np.array([0.1, -2.5, 65504], np.float16)
    store.write_part("b0", IDS[0], frames_table(IDS[0], [{"embedding": list(vector)}]))
    assert store.connection().execute("SELECT embedding FROM frames").fetchone() == (vector.astype(float).tolist(),)


def test_exception_parts_of_another_recording_or_name(tmp_path):
    store = indexed(tmp_path / "store")
    with user_error("value-conflict", IDS[1]):
        store.write_part("b0", IDS[0], frames_table(IDS[1], [{}]))
    for name in ("../out", "", "a/b", ".hidden", "a" * 101):
        with user_error("value-format", name[:40]):
            store.write_part(name, IDS[0], frames_table(IDS[0], [{}]))
    assert os.listdir(tmp_path) == ["store"]


def test_exception_parts_of_other_columns_are_not_merged(tmp_path):
    store = indexed(tmp_path / "store")
    store.write_part("b0", IDS[0], frames_table(IDS[0], [{}]))
    store.write_part("b0", IDS[1], frames_table(IDS[1], [{}], subsets=["R"]))
    with user_error("store-damaged", IDS[1]):
        store.merge("b0")
    assert not (store.path / "evaluations/b0/frames.parquet").exists()


def test_exception_a_table_of_frames_without_subsets(tmp_path):
    with user_error("sensor-none"):
        frames_schema([], ["rgb"])


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('{outside}')",
        "SELECT * FROM read_csv('{store}/../outside.txt')",
        "SELECT * FROM glob('{outside}*')",
        "ATTACH '{outside}.duckdb'",
        "COPY (SELECT 1) TO '{outside}.csv'",
        "SET enable_external_access=true",
        "SET allowed_directories=['/']",
        "INSTALL httpfs",
    ],
)
def test_exception_a_connection_reads_nothing_outside_of_the_store(tmp_path, sql):
    store = indexed(tmp_path / "store")
    outside = tmp_path / "outside.txt"
    outside.write_text("a,b\n1,2\n")
    with pytest.raises(duckdb.Error):
        store.connection().execute(sql.format(outside=outside, store=store.path)).fetchall()
    assert sorted(os.listdir(tmp_path)) == ["outside.txt", "store"]


def test_shape_merged_rows_lie_in_groups_that_duckdb_reads_at_a_time(tmp_path):
    store = indexed(tmp_path / "store", [{}] * 3)
    schema = frames_schema(["R"], ["rgb"])
    for at in range(3):
        rows = 60_000
        columns = {name: pa.nulls(rows, schema.field(name).type) for name in schema.names}
        columns |= {"recording_id": pa.array([IDS[at]] * rows), "stamp_ns": pa.array(np.arange(rows))}
        store.write_part("b0", IDS[at], pa.table(columns, schema))
    assert store.merge("b0") == 180_000
    meta = pq.read_metadata(store.path / "evaluations/b0/frames.parquet")
    assert [meta.row_group(group).num_rows for group in range(meta.num_row_groups)] == [122_880, 57_120]
