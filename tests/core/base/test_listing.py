"""What a folder holds without what operating systems leave in it; names after their own documentation."""

from __future__ import annotations

from any2seg_core.base.listing import listed


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_value_files_of_operating_systems_are_left_out(tmp_path):
    folder = tmp_path / ".hidden" / "above"  # only what lies below counts
    touch(folder, "b.png", "a.png", "._a.png", ".DS_Store", "Thumbs.db", "desktop.ini")
    touch(folder, "sun/c.png", "sun/._c.png", ".Trashes/d.png", "__MACOSX/e.png", "rain/more/f.png")
    assert [path.name for path in listed(folder)] == ["a.png", "b.png", "rain", "sun"]
    assert [path.name for path in listed(folder, "*.png")] == ["a.png", "b.png"]
    assert [path.name for path in listed(folder, "*/*.png")] == ["c.png"]
    assert [path.name for path in listed(folder, "**/*.png")] == ["a.png", "b.png", "f.png", "c.png"]


def test_value_a_folder_that_is_not_there_holds_nothing(tmp_path):
    assert listed(tmp_path / "absent") == []
