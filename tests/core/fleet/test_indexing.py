"""The index of many recordings: what stands in it, what a second run does, and what is refused."""

import json
import os
import shutil
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bag_files import START_NS, kitti_entries, write_bag, write_ros1
from raised import user_error
from recordings import SMALL, small_bag

from any2seg_core.base.errors import UserError
from any2seg_core.fleet import indexing
from any2seg_core.fleet.indexing import index
from any2seg_core.fleet.sources import find_sources, indexed_source
from any2seg_core.fleet.store import FleetStore


def rows(store):
    return {row["url"]: row for row in FleetStore.open(store).recordings().to_pylist()}


def ahead_of(data, seconds):
    """A message whose stamp is so much later: seconds are the first four bytes behind the encapsulation."""
    (before,) = struct.unpack_from("<i", data, 4)
    return data[:4] + struct.pack("<i", before + seconds) + data[8:]


@pytest.fixture
def looked(monkeypatch):
    """Urls that were opened, in order."""
    urls, real = [], indexing.look

    def look(job):
        urls.append(job[0].url)
        return real(job)

    monkeypatch.setattr(indexing, "look", look)
    return urls


def test_value_one_row_per_recording_and_topic(tmp_path):
    bag = small_bag(tmp_path / "bags" / "a", 6)
    report = index(tmp_path / "store", [str(tmp_path / "bags")])
    assert (report.found, report.unchanged, report.broken, report.bytes_read) == (1, 0, {}, 0)
    store = FleetStore.open(tmp_path / "store")
    (row,) = store.recordings().to_pylist()
    assert (row["url"], row["state"], row["code"]) == (str(bag), "ok", None)
    assert (row["start_ns"], row["end_ns"]) == (START_NS, START_NS + 512_000_000)
    assert str(row["date"]) == "2020-09-13"
    topics = {each["topic"]: each for each in store.topics().to_pylist()}
    camera, lidar = topics["/kitti/camera_color_left/image"], topics["/kitti/velo/pointcloud"]
    assert (camera["sensor"], camera["n_messages"], camera["calibrated"]) == ("rgb", 6, True)
    assert camera["rate_hz"] == pytest.approx(10.0)
    assert lidar["clock_offset_s"] == pytest.approx(-0.03)
    assert lidar["longest_gap_s"] == pytest.approx(0.1)
    assert topics["/tf_static"]["sensor"] is None
    assert {each["recording_id"] for each in topics.values()} == {row["recording_id"]}


def test_value_a_second_run_opens_only_what_is_new_or_changed(tmp_path, looked):
    bags, store = tmp_path / "bags", tmp_path / "store"
    a, b = small_bag(bags / "a"), small_bag(bags / "b", 5)
    index(store, [str(bags)])
    before = rows(store)
    assert sorted(looked) == [str(a), str(b)]
    looked.clear()
    report = index(store, [str(bags)])
    assert (looked, report.unchanged, rows(store)) == ([], 2, before)
    c = small_bag(bags / "c", 6)
    shutil.rmtree(b)
    small_bag(b, 7)
    report = index(store, [str(bags)])
    assert (sorted(looked), report.unchanged) == ([str(b), str(c)], 1)
    after = rows(store)
    assert after[str(a)] == before[str(a)]
    assert after[str(b)]["recording_id"] != before[str(b)]["recording_id"]
    topics = FleetStore.open(store).topics().to_pylist()
    assert {row["recording_id"] for row in topics} == {row["recording_id"] for row in after.values()}


def test_value_a_recording_that_moved_keeps_its_identity(tmp_path):
    bag = small_bag(tmp_path / "bags" / "a")
    index(tmp_path / "store", [str(tmp_path / "bags")])
    (before,) = rows(tmp_path / "store").values()
    bag.rename(tmp_path / "bags" / "z")
    index(tmp_path / "store", [str(tmp_path / "bags")])
    (after,) = rows(tmp_path / "store").values()
    assert after["recording_id"] == before["recording_id"]
    assert after["url"] == str(tmp_path / "bags" / "z")


