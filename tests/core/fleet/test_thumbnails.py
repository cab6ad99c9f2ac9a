"""Pictures of moments: as many copies as it takes, and no more."""

from __future__ import annotations

import shutil

import pytest
from bag_files import START_NS
from recordings import SMALL, small_bag
from rosbags.rosbag2 import StoragePlugin
from servers import web_server

from any2seg_core.fleet import thumbnails
from any2seg_core.fleet.indexing import index
from any2seg_core.fleet.store import FleetStore
from any2seg_core.fleet.thumbnails import camera_pictures


@pytest.mark.parametrize(("kind", "fetches"), [("db3", 1), ("mcap", 2)])
def test_value_what_has_no_index_is_fetched_once_for_all_moments(tmp_path, monkeypatch, kind, fetches):
    options = {"storage": StoragePlugin.SQLITE3} if kind == "db3" else {}
    (file,) = small_bag(tmp_path / "made", 4, **options).glob(f"*.{kind}")
    (tmp_path / "there").mkdir()
    shutil.copy(file, tmp_path / "there" / f"a.{kind}")
    real, fetched = thumbnails.local_excerpt, []

    def counted(*arguments):
        fetched.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(thumbnails, "local_excerpt", counted)
    with web_server(tmp_path / "there") as (address, _):
        index(tmp_path / "store", [f"{address}/a.{kind}"])
        moments = {START_NS + at * 100_000_000: at / 10 for at in (0, 2)}
        found, problem = camera_pictures(FleetStore.open(tmp_path / "store"), f"{address}/a.{kind}", moments)
    assert (problem, set(found), len(fetched)) == ("", set(moments), fetches)
    assert {picture.shape for picture in found.values()} == {(SMALL.height, SMALL.width, 3)}
