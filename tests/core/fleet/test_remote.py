"""Recordings elsewhere: read by ranges from a web server and from a bucket, counted, and the same as here."""

import os
import shutil
import socket

import pytest
from bag_files import START_NS, write_ros1
from raised import user_error
from recordings import small_bag
from rosbags.rosbag2 import StoragePlugin
from servers import web_server

from any2seg_core.bags.mcap_writing import McapParts
from any2seg_core.bags.reader import Recording
from any2seg_core.base.errors import UserError
from any2seg_core.fleet import sources
from any2seg_core.fleet.indexing import index
from any2seg_core.fleet.remote import RangeFile, StoredFile, reaching
from any2seg_core.fleet.remote_mcap import RemoteMcap
from any2seg_core.fleet.sources import Source, find_sources, fingerprint, local_copy, local_excerpt
from any2seg_core.fleet.store import FleetStore

COUNT = 200  # 20 s at 10 Hz, twice what is looked at


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A long recording of many chunks as one file, and one without an index."""
    root = tmp_path_factory.mktemp("places")
    bag = small_bag(root / "made" / "long", COUNT, chunk_every=20)
    shutil.copy(next(bag.glob("*.mcap")), root / "long.mcap")
    small_bag(root / "made" / "tables", 3, storage=StoragePlugin.SQLITE3)
    shutil.copy(next((root / "made" / "tables").glob("*.db3")), root / "tables.db3")
    return root


def only_row(store):
    (row,) = FleetStore.open(store).recordings().to_pylist()
    return row


def topics_of(store):
    return {row["topic"]: row for row in FleetStore.open(store).topics().to_pylist()}


def test_value_a_recording_at_a_web_server_is_read_by_ranges(tmp_path, folder):
    size = (folder / "long.mcap").stat().st_size
    with web_server(folder) as (address, server):
        report = index(tmp_path / "far", [f"{address}/long.mcap"])
        assert (report.broken, report.fetched_whole) == ({}, [])
        assert report.bytes_read == server.sent
        assert report.bytes_remote == size
        assert report.bytes_read < 0.75 * size  # half of it is looked at, and the index of the other half
        server.sent = 0
        again = index(tmp_path / "far", [f"{address}/long.mcap"])
        assert (again.unchanged, again.bytes_read, server.sent) == (1, 0, 0)
    index(tmp_path / "near", [str(folder / "long.mcap")])
    far, near = only_row(tmp_path / "far"), only_row(tmp_path / "near")
    same = ("recording_id", "n_bytes", "start_ns", "end_ns", "duration_s", "date", "state")
    assert [far[name] for name in same] == [near[name] for name in same]
    far_topics, near_topics = topics_of(tmp_path / "far"), topics_of(tmp_path / "near")
    assert set(far_topics) == set(near_topics)
    for topic, row in near_topics.items():
        for name in ("type", "sensor", "n_messages", "calibrated", "problems"):
            assert far_topics[topic][name] == row[name], (topic, name)
    camera = "/kitti/camera_color_left/image"
    assert far_topics[camera]["longest_gap_s"] == pytest.approx(near_topics[camera]["longest_gap_s"], abs=1e-6)
    assert far_topics[camera]["rate_hz"] == pytest.approx(10.0)


def test_value_an_excerpt_holds_the_messages_of_its_interval(folder):
    with web_server(folder) as (address, server):
        (source,) = find_sources([f"{address}/long.mcap"])
        with local_excerpt(source, 12.0, 12.5) as copy:
            assert not copy.is_whole
            assert copy.bytes_read == server.sent < 0.25 * source.n_bytes
            from_ns, until_ns = START_NS + 12 * 10**9, START_NS + 12_500_000_000
            with Recording(copy.path) as part, Recording(folder / "long.mcap") as whole:
                assert part.damage == []
                assert list(part.messages(None, from_ns, until_ns)) == list(whole.messages(None, from_ns, until_ns))
                assert part.topics["/tf_static"].count == 1  # latched, though it was sent at the start
            place = copy.path
    assert not place.exists()


def test_value_what_has_no_index_is_fetched_whole_and_told(tmp_path, folder):
    write_ros1(tmp_path / "a.bag", [])
    with web_server(folder) as (address, server):
        report = index(tmp_path / "store", [f"{address}/tables.db3"])
        assert report.fetched_whole == [f"{address}/tables.db3"]
        assert report.bytes_read == server.sent >= (folder / "tables.db3").stat().st_size
    assert only_row(tmp_path / "store")["state"] == "ok"


def test_value_an_unindexed_mcap_is_fetched_whole(tmp_path, folder):
    cut = (folder / "long.mcap").read_bytes()[:100_000]
    (tmp_path / "cut.mcap").write_bytes(cut)
    with web_server(tmp_path) as (address, _):
        (source,) = find_sources([f"{address}/cut.mcap"])
        with local_excerpt(source, 0.0, 1.0) as copy:
            assert copy.is_whole
            assert copy.path.read_bytes() == cut


def test_value_contents_are_told_apart_wherever_they_lie(folder):
    with web_server(folder) as (address, server):
        (far,) = find_sources([f"{address}/long.mcap"])
        (near,) = find_sources([str(folder / "long.mcap")])
        (in_folder,) = find_sources([str(folder / "made" / "long")])
        (other,) = find_sources([str(folder / "tables.db3")])
        found = fingerprint(far)
        assert found == (fingerprint(near)[0], server.sent)
    assert fingerprint(in_folder)[0] == found[0] != fingerprint(other)[0]


def test_exception_a_server_without_ranges_is_told(tmp_path, folder):
    with web_server(folder, has_ranges=False) as (address, _):
        index(tmp_path / "store", [f"{address}/long.mcap"])
        row = only_row(tmp_path / "store")
    assert (row["state"], row["code"]) == ("broken", "remote-unreachable")
    assert "range" in row["reason"].lower()


def test_exception_nobody_answers(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with user_error("remote-unreachable", address):
            index(tmp_path / "store", [f"{address}/a.mcap"])
    with web_server(tmp_path) as (address, _), user_error("file-missing", f"{address}/none.mcap"):
        index(tmp_path / "store", [f"{address}/none.mcap"])
    with user_error("value-format", "nothing://a"):
        index(tmp_path / "store", ["nothing://a"])
    assert not (tmp_path / "store").exists()


@pytest.fixture(scope="module")
def bucket(folder):
    """s3://drives with the long recording as a rosbag2 folder, its manifest and a file beside them."""
    boto3 = pytest.importorskip("boto3")
    server_module = pytest.importorskip("moto.server")
    with pytest.MonkeyPatch.context() as patch:
        server = server_module.ThreadedMotoServer(port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = boto3.client("s3")
        client.create_bucket(Bucket="drives")
        for path in sorted((folder / "made" / "long").iterdir()):
            client.upload_file(str(path), "drives", f"week 1/long/{path.name}")
        client.put_object(Bucket="drives", Key="week 1/list.csv", Body=b"url,vehicle\nlong,car-7\n")
        yield "s3://drives"
        server.stop()


def test_value_a_bucket_is_listed_and_read_by_ranges(tmp_path, folder, bucket):
    report = index(tmp_path / "store", [bucket])
    row = only_row(tmp_path / "store")
    assert (row["url"], row["state"], row["code"], row["vehicle"]) == (f"{bucket}/week 1/long", "ok", None, None)
    assert row["recording_id"] == fingerprint(find_sources([str(folder / "made" / "long")])[0])[0]
    assert 0 < report.bytes_read < 0.75 * row["n_bytes"]
    assert index(tmp_path / "store", [bucket]).unchanged == 1
    listed = index(tmp_path / "listed", [f"{bucket}/week 1/list.csv"])
    assert (listed.broken, only_row(tmp_path / "listed")["vehicle"]) == ({}, "car-7")


def test_value_a_whole_copy_of_a_bucket_s_recording(folder, bucket):
    (source,) = find_sources([f"{bucket}/week*/long/*"])
    with local_copy(source) as copy:
        assert sorted(os.listdir(copy.path)) == sorted(os.listdir(folder / "made" / "long"))
        assert copy.bytes_read == sum(path.stat().st_size for path in copy.path.iterdir())


def test_exception_a_bucket_that_is_not_there(tmp_path, bucket):
    with user_error("file-missing", "s3://elsewhere"):
        index(tmp_path / "store", ["s3://elsewhere/drives"])


def test_value_what_cannot_be_reached_for_the_moment_stays_as_it_was(tmp_path, folder, monkeypatch):
    with web_server(folder) as (address, _):
        urls = [f"{address}/long.mcap", f"{address}/none.mcap"]
        (tmp_path / "drives.csv").write_text("\n".join(["url", *urls]))
        index(tmp_path / "store", [str(tmp_path / "drives.csv")])
    before, told = FleetStore.open(tmp_path / "store").recordings().to_pylist(), {}
    assert [(row["state"], row["code"]) for row in before] == [("ok", None), ("broken", "bag-missing")]

    def out_of_reach(url):
        raise UserError(f"{url}: cannot be reached", "remote-unreachable")

    monkeypatch.setattr(sources, "list_files", out_of_reach)
    report = index(tmp_path / "store", [str(tmp_path / "drives.csv")], on_broken=told.__setitem__)
    assert report.broken == told == dict.fromkeys(urls, "cannot be reached")
    after = FleetStore.open(tmp_path / "store").recordings().to_pylist()
    assert (after[0], after[1]["code"]) == (before[0], "remote-unreachable")


def test_value_an_error_of_a_copy_names_the_recording_and_no_secret(folder):
    with web_server(folder) as (address, _):
        (source,) = find_sources([f"{address}/tables.db3"])
        with user_error("bag-format", f"{address}/tables.db3: x") as caught, local_copy(source) as copy:
            raise UserError(f"{copy.path}: x", "bag-format")
    assert "any2seg-recording" not in str(caught.value)
    url = "https://host/a.mcap?Signature=secret"
    with user_error("remote-unreachable", "https://host/a.mcap") as caught, reaching(url):
        raise OSError(f"403 at {url}")
    assert "secret" not in str(caught.value)


def test_value_two_channels_of_one_topic_are_one_topic(tmp_path):
    """As two publishers of it may be stored: 2 s apart each, 1 s together."""
    parts = McapParts("ros2")
    schema = parts.schema("std_msgs/msg/Empty", "ros2msg", b"")
    data = [parts.head()]
    channels = [parts.channel("/a", schema, "cdr") for _ in range(2)]
    for second in range(9):
        data += parts.message(channels[second % 2], second * 10**9, b"")
    (tmp_path / "a.mcap").write_bytes(b"".join([*data, *parts.end()]))
    found = RemoteMcap(RangeFile(StoredFile(str(tmp_path / "a.mcap"), (tmp_path / "a.mcap").stat().st_size)))
    assert (found.counts, found.longest_gaps_s) == ({"/a": 9}, {"/a": 1.0})


def test_value_what_an_operating_system_leaves_in_a_bucket_is_no_recording():
    memory = pytest.importorskip("fsspec", reason="pip install 'any2seg[remote]'").filesystem("memory")
    names = ("a.mcap", "._a.mcap", "__MACOSX/a.mcap", ".trash/b.mcap", "week/b.mcap")
    try:
        for name in names:
            memory.pipe_file(f"/left/{name}", name.encode())
        found = [source.url for source in find_sources(["memory://left"])]
        assert [url.partition("left/")[2] for url in found] == ["a.mcap", "week/b.mcap"]
        assert len(find_sources([found[0].replace("a.mcap", "._a.mcap")])) == 1  # who names it means it
    finally:
        memory.rm("/left", recursive=True)


def test_value_an_empty_file_among_others_is_no_content(tmp_path):
    (tmp_path / "a.mcap").write_bytes(b"some bytes")
    (tmp_path / "b.mcap").write_bytes(b"")
    with web_server(tmp_path) as (address, _):
        there = tuple(StoredFile(f"{address}/{name}.mcap", size) for name, size in (("a", 10), ("b", 0)))
        here = tuple(StoredFile(f"{tmp_path}/{name}.mcap", size) for name, size in (("a", 10), ("b", 0)))
        assert fingerprint(Source(address, there))[0] == fingerprint(Source(str(tmp_path), here))[0]


def test_exception_a_file_that_cannot_be_read_here_is_no_matter_of_the_network(tmp_path):
    with user_error("file-unreadable", tmp_path / "none.mcap"):
        RangeFile(StoredFile(str(tmp_path / "none.mcap"), 9)).read([(0, 9)])