def test_value_broken_recordings_are_rows_with_a_reason(tmp_path):
    bags = tmp_path / "bags"
    good = small_bag(bags / "good")
    (bags / "empty.mcap").write_bytes(b"")
    (bags / "empty_too.mcap").write_bytes(b"")
    (bags / "noise.mcap").write_bytes(np.random.default_rng(0).bytes(5000))
    (bags / "noise.db3").write_bytes(np.random.default_rng(1).bytes(5000))
    write_bag(bags / "silent", [])
    told = {}
    report = index(tmp_path / "store", [str(bags)], on_broken=told.__setitem__)
    found = rows(tmp_path / "store")
    assert found[str(good)]["state"] == "ok"
    broken = {url: row["code"] for url, row in found.items() if row["state"] == "broken"}
    assert broken == {
        f"{bags}/empty.mcap": "bag-format", f"{bags}/empty_too.mcap": "bag-format", f"{bags}/noise.mcap": "bag-format",
        f"{bags}/noise.db3": "bag-format", f"{bags}/silent": "bag-empty",
    }  # fmt: skip
    assert set(told) == set(report.broken) == set(broken)
    assert all(reason and "\n" not in reason for reason in told.values())


def test_value_a_recording_that_was_cut_off_is_read_and_its_damage_named(tmp_path):
    good = small_bag(tmp_path / "bags" / "good")
    cut = tmp_path / "bags" / "cut.mcap"
    (whole,) = good.glob("*.mcap")
    cut.write_bytes(whole.read_bytes()[: -whole.stat().st_size // 4])
    index(tmp_path / "store", [str(tmp_path / "bags")])
    found = rows(tmp_path / "store")
    assert (found[str(good)]["state"], found[str(good)]["damage"]) == ("ok", [])
    assert (found[str(cut)]["state"], found[str(cut)]["reason"]) == ("ok", None)
    assert len(found[str(cut)]["damage"]) >= 1 and all("cut.mcap" in line for line in found[str(cut)]["damage"])


def test_value_an_unforeseen_exception_is_a_reason_too(tmp_path, monkeypatch):
    small_bag(tmp_path / "bags" / "a")

    def stumble(*arguments):
        raise RuntimeError("deep\nin a library")

    monkeypatch.setattr(indexing, "inspect_bag", stumble)
    report = index(tmp_path / "store", [str(tmp_path / "bags")])
    assert list(report.broken.values()) == ["RuntimeError: deep in a library"]


def test_value_a_manifest_gives_vehicle_date_weather_and_tags(tmp_path, looked):
    small_bag(tmp_path / "a")
    small_bag(tmp_path / "b", 5)
    manifest = tmp_path / "drives.csv"
    manifest.write_text("url,vehicle,date,weather,tags\na,car-1,2026-03-01,rain,x;y\nb,car-2,,,\nc,car-3,,,\n")
    index(tmp_path / "store", [str(manifest)])
    found = {row["vehicle"]: row for row in rows(tmp_path / "store").values()}
    assert str(found["car-1"]["date"]) == "2026-03-01"
    assert (found["car-1"]["weather"], found["car-1"]["tags"]) == ("rain", ["x", "y"])
    assert str(found["car-2"]["date"]) == "2020-09-13"
    assert (found["car-3"]["state"], found["car-3"]["code"]) == ("broken", "bag-missing")
    looked.clear()
    manifest.write_text("url,vehicle,weather\na,car-9,\nb,car-2,snow\n")
    index(tmp_path / "store", [str(manifest)])
    found = {row["vehicle"]: row for row in rows(tmp_path / "store").values()}
    assert looked == []
    assert (found["car-9"]["weather"], found["car-2"]["weather"]) == ("rain", "snow")


def test_value_several_processes_give_the_same_index(tmp_path):
    for number in range(3):
        small_bag(tmp_path / "bags" / str(number), 3 + number)
    index(tmp_path / "one", [str(tmp_path / "bags")])
    index(tmp_path / "two", [str(tmp_path / "bags")], workers=2)
    for name in ("recordings.parquet", "topics.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_value_a_clock_that_is_off_and_a_sensor_that_stops_are_in_the_index(tmp_path):
    entries = [entry for entry in kitti_entries(20, SMALL) if "velo" not in entry[1] or entry[0] < START_NS + 10**9]
    write_bag(tmp_path / "stops", entries)
    late = [(*rest, ahead_of(data, 37) if "velo" in rest[1] else data) for *rest, data in kitti_entries(20, SMALL)]
    write_bag(tmp_path / "clock", late)
    index(tmp_path / "store", [str(tmp_path / "stops"), str(tmp_path / "clock")])
    connection = FleetStore.open(tmp_path / "store").connection()
    found = connection.execute(
        "SELECT url, longest_gap_s, clock_offset_s, problems FROM topics JOIN recordings USING (recording_id) "
        "WHERE sensor = 'lidar' ORDER BY url"
    ).fetchall()
    (_, _, offset_s, problems), (_, gap_s, no_offset_s, none) = found
    assert offset_s == pytest.approx(37.0 - 0.03)
    assert "37.0 s" in " ".join(problems)
    assert (gap_s, no_offset_s, none) == (pytest.approx(1.012, abs=0.1), pytest.approx(-0.03), [])


@pytest.mark.parametrize("kind", ["file and its folder", "a copy", "a manifest and a folder"])
def test_exception_the_same_recording_twice_leaves_the_store_as_it_was(tmp_path, kind):
    bag = small_bag(tmp_path / "bags" / "a")
    index(tmp_path / "store", [str(small_bag(tmp_path / "other" / "b", 5))])
    before = {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir() if path.is_file()}
    sources = [str(tmp_path / "bags")]
    if kind == "file and its folder":
        sources += [str(next(bag.glob("*.mcap")))]
    elif kind == "a copy":
        shutil.copytree(bag, tmp_path / "bags" / "copy")
    else:
        (tmp_path / "drives.csv").write_text(f"url\n{bag}\n")
        sources += [str(tmp_path / "drives.csv")]
    with user_error("value-twice", bag):
        index(tmp_path / "store", sources)
    after = {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir() if path.is_file()}
    assert after == before
    with user_error("value-twice", bag):
        index(tmp_path / "new" / "store", sources)
    assert not (tmp_path / "new").exists()


def test_exception_a_copy_of_what_was_indexed_before(tmp_path):
    bag = small_bag(tmp_path / "bags" / "a")
    index(tmp_path / "store", [str(tmp_path / "bags")])
    shutil.copytree(bag, tmp_path / "bags" / "copy")
    with user_error("value-twice", "copy", bag):
        index(tmp_path / "store", [str(tmp_path / "bags")])


def test_exception_places_without_recordings(tmp_path):
    (tmp_path / "empty").mkdir()
    for source, code in ((tmp_path / "none", "file-missing"), (tmp_path / "empty", "bag-missing")):
        with user_error(code, source):
            index(tmp_path / "store", [str(source)])
    with user_error("file-missing", "*.mcap"):
        index(tmp_path / "store", [str(tmp_path / "*.mcap")])
    with user_error("value-range", "0"):
        index(tmp_path / "store", [str(tmp_path / "empty")], workers=0)
    assert not (tmp_path / "store").exists()


def test_value_links_to_recordings_are_followed_and_add_no_second_one(tmp_path):
    place = tmp_path / "bags"
    inside, outside = small_bag(place / "b", 4), small_bag(tmp_path / "other" / "drive", 5)
    shutil.copy(next(small_bag(tmp_path / "single", 6).glob("*.mcap")), tmp_path / "single.mcap")
    for name, target in (("a_latest", inside), ("drive", outside), ("again", outside), ("loop", place)):
        (place / name).symlink_to(target)
    (place / "a_latest.mcap").symlink_to(next(inside.glob("*.mcap")))
    (place / "single.mcap").symlink_to(tmp_path / "single.mcap")
    (place / "gone").symlink_to(tmp_path / "nothing")
    (place / "self.mcap").symlink_to("self.mcap")
    index(tmp_path / "store", [str(place)])
    assert set(rows(tmp_path / "store")) == {str(inside), str(place / "again"), str(place / "single.mcap")}


def test_value_settings_beside_recordings_may_be_links_to_one_file(tmp_path):
    bags = [small_bag(tmp_path / "bags" / name, count) for name, count in (("a", 4), ("b", 5))]
    (tmp_path / "shared.yaml").write_text("topics: []\n")
    for bag in bags:
        (bag / "any2seg.yaml").symlink_to(tmp_path / "shared.yaml")
    found = find_sources([str(tmp_path / "bags")])
    assert [sorted(each.name for each in source.beside) for source in found] == [["any2seg.yaml", "metadata.yaml"]] * 2


def test_value_a_manifest_may_name_files_as_urls_and_end_in_capitals(tmp_path):
    bag = small_bag(tmp_path / "bags" / "a b", 4)
    for name in ("drives.csv", "DRIVES.PARQUET"):
        if name.endswith("csv"):
            (tmp_path / name).write_text(f"url,vehicle\nfile://{bag},car-1\n")
        else:
            pq.write_table(pa.table({"url": [f"file://{bag}"], "vehicle": ["car-1"]}), tmp_path / name)
        index(tmp_path / name[:3], [str(tmp_path / name)])
        ((url, row),) = rows(tmp_path / name[:3]).items()
        assert (url, row["state"], row["vehicle"]) == (str(bag), "ok", "car-1")


def test_exception_a_manifest_without_a_row(tmp_path):
    (tmp_path / "drives.csv").write_text("url,vehicle\n")
    with user_error("bag-missing", "drives.csv"):
        index(tmp_path / "store", [str(tmp_path / "drives.csv")])
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_exception_what_is_there_and_is_no_store_is_left_alone(tmp_path, kind):
    bag, place = small_bag(tmp_path / "bags" / "a"), tmp_path / "store"
    place.write_text("mine") if kind == "file" else place.mkdir()
    with user_error("store-missing", place):
        index(place, [str(bag)])
    assert place.read_text() == "mine" if kind == "file" else not list(place.iterdir())


def test_exception_a_store_of_another_version_is_not_written(tmp_path):
    small_bag(tmp_path / "bags" / "a")
    index(tmp_path / "store", [str(tmp_path / "bags")])
    (tmp_path / "store" / "store.json").write_text(json.dumps({"format": "any2seg-fleet", "version": 9}))
    with user_error("store-version", "9"):
        index(tmp_path / "store", [str(tmp_path / "bags")])


def test_value_a_pattern_files_of_a_folder_and_ros1_bags(tmp_path):
    entries = kitti_entries(3, SMALL)
    write_ros1(tmp_path / "a.bag", entries)
    bag = small_bag(tmp_path / "rosbag2", 4)
    shutil.copy(next(bag.glob("*.mcap")), tmp_path / "b.mcap")
    (tmp_path / ".hidden.mcap").write_bytes(b"x")
    report = index(tmp_path / "store", [str(tmp_path / "*.bag"), f"file://{tmp_path}/b.mcap"])
    found = rows(tmp_path / "store")
    assert (report.broken, list(found)) == ({}, [f"{tmp_path}/a.bag", f"{tmp_path}/b.mcap"])
    assert found[f"{tmp_path}/a.bag"]["start_ns"] == START_NS


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("step", ["find_sources", "look"])
def test_exception_two_at_once_into_one_store(tmp_path, monkeypatch, is_new, step):
    """The second one is told that the first is under way; nothing is lost and no lock stays."""
    bag, place = small_bag(tmp_path / "bags" / "a"), tmp_path / "store"
    if not is_new:
        index(place, [str(small_bag(tmp_path / "other", 5))])
    real, refused = getattr(indexing, step), []

    def meanwhile(given):
        if not refused:
            refused.append(True)
            with user_error("output-busy", place, "index"):
                index(place, [str(bag)])
        return real(given)

    monkeypatch.setattr(indexing, step, meanwhile)
    assert index(place, [str(bag)]).found == 1 and refused
    assert len(rows(place)) == (1 if is_new else 2)
    assert not [name for name in (*os.listdir(tmp_path), *os.listdir(place)) if "lock" in name]


def test_value_what_is_finished_stays_where_the_run_is_ended(tmp_path, monkeypatch):
    first, second = (small_bag(tmp_path / "bags" / name, count) for name, count in (("a", 4), ("b", 5)))
    real, left = indexing.look, tmp_path / "store" / ".topics.99.partial.parquet"

    def killed(job):
        if job[0].url == str(second):
            raise UserError("a worker process was killed", "process-killed")
        return real(job)

    monkeypatch.setattr(indexing, "look", killed)
    with user_error("process-killed"):
        index(tmp_path / "store", [str(tmp_path / "bags")])
    assert list(rows(tmp_path / "store")) == [str(first)]
    left.write_bytes(b"PAR1")  # as after kill -9
    monkeypatch.undo()
    assert index(tmp_path / "store", [str(tmp_path / "bags")]).unchanged == 1
    assert list(rows(tmp_path / "store")) == [str(first), str(second)] and not left.exists()


def test_value_a_wrong_row_of_a_manifest_costs_itself_alone(tmp_path):
    good = small_bag(tmp_path / "good")
    for number in (5, 6):
        small_bag(tmp_path / "two" / str(number), number)
    wrong = {"nothing://a": "value-format", "s3://[x/a": None, "two": "bag-ambiguous", "drives.csv": "value-conflict",
             "none.mcap": "bag-missing"}  # fmt: skip
    manifest = tmp_path / "drives.csv"
    manifest.write_text("\n".join(["url,vehicle", "good,car-1", *(f"{url},car-2" for url in wrong)]))
    report = index(tmp_path / "store", [str(manifest)])
    found = rows(tmp_path / "store")
    assert (report.found, len(report.broken)) == (6, 5)
    assert (found.pop(str(good))["state"], {row["vehicle"] for row in found.values()}) == ("ok", {"car-2"})
    for url, code in wrong.items():
        row = found[url if "://" in url else str(tmp_path / url)]
        assert row["state"] == "broken" and row["reason"]
        assert code is None or row["code"] == code


def test_value_what_fits_a_pattern_and_is_no_recording_is_passed_over(tmp_path):
    bag = small_bag(tmp_path / "bags" / "a")
    (tmp_path / "bags" / "notes.txt").write_text("x")
    index(tmp_path / "store", [str(tmp_path / "bags" / "*")])
    assert list(rows(tmp_path / "store")) == [str(bag)]
    with user_error("bag-missing", "*.txt"):
        index(tmp_path / "store", [str(tmp_path / "bags" / "*.txt")])


def test_value_what_a_manifest_said_stays_with_the_content(tmp_path):
    bag, manifest = small_bag(tmp_path / "bags" / "a"), tmp_path / "drives.csv"
    manifest.write_text(f"url,vehicle,date,tags\n{bag},car-1,2026-03-01,x;y\n")
    index(tmp_path / "store", [str(manifest)])
    for place in (bag, tmp_path / "bags" / "moved"):
        if place != bag:
            bag.rename(place)
        (place / "notes.yaml").write_text(str(place))  # its time changes, its content does not
        assert index(tmp_path / "store", [str(tmp_path / "bags")]).unchanged == 0
        ((url, row),) = rows(tmp_path / "store").items()
        assert (url, row["vehicle"], str(row["date"]), row["tags"]) == (str(place), "car-1", "2026-03-01", ["x", "y"])
    manifest.write_text(f"url,vehicle\n{place},car-2\n")
    (place / "notes.yaml").write_text("again")
    index(tmp_path / "store", [str(manifest)])
    assert rows(tmp_path / "store")[str(place)]["vehicle"] == "car-2"
    shutil.rmtree(place)
    small_bag(place, 9)
    index(tmp_path / "store", [str(tmp_path / "bags")])
    assert rows(tmp_path / "store")[str(place)]["vehicle"] is None  # another drive


def test_value_a_recording_with_another_one_below_it_is_itself(tmp_path):
    bag = small_bag(tmp_path / "bags" / "a")
    small_bag(bag / "cut", 5)
    (tmp_path / "drives.csv").write_text("url,vehicle\nbags/a,car-1\n")
    index(tmp_path / "store", [str(tmp_path / "bags")])
    assert index(tmp_path / "store", [str(tmp_path / "drives.csv")]).found == 1
    row = rows(tmp_path / "store")[str(bag)]
    assert (row["state"], row["vehicle"]) == ("ok", "car-1")
    assert indexed_source(str(bag), row["recording_id"]).url == str(bag)
