"""The page in a real browser: the system's Chromium, driven by Playwright. Without one these tests are skipped."""

from __future__ import annotations

import re
import shutil
import socket
import threading
from contextlib import contextmanager

import pytest
import uvicorn

from any2seg_core.bags.opened import BagOptions
from any2seg_core.bags.reader import Recording
from any2seg_core.view.app import make_app
from any2seg_core.view.decoder import Decoder
from any2seg_core.view.fleet import FleetDrives
from any2seg_core.view.single import SingleRecording

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright's Python package is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
              "--disable-component-update", "--disable-sync"]  # fmt: skip


@contextmanager
def running(app):
    """A server on a free port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def address(car_bag, predictor):
    drives = SingleRecording(car_bag, BagOptions(), predictor, "m.safetensors")
    with Decoder(drives.open_reader, drives.idle) as decoder, running(make_app(drives, decoder)) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        yield chromium
        chromium.close()


@contextmanager
def opened(browser, address, **options):
    """A page at 0.5 s; whatever the browser complains of, of scripts or of the rules for them, is an error."""
    context = browser.new_context(**options)
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url) if not request.url.startswith(address) else None)
    page.goto(f"{address}/drives/recording?at=0.5")
    settled(page, "0.500")
    yield page
    context.close()
    assert complaints == []


def settled(page, at):
    page.wait_for_selector(f'#moment[aria-busy="false"] .facts-line[data-at="{at}"]')


def test_value_keys_move_from_set_to_set(browser, address):
    with opened(browser, address, viewport={"width": 1280, "height": 900}) as page:
        for key, at in [("ArrowRight", "0.600"), ("ArrowRight", "0.700"), ("ArrowLeft", "0.600"),
                        ("Shift+ArrowRight", "1.600"), ("Home", "0.000"), ("End", "2.400")]:  # fmt: skip
            page.keyboard.press(key)
            settled(page, at)
        assert page.url.endswith("?at=2.403")
        sizes = page.eval_on_selector_all(".pictures img", "found => found.map(each => each.naturalWidth)")
        assert sizes == [96] * 7


def test_value_the_mouse_moves_on_the_timeline_and_the_slider(browser, address):
    with opened(browser, address, viewport={"width": 1280, "height": 900}) as page:
        track = page.locator(".track.wide")
        box = track.bounding_box()
        left, right = (float(track.get_attribute(f"data-{side}")) for side in ("left", "right"))
        place = box["x"] + box["width"] * (left + (right - left) * 1.21 / 2.403)
        page.mouse.move(place, box["y"] + 60)
        page.mouse.down()
        settled(page, "1.200")
        page.mouse.move(place + 0.4 / 2.403 * (right - left) * box["width"], box["y"] + 60)
        page.mouse.up()
        settled(page, "1.600")
        cursor = page.locator(".track.wide .cursor").bounding_box()
        assert cursor["x"] == pytest.approx(box["x"] + box["width"] * (left + (right - left) * 1.61 / 2.403), abs=3)
        page.locator("#scrub").fill("2.25")
        settled(page, "2.200")


def test_value_play_goes_on_to_the_end(browser, address):
    with opened(browser, address, viewport={"width": 1280, "height": 900}) as page:
        page.locator("#scrub").fill("2.1")
        settled(page, "2.100")
        page.keyboard.press(" ")
        settled(page, "2.400")
        page.wait_for_selector('#play[aria-pressed="false"]')
        assert page.locator("#play").inner_text() == "Play"


def test_value_a_narrow_screen_with_touch(browser, address):
    """400 pixels: nothing is wider than the screen, and the slider is in sight beside the pictures."""
    with opened(browser, address, viewport={"width": 400, "height": 800}, has_touch=True, is_mobile=True) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        assert not page.locator(".track.wide").is_visible() and page.locator(".track.narrow").is_visible()
        slider = page.locator("#scrub").bounding_box()
        assert slider["y"] + slider["height"] <= 800 and slider["width"] > 250
        page.locator("#after").tap()
        settled(page, "0.600")
        assert page.locator("#after").bounding_box()["height"] >= 32
        page.locator(".track.narrow").scroll_into_view_if_needed()
        box = page.locator(".track.narrow").bounding_box()
        page.touchscreen.tap(box["x"] + box["width"] * 0.9, box["y"] + 50)
        settled(page, "2.100")  # the axis lies between 0.219 and 0.967 of the width: 2.19 s


def test_value_a_clip_is_saved_from_here_to_there(browser, address, tmp_path):
    with opened(browser, address, viewport={"width": 1280, "height": 900}) as page:
        page.locator("#from-here").click()
        page.keyboard.press("Shift+ArrowRight")
        settled(page, "1.500")
        page.locator("#to-here").click()
        with page.expect_download() as download:
            page.get_by_role("button", name="Save as MCAP").click()
        assert re.fullmatch(r"bcar_0\.5_1\.5\.mcap", download.value.suggested_filename)
        download.value.save_as(tmp_path / "clip.mcap")
    with Recording(tmp_path / "clip.mcap") as clip:
        assert (clip.end_ns - clip.start_ns) / 1e9 == pytest.approx(1.0, abs=0.02)


def test_value_a_fleet_is_filtered_and_leads_to_a_moment(browser, store, predictor):
    """On a narrow screen: the list, a filter, a drive of it, its first moment, and back to the map."""
    drives = FleetDrives(store[0], predictor, "m.safetensors", "night")
    with Decoder(drives.open_reader, drives.idle) as decoder, running(make_app(drives, decoder)) as address:
        page = browser.new_page(viewport={"width": 400, "height": 800})
        complaints = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        page.locator("select[name=weather]").select_option("sunny")
        page.get_by_role("button", name="Show").click()
        page.get_by_role("link", name="<b>car").click()
        settled(page, "0.000")
        page.get_by_role("link", name="Map").click()
        assert page.locator("svg.plot a").count() == 3
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        page.close()
        assert complaints == []
