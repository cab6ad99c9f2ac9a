"""Every bag that a test of this folder leaves behind, broken ones too, goes through `inspect` after the test."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from rich.console import Console

from any2seg_core.bags.inspection import inspect_bag
from any2seg_core.base.errors import UserError
from any2seg_core.cli.inspect_tables import WIDTH, render_inspection

_SUFFIXES = (".mcap", ".db3", ".bag", ".zstd", ".zst")
_LARGEST_BYTES = 20_000_000


@pytest.fixture(autouse=True)
def every_bag_is_inspected_without_a_traceback(request):
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if folder is None:
        return
    files = [path for path in folder.rglob("*") if path.suffix in _SUFFIXES and path.is_file()]
    bags = {path.parent if (path.parent / "metadata.yaml").exists() else path for path in files}
    for bag in sorted(bags):
        if sum(path.stat().st_size for path in files if bag in (path, path.parent)) < _LARGEST_BYTES:
            inspected(bag)


def inspected(bag):
    """A result that can be shown and written, or one line."""
    try:
        found = inspect_bag(bag)
    except UserError as error:
        assert "\n" not in str(error)
        return
    Console(file=StringIO(), width=WIDTH).print(render_inspection(found))
    assert json.loads(json.dumps(found.document()))["bag"] == str(bag)
