"""Manifests: what stands in them, and what is refused."""

import csv
import datetime
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raised import user_error

from any2seg_core.base.errors import UserError
from any2seg_core.fleet.manifest import COLUMNS, Facts, read_manifest


def written(folder, text, name="drives.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_value_a_csv_gives_facts_by_url(tmp_path):
    text = "vehicle,url,date,tags\ncar 1,a.mcap,2026-03-01,wet; town ;wet\n,s3://bucket/b.mcap,,\n\n,/c.mcap,,\n"
    found = read_manifest(written(tmp_path, text))
    assert found == {
        f"{tmp_path}/a.mcap": Facts("car 1", datetime.date(2026, 3, 1), tags=("wet", "town")),
        "s3://bucket/b.mcap": Facts(),
        "/c.mcap": Facts(),
    }


def test_value_parquet_gives_the_same_as_csv(tmp_path):
    table = {"url": ["a", "b"], "date": [datetime.date(2026, 3, 1), None], "tags": [["x", "y"], None]}
    pq.write_table(pa.table(table), tmp_path / "drives.parquet")
    as_csv = written(tmp_path, "url,date,tags\na,2026-03-01,x;y\nb,,\n")
    assert read_manifest(tmp_path / "drives.parquet") == read_manifest(as_csv)


TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "url": TEXT.filter(str.strip).map(lambda text: "/" + text.strip()),
            "vehicle": TEXT,
            "date": st.none() | st.dates(datetime.date(1000, 1, 1)),
            "tags": st.lists(TEXT.filter(lambda text: ";" not in text), max_size=3),
        }
    ),
    max_size=5,
    unique_by=lambda row: row["url"],
)


@given(rows=ROWS, order=st.permutations(["url", "vehicle", "date", "tags"]))
def test_property_every_row_comes_back_whatever_stands_in_it(tmp_path_factory, rows, order):
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(order)
    for row in rows:
        cells = row | {"date": "" if row["date"] is None else row["date"].isoformat(), "tags": ";".join(row["tags"])}
        writer.writerow([cells[name] for name in order])
    found = read_manifest(written(tmp_path_factory.mktemp("manifest"), text.getvalue()))
    assert list(found) == [row["url"] for row in rows]
    for row, facts in zip(rows, found.values(), strict=True):
        assert (facts.vehicle, facts.date) == (row["vehicle"].strip() or None, row["date"])
        assert list(facts.tags) == list(dict.fromkeys(tag.strip() for tag in row["tags"] if tag.strip()))


@given(data=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: ("url," + text).encode(errors="replace")))
def test_property_any_bytes_are_a_manifest_or_refused(tmp_path_factory, data):
    for name in ("a.csv", "a.parquet"):
        path = tmp_path_factory.mktemp("manifest") / name
        path.write_bytes(data)
        try:
            assert all(isinstance(facts, Facts) for facts in read_manifest(path).values())
        except UserError as error:
            assert path.name in str(error)


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("url,vehcile\na,b\n", "file-content", "vehcile"),
        ("vehicle\nb\n", "file-content", "url"),
        ("url,url\na,b\n", "file-content", "url"),
        ("", "file-content", "url"),
        ("url,vehicle\n,b\n", "file-content", "row 2"),
        ("url,vehicle\na,b,c\n", "file-content", "row 2"),
        ("url\na\nb\na\n", "value-twice", "row 4"),
        ("url,date\na,01.03.2026\n", "value-format", "01.03.2026"),
        ("url,date\na,2026-02-30\n", "value-format", "2026-02-30"),
        ('url\n"a\n', "text-syntax", "drives.csv"),
    ],
)
def test_exception_a_wrong_csv_is_refused(tmp_path, text, code, named):
    with user_error(code, "drives.csv", named):
        read_manifest(written(tmp_path, text))


def test_exception_parquet_of_other_types(tmp_path):
    path = tmp_path / "drives.parquet"
    wrong = (("date", ["x"], "value-format"), ("vehicle", [1], "value-type"), ("tags", [[1]], "value-type"))
    for column, values, code in wrong:
        pq.write_table(pa.table({"url": ["a"], column: values}), path)
        with user_error(code, path.name, column):
            read_manifest(path)
    with user_error("file-missing", "none.parquet"):
        read_manifest(tmp_path / "none.parquet")
    assert COLUMNS[0] == "url"
