"""What the page refuses, whoever asks: harmless requests of each kind."""

from __future__ import annotations

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from any2seg_core.view.guard import Guard


@pytest.fixture
def client():
    return TestClient(Guard(PlainTextResponse("inside"), ["van.local"]), base_url="http://127.0.0.1:8319")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_exception_only_reading(client, method):
    answer = client.request(method, "/")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("host", [
    "127.0.0.1:8319", "localhost:9000", "localhost", "[::1]:8319", "192.168.1.7:8319", "van.local:8319", "VAN.local",
])  # fmt: skip
def test_value_addresses_and_names_of_its_own_are_answered(client, host):
    assert client.get("/", headers={"host": host}).text == "inside"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8319", "127.0.0.1.evil.example",
                                  "", "user@127.0.0.1.evil.example", "127.0.0.1:x", "[::1",
                                  "user@127.0.0.1", "127.0.0.1/x"])  # fmt: skip
def test_exception_a_name_that_leads_here_is_refused(client, host):
    """As after DNS rebinding: the browser believes to talk to its own site."""
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == 421 and "inside" not in answer.text


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1.evil.example",
                                    "http://["])  # fmt: skip
def test_exception_scripts_of_other_sites_are_refused(client, origin):
    assert client.get("/", headers={"origin": origin}).status_code == 403


def test_value_scripts_of_the_page_itself_are_answered(client):
    headers = {"origin": "http://127.0.0.1:8319", "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
    assert client.get("/", headers=headers).text == "inside"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("mode", ["no-cors", "cors", "navigate"])
def test_value_pages_of_other_sites_may_link_and_nothing_else(client, site, mode):
    """No picture of a recording in a page of another site; `same-site` is another port of this machine."""
    answer = client.get("/", headers={"sec-fetch-site": site, "sec-fetch-mode": mode})
    assert answer.status_code == (200 if mode == "navigate" else 403)


@pytest.mark.parametrize("headers", [{}, {"host": "evil.example"}])
def test_value_every_answer_keeps_the_browser_to_the_page(client, headers):
    """Refusals too: no script, style, picture or frame from elsewhere, and nothing inline."""
    answer = client.get("/", headers=headers)
    rules = dict(rule.strip().split(" ", 1) for rule in answer.headers["content-security-policy"].split(";"))
    assert rules["default-src"] == "'none'" and rules["script-src"] == rules["style-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert not any("unsafe" in rule or "http" in rule or "*" in rule for rule in rules.values())
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in answer.headers


def test_exception_no_websocket(client):
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/"):
        pass
