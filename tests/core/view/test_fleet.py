"""Pages of a store, against rows that are written by hand, and recordings that are real."""

from __future__ import annotations

import re

import pytest
from raised import user_error
from shown import MARKUP, moment_of, serving

pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")

from store_tables import IDS, frames_table, recordings_table, topics_table

from any2seg_core.fleet.remote import shown_url
from any2seg_core.fleet.sources import find_sources, fingerprint
from any2seg_core.fleet.store import FleetStore
from any2seg_core.view.fleet import DriveFilter, FleetDrives


@pytest.fixture(scope="module")
def fleet(store, predictor):
    with serving(FleetDrives(store[0], predictor, "m.safetensors", "night")) as client:
        yield client


def listed(html):
    return re.findall(r'<td class="name"><a href="/drives/(\w+)">', html)


@pytest.mark.parametrize(("query", "places"), [
    ("", [2, 1, 0, 4, 3]), ("vehicle=van-1", [1, 0]), ("weather=rainy", [2, 1]), ("time_of_day=night", [1]),
    ("from_date=2026-03-02", [2, 1]), ("to_date=2026-03-01", [0]), ("from_date=2026-03-02&vehicle=van-2", [2]),
    ("trouble=rgb", [1]), ("trouble=lidar", [2]), ("trouble=any", [2, 1]), ("trouble=broken", [3]),
    ("vehicle=none", []),
])  # fmt: skip
def test_value_the_list_is_filtered(fleet, store, query, places):
    """The newest first, those without a date last, by vehicle."""
    ids = [store[1], *IDS[1:5]]
    answer = fleet.get(f"/?{query}")
    found = listed(answer.text)
    assert answer.status_code == 200
    assert sorted(found) == sorted(ids[place] for place in places)
    dated = [place for place in places if place < 3]
    assert [each for each in found if each in ids[:3]] == [ids[place] for place in dated]


def test_value_a_line_says_confidence_and_trouble(fleet):
    html = fleet.get("/?trouble=rgb").text
    assert "72.5 %" in html  # mean of 0.5, 0.55, ... 0.95
    assert '<span class="chip bad"' in html and ">camera</span>" in html
    assert "no bag" in fleet.get("/?trouble=broken").text
    assert "dead in 60 % of the frames" in fleet.get("/?trouble=lidar").text


def test_value_a_drive_shows_its_evaluation_and_any_moment_of_its_recording(fleet, store):
    real = store[1]
    html = fleet.get(f"/drives/{real}").text
    assert "of evaluation night" in html and 'data-state="known"' in html
    assert "50.0 %: 0.00 s, RL" in html and "95.0 %: 2.25 s, RL" in html
    assert 'class="plot"' in html
    assert moment_of(fleet.get(f"/drives/{real}/moment?at=0.72").text)["at"] == "0.700"
    assert fleet.get(f"/drives/{real}/pictures/overlay?at=0.7").headers["content-type"] == "image/jpeg"
    assert fleet.get(f"/drives/{real}/clip.mcap?from=0&to=1").content[:5] == b"\x89MCAP"


def test_value_silence_of_an_evaluation_is_hatched(fleet):
    html = fleet.get(f"/drives/{IDS[2]}").text
    begin, end = map(float, re.search(r"LiDAR silent ([\d.]+) to ([\d.]+) s", html).groups())
    assert (begin, end) == (0.0, pytest.approx(1.5))


def test_value_the_map_shows_tracks_and_where_a_sensor_was_missing(fleet, store):
    html = fleet.get("/map").text
    assert html.count('<path d="M') == 3 and "3 drives" in html
    assert html.count('class="bad"') == 6
    assert f'<a href="/drives/{store[1]}">' in html
    assert fleet.get("/map?vehicle=van-1").text.count('<path d="M') == 2


def test_value_failures_and_the_worst_moments_lead_to_their_drive(fleet):
    html = fleet.get("/trouble").text
    assert "LiDAR" in html and "dead" in html
    assert f'/drives/{IDS[2]}?at=' in html
    assert "50.0 %" in html


def test_value_nothing_of_the_store_is_markup(fleet):
    for place in ("/", "/?trouble=broken", "/?trouble=rgb", "/map", "/trouble", f"/drives/{IDS[4]}",
                  f"/drives/{IDS[1]}", f"/drives/{IDS[3]}", f"/?vehicle={MARKUP}"):  # fmt: skip
        html = fleet.get(place).text
        assert MARKUP not in html and "<script>alert" not in html, place


@pytest.mark.parametrize("sql", ["' OR 1=1 --", "van-1'; DROP TABLE x; --", '" UNION SELECT 1'])
def test_value_a_filter_is_no_sql(fleet, sql):
    for name in ("vehicle", "weather", "trouble"):
        answer = fleet.get("/", params={name: sql})
        assert answer.status_code == 200 and listed(answer.text) == []


@pytest.mark.parametrize("place", [
    "/?from_date=tomorrow", "/?to_date=2026-13-01", "/map?from_date=<b>", "/?from_date=20260302",
    "/?to_date=2026-W10-1",
])  # fmt: skip
def test_exception_a_date_that_is_none(fleet, place):
    answer = fleet.get(place)
    assert answer.status_code == 422 and "2026-03-02" in answer.text and "<b>" not in answer.text


def test_exception_only_recordings_of_the_index_are_opened(fleet):
    """A drive that is not there, one that is gone, and ids that are paths."""
    for name in ("ffffffffffffffff", "..%2f..%2fetc", "store.json"):
        assert fleet.get(f"/drives/{name}/moment?at=0").status_code == 404
    answer = fleet.get(f"/drives/{IDS[1]}/moment?at=0")
    assert answer.status_code == 422 and "/bags/001" in answer.text


