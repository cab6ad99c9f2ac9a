"""Without the packages of an extra: one line with the way to get them, and all other commands as before."""

import subprocess
import sys

import pytest
from raised import assert_refused, user_error

from any2seg_core.fleet.packages import package
from any2seg_core.fleet.store import FleetStore


@pytest.mark.parametrize(("absent", "work"), [("pyarrow", FleetStore.create), ("pyarrow", FleetStore.open)])
def test_exception_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, absent, work):
    monkeypatch.setitem(sys.modules, absent, None)
    monkeypatch.setitem(sys.modules, f"{absent}.parquet", None)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "store.json").write_text('{"format": "any2seg-fleet", "version": 1}')
    with user_error("package-missing", absent, "any2seg[fleet]"):
        work(tmp_path / ("new" if work == FleetStore.create else "store"))
    with user_error("package-missing", "nothing_of_this_name", "any2seg[ray]"):
        package("nothing_of_this_name", "ray", "a cluster")


def test_value_the_command_line_works_without_the_extras(tmp_path):
    """In a process in which none of them can be imported."""
    program = """
import sys
for name in ("pyarrow", "duckdb", "fsspec", "s3fs", "aiohttp", "ray", "starlette", "uvicorn", "foxglove", "rerun"):
    sys.modules[name] = None
from any2seg_core.cli.main import main
sys.argv = ["any2seg", *sys.argv[1:]]
main()
"""

    def called(*words):
        return subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=120)

    assert "index" in called("fleet", "--help").stdout
    refused = called("fleet", "query", str(tmp_path), "SELECT 1")
    assert refused.returncode == 2
    assert_refused(refused.stderr, "store-missing", tmp_path)
    (tmp_path / "a.mcap").write_bytes(b"")
    refused = called("fleet", "index", str(tmp_path / "store"), str(tmp_path))
    assert refused.returncode == 2
    assert_refused(refused.stderr, "package-missing", "any2seg[fleet]")
    refused = called("fleet", "index", str(tmp_path / "store"), "s3://bucket/a")
    assert_refused(refused.stderr, "package-missing", "any2seg[remote]")
    assert not (tmp_path / "store").exists()
