"""What every answer of the page has to pass: only reading, only this machine's name, nothing from elsewhere."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "content-security-policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_METHODS = ("GET", "HEAD")


class Guard:
    """Refuses what no reader of the page sends, and adds the headers that keep a browser to it.

    A page of another site can make a browser ask this server. It cannot read the answers, unless its own name is made
    to lead here (DNS rebinding): so a name that this server was not given is refused. Addresses are no names.

    Args:
        app: what answers. names: the server may be called by, beside addresses and localhost.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] = ()) -> None:
        self._app, self._names = app, {"localhost", *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope["method"], Headers(scope=scope))

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await (self._app if refusal is None else refusal)(scope, receive, guarded)

    def _refusal(self, method: str, headers: Headers) -> PlainTextResponse | None:
        if method not in _METHODS:
            return PlainTextResponse("this page only reads: GET\n", 405, {"allow": ", ".join(_METHODS)})
        host = headers.get("host", "")
        if not self._is_ours(host):
            return PlainTextResponse("this server has another name: use its address\n", 421)
        origin = headers.get("origin")
        if origin is not None and not _is_of(origin, host):
            return PlainTextResponse("not for pages of other sites\n", 403)
        is_foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if is_foreign and headers.get("sec-fetch-mode") != "navigate":  # a link to the page is no harm
            return PlainTextResponse("not for pages of other sites\n", 403)
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            place = urlsplit(f"//{host}")
            name, _ = place.hostname or "", place.port
            is_plain = place.username is None and not (place.path or place.query or place.fragment)
            return is_plain and (name in self._names or bool(ipaddress.ip_address(name)))
        except ValueError:  # no address, or a port that is no number
            return False


def _is_of(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc == host
    except ValueError:  # as of http://[
        return False
