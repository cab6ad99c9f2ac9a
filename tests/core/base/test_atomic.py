from __future__ import annotations

import os
import stat
import subprocess
import sys

import numpy as np
import pytest
from raised import user_error
from safetensors.numpy import save_file

from any2seg_core.base.atomic import make_empty, only_one, replacing


def test_value_replacing_makes_folders_and_leaves_only_the_file(tmp_path):
    path = tmp_path / "a" / "b" / "out.txt"
    with replacing(path) as partial:
        partial.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["out.txt"]


def test_value_replacing_keeps_the_old_file_on_failure(tmp_path):
    path = tmp_path / "out.png"
    path.write_bytes(b"old")

    def fail() -> None:
        with replacing(path) as partial:
            partial.write_bytes(b"half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.png"]


def test_exception_a_device_or_a_pipe_is_not_replaced(tmp_path):
    pipe, link = tmp_path / "pipe.yaml", tmp_path / "link.yaml"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        with user_error("output-unwritable", path), replacing(path) as partial:
            partial.write_text("new")
    assert stat.S_ISFIFO(pipe.stat().st_mode) and link.is_symlink()


def test_value_a_link_is_followed(tmp_path):
    target, link = tmp_path / "data" / "run_7.yaml", tmp_path / "latest.yaml"
    link.symlink_to(target)
    for text in ("new", "newer"):
        with replacing(link) as partial:
            partial.write_text(text)
        assert link.is_symlink() and target.read_text() == text
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["data", "latest.yaml", "run_7.yaml"]


@pytest.mark.parametrize("name", ["file/out.png", "folder", "n" * 300])
def test_exception_a_place_that_cannot_be_written(tmp_path, name):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()

    def write() -> None:
        with replacing(tmp_path / name) as partial:
            partial.write_bytes(b"x")

    with user_error("output-unwritable"):
        write()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_value_make_empty_removes_what_a_killed_process_left(tmp_path):
    folder = tmp_path / "a" / ".drive.1.partial"
    make_empty(folder)
    (folder / "half.png").write_bytes(b"x")
    make_empty(folder)
    assert folder.is_dir() and list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["file/out", "file", "n" * 300])
def test_exception_make_empty_where_nothing_can_be_made(tmp_path, name):
    (tmp_path / "file").write_bytes(b"x")
    with user_error("output-unwritable"):
        make_empty(tmp_path / name)
    assert (tmp_path / "file").read_bytes() == b"x"


def test_exception_a_second_process_is_refused_and_a_killed_one_leaves_no_lock(tmp_path):
    """Another process holds the lock; the refusal names it. After SIGKILL the same place is free at once."""
    lock = tmp_path / "run" / ".lock"
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom any2seg_core.base.atomic import only_one\n"
        "with only_one(Path(sys.argv[1]), 'a'):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, lock], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with user_error("output-busy", "out=x", f"process {holder.pid}"), only_one(lock, "out=x: a training"):
            pass
        assert lock.is_file()
        holder.kill()
    with only_one(lock, "out=x: a training"), user_error("output-busy"), only_one(lock, "b"):
        pass
    assert list((tmp_path / "run").iterdir()) == []


def test_value_a_failed_run_leaves_no_folder_for_its_lock(tmp_path):
    with pytest.raises(RuntimeError), only_one(tmp_path / "a" / "b" / ".lock", "x"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_exception_lock_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    with user_error("output-unwritable"), only_one(tmp_path / "file" / ".lock", "x"):
        pass


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_value_a_file_has_the_mode_of_the_umask_whoever_writes_it(tmp_path, umask, mode):
    """safetensors writes private files; the oracle is a file that open() makes."""
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "a.safetensors") as partial:
            save_file({"x": np.zeros(3)}, partial)
        (tmp_path / "plain").write_text("")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.safetensors", "plain")]
    assert modes == [mode, mode]
