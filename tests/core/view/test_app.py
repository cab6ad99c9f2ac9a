"""The page of one recording: what it shows, against the recording, and what it refuses."""

from __future__ import annotations

import io
import re
import time

import fake_car
import numpy as np
import pytest
from bag_files import small_entries, write_bag
from PIL import Image
from shown import MARKUP, chips_of, moment_of, serving

from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.bags.reader import Recording
from any2seg_core.view.moments import MomentReader
from any2seg_core.view.single import SingleRecording

BASE = "/drives/recording"


def test_value_the_start_leads_to_the_recording(page):
    answer = page.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, BASE)
    html = page.get(BASE).text
    assert "<h1>&lt;b&gt;car</h1>" in html
    (facts,) = re.findall(r'<main id="drive"([^>]*)>', html)
    assert 'data-length="2.403"' in facts and 'data-step="0.096"' in facts  # the last message is depth, 3 ms late


def test_value_a_moment_says_what_was_fused_and_why_not(page):
    html = page.get(f"{BASE}/moment?at=0.72").text
    assert moment_of(html) == {"at": "0.700", "before": "0.600", "after": "0.800"}
    assert chips_of(html, "fused") == ["camera", "depth", "event", "LiDAR"]
    html = page.get(f"{BASE}/moment?at=1.4").text
    (lidar,) = chips_of(html, "absent")
    assert re.fullmatch(r"LiDAR (dead|stale|timeout)", lidar)


def test_value_pictures_are_those_of_the_model(page, car_bag, predictor):
    """The camera's picture and the labels, pixel by pixel; every picture that a moment names is there."""
    html = page.get(f"{BASE}/moment?at=0.7").text
    names = re.findall(r'<img src="[^"]*/pictures/(\w+)\?at=0.700"', html)
    assert names == ["rgb", "depth", "event", "lidar", "overlay", "labels", "confidence"]
    pictures = {}
    for name in names:
        answer = page.get(f"{BASE}/pictures/{name}?at=0.7")
        assert answer.headers["content-type"] == ("image/png" if name == "labels" else "image/jpeg")
        pictures[name] = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))
        assert pictures[name].shape == (64, 96, 3)
    with open_bag(car_bag) as opened:
        moment = MomentReader(opened, predictor).at(0.7)
    colours = predictor.label_space.colourise(moment.segmentation.labels)
    np.testing.assert_array_equal(pictures["labels"], colours)
    grey = [each.astype(float).mean(axis=2).ravel() for each in (pictures["rgb"], moment.frame.planes["rgb"])]
    assert np.corrcoef(*grey)[0, 1] > 0.8  # noise through JPEG
    assert np.unique(pictures["lidar"].reshape(-1, 3), axis=0).shape[0] > 50


def test_value_the_timeline_grows_and_shows_the_silence(page):
    for _ in range(200):
        html = page.get(f"{BASE}/timeline").text
        if 'data-state="known"' in html:
            break
        time.sleep(0.05)
    assert 'data-state="known"' in html and "being read" not in html
    spans = re.findall(r"LiDAR silent ([\d.]+) to ([\d.]+) s", html)
    begin, end = map(float, spans[-1])
    assert 1.0 < begin < 1.3 and 1.5 < end < 1.8
    assert html.count('class="track ') == 2 and html.count("confidence, % per frame") == 2


def test_value_a_clip_holds_the_messages_in_between(page, car_bag, tmp_path):
    answer = page.get(f"{BASE}/clip.mcap?from=0.5&to=1.25")
    assert answer.headers["content-disposition"] == 'attachment; filename="bcar_0.5_1.25.mcap"'
    path = tmp_path / "clip.mcap"
    path.write_bytes(answer.content)
    first_ns = fake_car.START_NS + 500_000_000
    last_ns = fake_car.START_NS + 1_250_000_000
    with Recording(path) as clip, Recording(car_bag) as whole:
        found = sorted((m.topic, m.time_ns, m.data) for m in clip.messages())
        expected = sorted((m.topic, m.time_ns, m.data) for m in whole.messages(None, first_ns, last_ns + 1))
    assert found == expected and len(found) > 40


def test_value_a_recording_of_one_message(predictor, tmp_path):
    """It has no length, and is shown all the same."""
    path = write_bag(tmp_path / "bag", small_entries(1))
    with serving(SingleRecording(path, BagOptions(), predictor, "m.safetensors")) as client:
        assert 'data-length="0.000"' in client.get(BASE).text
        assert moment_of(client.get(f"{BASE}/moment?at=0").text) == {"at": "0.000", "before": "", "after": ""}
        assert client.get(f"{BASE}/timeline").status_code == 200
        clip = tmp_path / "clip.mcap"
        clip.write_bytes(client.get(f"{BASE}/clip.mcap?from=0&to=0").content)
    with Recording(clip) as bag:
        assert bag.message_count == 1


def test_value_nothing_of_a_file_is_markup(page):
    """A topic and a folder whose names are elements of HTML."""
    html = page.get(BASE).text
    assert MARKUP not in html and "<script>alert" not in html and "<b>car" not in html
    assert "/x&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in html


@pytest.mark.parametrize("place", [
    "/drives/other", f"{BASE}/pictures/secret?at=0.7", f"{BASE}/moment?at=-1", f"{BASE}/moment?at=nan",
    f"{BASE}/moment?at=soon", f"{BASE}/clip.mcap?from=2&to=1", f"{BASE}/clip.mcap?from=1e300", "/none",
    "/static/none.css",
])  # fmt: skip
def test_exception_a_wrong_address_is_a_page_that_says_so(page, place):
    answer = page.get(place)
    assert answer.status_code in (404, 422)
    assert '<p class="warning">' in answer.text and "Traceback" not in answer.text


@pytest.mark.parametrize("method", ["get", "head"])
@pytest.mark.parametrize(("span", "named"), [("from=2&to=1", "2 to 1 s"), ("from=1000000.5", "1000000.5"),
                                             ("from=2.5&to=9", "2.403 s")])  # fmt: skip
def test_exception_a_clip_that_holds_nothing_is_refused_in_seconds(page, method, span, named):
    answer = getattr(page, method)(f"{BASE}/clip.mcap?{span}")
    assert answer.status_code == 422 and (named in answer.text or method == "head")


def test_exception_pictures_refuse_with_escaped_text(page):
    answer = page.get(f"{BASE}/moment?at=<script>")
    assert answer.status_code == 422
    assert "<script>" not in answer.text.replace('<script src="/static/view.js"', "")


@pytest.mark.parametrize("place", [BASE, f"{BASE}/moment?at=1", f"{BASE}/pictures/rgb?at=1", f"{BASE}/clip.mcap"])
def test_value_head_answers_without_a_body(page, place):
    answer = page.head(place)
    assert (answer.status_code, answer.content) == (200, b"")


def test_exception_a_recording_that_vanishes_is_said_on_the_page(car_bag, predictor, tmp_path):
    copy = tmp_path / "copy"
    car_bag_files = {path.name: path.read_bytes() for path in car_bag.iterdir()}
    copy.mkdir()
    for name, data in car_bag_files.items():
        (copy / name).write_bytes(data)
    drives = SingleRecording(copy, BagOptions(), predictor, "m.safetensors")
    for path in copy.iterdir():
        path.unlink()
    drives.idle = iter(())
    with serving(drives) as client:
        answer = client.get(f"{BASE}/moment?at=1")
        assert answer.status_code == 422 and "copy" in answer.text
        assert client.get(f"{BASE}/clip.mcap").status_code == 422
