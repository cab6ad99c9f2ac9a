"""YAML and JSON of users and recordings: plain values as PyYAML reads them; UserError with file and line for others."""

import os

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from raised import user_error

from any2seg_core.base.limits import limits_of
from any2seg_core.base.text_files import parse_json, parse_yaml, read_json, read_text, read_yaml

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(PLAIN)
def test_property_plain_documents_come_back(document):
    text = yaml.safe_dump(document, allow_unicode=True)
    assert parse_yaml(text, "f.yaml") == yaml.safe_load(text)


BAD = {
    "a: 1\nb: !!timestamp x": ("text-syntax", "line 2"),
    "a: 2026-13-45": ("text-syntax", "line 1"),
    "x: 0\n\na: !!python/object/apply:os.getcwd []": ("text-syntax", "line 3"),
    "a: !!int x": ("text-syntax", "line 1"),
    "a: !!float ten": ("text-syntax", "line 1"),
    "a: !!bool maybe": ("text-syntax", "line 1"),
    "a: !mine x": ("text-syntax", "line 1"),
    "a: [1, 2": ("text-syntax", "line 1"),
    "\ta: 1": ("text-syntax", "line 1"),
    "? [a, b]\n: c": ("text-syntax", "line 1"),
    "a: &x [1, *x]": ("text-syntax", "line 1"),
    "a: *nobody": ("text-syntax", "line 1"),
    "a: 1\n---\nb: 2": ("text-syntax", "line 2"),
    "camera: 1\nlidar: 2\ncamera: 3": ("key-twice", "line 3"),
    "a: {b: 1, b: 2}": ("key-twice", "line 1"),
    "front: 1\n'front': 2": ("key-twice", "line 2"),
    "!!str front: 1\n\"front\": 2": ("key-twice", "line 2"),
    "yes: 1\non: 2": ("key-twice", "line 2"),
    "1: a\n0x1: b": ("key-twice", "line 2"),
    "1: a\n\ntrue: b": ("key-twice", "line 3"),
    "~: 1\nnull: 2": ("key-twice", "line 2"),
    "1.0: 1\n1: 2": ("key-twice", "line 2"),
    "2026-01-05: 1\n'2026-01-05': 2": ("key-twice", "line 2"),
    "a: 1" + "0" * 5000: ("text-syntax", "line 1"),
    "a: " + "1:" * 5000 + "1": ("text-syntax", "line 1"),
    "[" * 100_000: ("limit-exceeded", "line 1"),
    "a:\n" + "\n".join(" " * k + "- " for k in range(1, 300)): ("limit-exceeded", "line 65"),
    "%YAML 3.0\n---\na": ("text-syntax", "line 1"),
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: repr(text[:24]))
def test_exception_bad_yaml_names_file_and_line(text):
    with user_error(*BAD[text], "own.yaml"):
        parse_yaml(text, "own.yaml")


def test_exception_control_characters():
    with user_error("text-syntax", "own.yaml", "#x0001"):
        parse_yaml("a: \x01", "own.yaml")


def test_value_dates_are_text_and_merges_are_no_duplicates():
    text = "recorded: 2026-01-05\nx: {y: &b {<<: {k: 1}, k: 2}}\nc: {<<: *b, <<: {z: 3}}\n1: a\n'1': b"
    read = parse_yaml(text, "f.yaml")
    assert read == {"recorded": "2026-01-05", "x": {"y": {"k": 2}}, "c": {"k": 2, "z": 3}, 1: "a", "1": "b"}
    assert parse_yaml("", "f.yaml") is None and parse_yaml("# only this", "f.yaml") is None


def test_exception_aliases_count_in_full():
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 9)]  # 10^9 values
    with user_error("limit-exceeded", "line 5", "100000", "ANY2SEG_LIMITS=text_nodes"):
        parse_yaml("\n".join(rows), "f.yaml")
    with limits_of(text_nodes=20), user_error("limit-exceeded", "20 values"):
        parse_yaml("\n".join(rows[:2]), "f.yaml")
    assert parse_yaml("\n".join(rows[:2]), "f.yaml")["a1"] == [["x"] * 10] * 10


def test_exception_files_that_are_none(tmp_path):
    (tmp_path / "latin.yaml").write_bytes("a: 1\nb: gr\xfcn".encode("latin-1"))
    (tmp_path / "wide.yaml").write_bytes("a: 1".encode("utf-16"))
    for read in (read_text, read_yaml, read_json):
        with user_error("file-missing", "absent.yaml"):
            read(tmp_path / "absent.yaml")
        with user_error("file-unreadable"):
            read(tmp_path)
        with user_error("text-syntax", "latin.yaml", "line 2"):
            read(tmp_path / "latin.yaml")
        with user_error("text-syntax", "wide.yaml", "line 1"):
            read(tmp_path / "wide.yaml")
        with limits_of(text_kib=1), user_error("limit-exceeded", "1 KiB", "ANY2SEG_LIMITS=text_kib"):
            (tmp_path / "long").write_text(" " * 1025)
            read(tmp_path / "long")


def test_exception_pipes_and_devices_are_bounded():
    with limits_of(text_kib=4), user_error("limit-exceeded", "4 KiB"):
        read_yaml(__import__("pathlib").Path("/dev/zero"))


def test_value_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbf{\"a\": 1}")
    assert read_json(tmp_path / "f") == read_yaml(tmp_path / "f") == {"a": 1}
    assert read_text(tmp_path / "f") == '{"a": 1}'


def test_exception_json():
    with user_error("text-syntax", "f.json", "line 2"):
        parse_json('{"a": 1,\n"b": }', "f.json")
    with user_error("limit-exceeded", "f.json"):
        parse_json("[" * 100_000, "f.json")
    with user_error("text-syntax", "f.json"):
        parse_json("1" * 5000, "f.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_exception_no_permission(tmp_path):
    (tmp_path / "f").touch(mode=0)
    with user_error("file-unreadable", tmp_path / "f"):
        read_yaml(tmp_path / "f")
