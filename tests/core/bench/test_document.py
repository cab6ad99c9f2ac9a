from __future__ import annotations

import json

import pytest
from raised import user_error

from any2seg_core.bench.document import BenchDocument, read_bench, require_comparable


def test_value_what_was_written_is_read_again_from_file_or_folder(document, tmp_path):
    path = tmp_path / "bench.json"
    path.write_text(document.model_dump_json())
    assert read_bench(path) == read_bench(tmp_path) == document
    assert document.row("sensors", "RD").least == 3.0
    assert document.row("sensors", "RDE") is document.row("lidar", "R") is None


def test_value_the_schema_names_what_a_reader_needs():
    schema = BenchDocument.model_json_schema()
    assert {"format", "version", "machine", "versions", "conditions", "parts", "date"} <= set(schema["properties"])
    row = schema["$defs"]["Row"]["properties"]
    assert row["median"]["exclusiveMinimum"] == 0 and row["unit"]["enum"] == ["ms", "MB", "GFLOP/s"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda content: content | {"format": "something else"}, "file-format"),
        (lambda content: content | {"version": 2}, "file-format"),
        (lambda content: {}, "file-format"),
        (lambda content: [content], "file-format"),
        (lambda content: content | {"machine": content["machine"] | {"cores": 0}}, "file-format"),
        (lambda content: content | {"surprise": 1}, "file-format"),
    ],
)
def test_exception_foreign_documents(document, tmp_path, change, code):
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(change(json.loads(document.model_dump_json()))))
    with user_error(code, path):
        read_bench(path)


def test_exception_no_file_and_no_json(tmp_path):
    with user_error("file-missing", tmp_path / "bench.json"):
        read_bench(tmp_path)
    (tmp_path / "bench.json").write_text("words")
    with user_error("text-syntax", "bench.json"):
        read_bench(tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"processor": "Example 2"}, "Example 2"), ({"cores": 4}, "4"), ({"instruction_sets": ("avx2", "fma")}, "fma")],
)
def test_exception_another_machine_is_not_comparable(document, tmp_path, change, named):
    with user_error("machine-mismatch", tmp_path, named):
        require_comparable(document, document.machine.model_copy(update=change), 1, tmp_path)


def test_exception_other_threads_are_not_comparable(document, tmp_path):
    require_comparable(document, document.machine, 1, tmp_path)
    with user_error("machine-mismatch", "threads 1 there, 2 here"):
        require_comparable(document, document.machine, 2, tmp_path)
