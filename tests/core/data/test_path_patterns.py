"""Patterns of paths: parsed, matched and walked."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raised import user_error

from any2seg_core.base.errors import UserError
from any2seg_core.data.path_patterns import PathPattern

WORDS = st.text("abc01", min_size=1, max_size=4)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    ("pattern", "path", "values"),
    [
        ("{split}/{drive}/{frame}.png", "train/d1/007.png", {"split": "train", "drive": "d1", "frame": "007"}),
        ("{city}_{frame}_left.png", "ulm_1_2_left.png", {"city": "ulm", "frame": "1_2"}),
        ("{scene:path}/image/{frame}.jpg", "kv1/nyu/0001/image/a.jpg", {"scene": "kv1/nyu/0001", "frame": "a"}),
        ("img-{frame:06d}.jpg", "img-000012.jpg", {"frame": "12"}),
        ("img-{frame:06d}.jpg", "img-1234567.jpg", {"frame": "1234567"}),
        ("{drive}/{drive}_{frame}.*", "a_b/a_b_c.png", {"drive": "a_b", "frame": "c"}),
        ("{n:04d}/{n:d}.png", "0012/12.png", {"n": "12"}),
    ],
)
def test_value_match(pattern, path, values):
    assert PathPattern(pattern).match(path) == values


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("{frame}.png", "a/b.png"),
        ("{frame}.png", ".png"),
        ("{frame}.png", "axpng"),
        ("img-{frame:06d}.jpg", "img-12.jpg"),
        ("img-{frame:06d}.jpg", "img-0000012.jpg"),
        ("{n:04d}/{n:d}.png", "0012/13.png"),
        ("{drive}/{drive}_{frame}.png", "a/b_c.png"),
    ],
)
def test_value_no_match(pattern, path):
    assert PathPattern(pattern).match(path) is None


@pytest.mark.parametrize(
    "text",
    ["", " ", "/a/{frame}", "a/", "a\\b", "{Frame}", "{frame", "frame}", "{}", "{f:x}", "{f:6d}", "{a{b}}",
     "..", "../{frame}", "a/../{frame}", "{frame}\0", "a\n{frame}"],
)
def test_exception_no_pattern(text):
    with pytest.raises(UserError) as caught:
        PathPattern(text)
    assert caught.value.code == "value-format"
    assert "\n" not in str(caught.value)


def test_exception_no_value_leads_out_of_the_folder():
    pattern = PathPattern("image/{scene:path}/{frame}.png")
    assert pattern.match("image/../../etc/x.png") is None
    assert pattern.match("image/a..b/x.png") == {"scene": "a..b", "frame": "x"}
    for scene in ("..", "a/../../..", "../b"):
        with user_error("value-format", f"image/{scene}/x.png"):
            pattern.path({"scene": scene, "frame": "x"})
    with user_error("value-format", "/etc/x.png"):
        PathPattern("{scene:path}/x.png").path({"scene": "/etc"})


def test_exception_a_link_to_itself_is_named(tmp_path):
    touch(tmp_path, "d/1.png")
    (tmp_path / "d" / "2.png").symlink_to("2.png")
    (tmp_path / "d" / "up").symlink_to("..")
    with user_error("file-unreadable", tmp_path / "d" / "2.png"):
        list(PathPattern("{drive}/{frame}.png").find(tmp_path))
    (tmp_path / "d" / "2.png").unlink()
    assert [values for values, _ in PathPattern("{scene:path}/{frame}.png").find(tmp_path)] == [
        {"scene": "d", "frame": "1"}
    ]


@given(drive=WORDS, frame=WORDS, number=st.integers(0, 10**8))
def test_property_what_is_written_is_read(drive, frame, number):
    pattern = PathPattern("{drive}/x_{number:03d}/{frame}-{number:d}.png")
    path = f"{drive}/x_{number:03d}/{frame}-{number}.png"
    assert pattern.path({"drive": drive, "frame": frame, "number": str(number)}) == path
    assert pattern.match(path) == {"drive": drive, "number": str(number), "frame": frame}


@given(text=st.text("ab{}:*/._0d\\p", max_size=14), path=st.text("ab0._/", max_size=12))
def test_property_any_text_is_a_pattern_or_one_line(text, path):
    """And what fits a pattern without * is exactly what it writes from the values that it found."""
    try:
        pattern = PathPattern(text)
    except UserError as error:
        assert "\n" not in str(error)
        return
    values = pattern.match(path)
    if values is not None and not pattern.is_open:
        assert pattern.path(values) == path


def test_value_find_walks_in_order_and_sees_no_left_overs(tmp_path):
    touch(tmp_path, "val/d/1.png", "train/e/2.png", "train/d/3.png", "train/d/._3.png", "train/d/4.txt", "train/5.png")
    touch(tmp_path, "train/.hidden/6.png", "train/f/7.png/x.txt")
    found = list(PathPattern("{split}/{drive}/{frame}.png").find(tmp_path))
    assert [path.relative_to(tmp_path).as_posix() for _, path in found] == [
        "train/d/3.png", "train/e/2.png", "val/d/1.png",
    ]  # fmt: skip
    known = list(PathPattern("{split}/{drive}/{frame}.png").find(tmp_path, {"split": "train", "drive": "e"}))
    assert [values["frame"] for values, _ in known] == ["2"]


def test_value_find_over_several_folders(tmp_path):
    touch(tmp_path, "a/b/image/1.jpg", "c/image/2.jpg", "image/3.jpg", "c/.x/image/4.jpg")
    found = [values for values, _ in PathPattern("{scene:path}/image/{frame}.jpg").find(tmp_path)]
    assert found == [{"scene": "a/b", "frame": "1"}, {"scene": "c", "frame": "2"}]