def test_exception_another_file_at_the_place_of_a_recording_is_not_shown(store, tmp_path, car_bag, predictor):
    """Whoever can put a link where a recording was cannot have something else shown."""
    copy = tmp_path / "bag"
    copy.mkdir()
    for path in car_bag.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    source = find_sources([str(copy)])[0]
    drive_id, _ = fingerprint(source)
    own = FleetStore.create(tmp_path / "store")
    own.write_index(recordings_table([{"recording_id": drive_id, "url": str(copy)}]), topics_table())
    drives = FleetDrives(own, predictor, "m", "")
    with drives.recording(drive_id) as path:
        assert path == copy
    (mcap,) = copy.glob("*.mcap")
    mcap.write_bytes(mcap.read_bytes()[:-1] + b"x")
    with user_error("recording-changed", copy), drives.recording(drive_id):
        pass


def test_value_urls_are_shown_without_secrets():
    assert shown_url("https://user:word@host:9000/a/b.mcap?X-Amz-Signature=abc#f") == "https://host:9000/a/b.mcap"
    assert shown_url("s3://bucket/drives/1") == "s3://bucket/drives/1"
    assert shown_url("/data/drive?1") == "/data/drive?1"
    assert shown_url("memory:///drives") == "memory:///drives"


def test_value_a_filter_keeps_what_was_given():
    assert DriveFilter.of({"vehicle": "a", "page": "3", "else": "x"}).given() == {"vehicle": "a"}


def test_value_pages_of_fifty(tmp_path, predictor):
    many = FleetStore.create(tmp_path / "store")
    many.write_index(recordings_table([{"vehicle": "v"} for _ in range(99)]), topics_table())
    with serving(FleetDrives(many, predictor, "m", "")) as client:
        first, second = client.get("/").text, client.get("/?page=1").text
        assert (len(listed(first)), len(listed(second))) == (50, 49)
        assert not set(listed(first)) & set(listed(second))
        assert "page 1 of 2" in first and 'rel="next"' in first and 'rel="next"' not in second
        assert listed(client.get("/?page=99").text) == listed(client.get("/?page=7").text) == []
        assert "behind the last one" in client.get("/?page=2").text and "page 3" not in client.get("/?page=2").text
        assert len(listed(client.get("/?page=-1").text)) == 50


def test_value_positions_on_the_earth_and_of_odometry_are_not_drawn_into_one_track(tmp_path):
    """The fix comes late and is lost: what odometry says meanwhile is metres, not degrees."""
    own = FleetStore.create(tmp_path / "store")
    own.write_index(recordings_table([{"start_ns": 0, "end_ns": 9 * 10**9}] * 2), topics_table())
    own.write_evaluation("night", {"sensors": {"rgb": "R"}})
    odometry = [{"stamp_ns": at * 10**9, "x_m": 30.0 + at, "y_m": 12.0} for at in range(6)]
    fixes = [{**row, "latitude": 49.0, "longitude": 8.0} if at in (1, 2) else row for at, row in enumerate(odometry)]
    for each, rows in ((IDS[0], fixes), (IDS[1], odometry)):
        own.write_part("night", each, frames_table(each, rows))
    drives = FleetDrives(own, None, "m", "night")
    on_earth, plane = drives.tracks(DriveFilter())
    assert (on_earth.is_on_earth, on_earth.points) == (True, [(8.0, 49.0)] * 2)
    assert (plane.is_on_earth, plane.points) == (False, [(30.0 + at, 12.0) for at in range(6)])
    for track in (on_earth, plane):
        frames = drives.frames(drives.drive(track.drive_id)).frames
        assert [frame.position for frame in frames if frame.position] == track.points
        assert {frame.is_on_earth for frame in frames} == {track.is_on_earth}


def test_value_an_evaluation_of_other_sensors_than_the_page_knows(tmp_path):
    """Its checkpoint is not here, so its suite is not known."""
    own = FleetStore.create(tmp_path / "store")
    own.write_index(recordings_table([{"start_ns": 0, "end_ns": 9, "url": "s3://[x/a?Signature=secret"}]),
                    topics_table([{"recording_id": IDS[0], "topic": "/t", "sensor": "thermal"}]))  # fmt: skip
    own.write_evaluation("night", {"sensors": {"thermal": "T", "rgb": "R"}})
    rows = [{"used": "RT", "confidence": 0.5, "reliability": {"thermal": 0.5}, "missing": ["thermal: dead"]}]
    own.write_part("night", IDS[0], frames_table(IDS[0], rows, ["R", "RT"], ["thermal"]))
    with serving(FleetDrives(own, None, "m", "night")) as client:
        for place in ("/", "/map", "/trouble", f"/drives/{IDS[0]}"):
            answer = client.get(place)
            assert answer.status_code == 200 and "secret" not in answer.text, place
        (own.path / "topics.parquet").write_bytes(b"")
        assert client.get("/?trouble=any").status_code == 422


def test_value_a_drive_of_one_moment(tmp_path):
    own = FleetStore.create(tmp_path / "store")
    own.write_index(recordings_table([{"start_ns": 5, "end_ns": 5}]), topics_table())
    own.write_evaluation("night", {"sensors": {"rgb": "R"}})
    own.write_part("night", IDS[0], frames_table(IDS[0], [{"stamp_ns": 5, "used": "R", "confidence": 0.5, "x_m": 1.0,
                                                           "y_m": 2.0}]))  # fmt: skip
    with serving(FleetDrives(own, None, "m", "night")) as client:
        html = client.get(f"/drives/{IDS[0]}").text
        assert 'data-length="0.000"' in html and "50.0 %: 0.00 s, R" in html
        assert client.get("/map").status_code == client.get("/trouble").status_code == 200
