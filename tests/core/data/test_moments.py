"""Lists of moments: written, read back, matched with recordings and sets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raised import user_error

from any2seg_core.data.moments import TOLERANCE_NS, is_near, moments_of, read_moments, write_moments


def test_value_what_is_written_is_read_back_sorted_and_once(tmp_path):
    rows = [{"url": "s3://b/a", "stamp_ns": 9, "why": "x, y"}, {"url": "/c", "stamp_ns": 3, "why": ""}]
    write_moments(tmp_path / "moments.csv", ("url", "stamp_ns", "why"), [*rows, {**rows[0], "stamp_ns": 4}, rows[0]])
    assert read_moments(tmp_path / "moments.csv") == {"s3://b/a": (4, 9), "/c": (3,)}


def test_value_a_recording_is_found_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "bag").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "bag")
    (tmp_path / "moments.csv").write_text(f"stamp_ns,url\n5,{tmp_path}/bag\n6,/other\n")
    monkeypatch.chdir(tmp_path)
    for name in (tmp_path / "bag", tmp_path / "link"):
        assert moments_of(tmp_path / "moments.csv", name) == (5,)
    with user_error("data-empty", tmp_path / "none", "bag"):
        moments_of(tmp_path / "moments.csv", tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("", "data-empty", "stamp_ns"),
        ("url,stamp_ns\n", "data-empty", "stamp_ns"),
        ("url,stamp\na,5\n", "file-content", "row 2"),
        ("url,stamp_ns\n,5\n", "file-content", "row 2"),
        ("url,stamp_ns\na,5.5\n", "value-format", "5.5"),
        ("url,stamp_ns\na,-5\n", "value-format", "-5"),
        ("url,stamp_ns\na,99999999999999999999\n", "value-format", "9999"),
        ('url,stamp_ns\n"a,5\n', "text-syntax", "moments.csv"),
    ],
)
def test_exception_a_wrong_list(tmp_path, text, code, named):
    path = tmp_path / "moments.csv"
    path.write_text(text)
    with user_error(code, "moments.csv", named):
        read_moments(path)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=8).map(sorted), st.integers(0, 10**9))
def test_property_near_is_within_the_tolerance_of_any(moments_ns, stamp_ns):
    assert is_near(moments_ns, stamp_ns) == any(abs(each - stamp_ns) <= TOLERANCE_NS for each in moments_ns)
