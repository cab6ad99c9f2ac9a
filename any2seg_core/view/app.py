"""The web application: addresses, and what answers at each. Everything is read, nothing is kept."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from any2seg_core.bags.clip import clip_parts
from any2seg_core.base.errors import UserError
from any2seg_core.base.screen import one_line
from any2seg_core.base.units import NS_PER_S
from any2seg_core.reports.pictures import class_legend
from any2seg_core.view.decoder import Decoder, OvertakenError, Shown
from any2seg_core.view.drives import Drive, Drives
from any2seg_core.view.guard import Guard
from any2seg_core.view.pictures import encoded, named
from any2seg_core.view.single import THE_ONE
from any2seg_core.view.timeline import timeline_views

_STATIC = {  # file: package that has it, and media type; nothing else is served from a disk
    "report.css": ("any2seg_core.reports", "templates/style.css", "text/css"),
    "view.css": ("any2seg_core.view", "static/view.css", "text/css"),
    "icon.svg": ("any2seg_core.view", "static/icon.svg", "image/svg+xml"),
    "view.js": ("any2seg_core.view", "static/view.js", "text/javascript"),
}
_LATEST_S = 1e9


def make_app(drives: Drives, decoder: Decoder, names: Collection[str] = ()) -> ASGIApp:
    """The application, guarded.

    Args:
        drives: what there is to see. decoder: running. names: see `Guard`.
    """
    pages = _Pages(drives, decoder)
    routes = [
        Route("/", pages.start),
        Route("/static/{name}", _static),
        Route("/drives/{drive_id}", pages.drive),
        Route("/drives/{drive_id}/moment", pages.moment),
        Route("/drives/{drive_id}/timeline", pages.timeline),
        Route("/drives/{drive_id}/pictures/{name}", pages.picture),
        Route("/drives/{drive_id}/clip.mcap", pages.clip),
    ]
    handlers: dict[Any, Any] = {HTTPException: _on_http_error, UserError: _on_user_error, OvertakenError: _on_overtaken}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), names)


class _Pages:
    """What answers at each address."""

    def __init__(self, drives: Drives, decoder: Decoder) -> None:
        self._drives, self._decoder = drives, decoder

    async def start(self, request: Request) -> Response:
        """One recording: its page."""
        return RedirectResponse(f"/drives/{THE_ONE}")

    async def drive(self, request: Request) -> Response:
        """A drive over time; its moment is fetched by the script."""
        drive = await run_in_threadpool(self._drive, request)
        known = await run_in_threadpool(self._drives.frames, drive)
        views = timeline_views(known, drive)
        at_s = min(_seconds(request, "at", 0.0), drive.length_s)
        return _page("drive.html.j2", drive=drive, views=views, known=known, at_s=at_s, step_s=1.0 / drive.rate_hz)

    async def timeline(self, request: Request) -> Response:
        """The drawing alone, for as long as it grows."""
        drive = await run_in_threadpool(self._drive, request)
        known = await run_in_threadpool(self._drives.frames, drive)
        return _page("blocks/timeline.html.j2", views=timeline_views(known, drive), known=known, drive=drive)

    async def moment(self, request: Request) -> Response:
        """Facts of a moment, and addresses of its pictures."""
        drive = await run_in_threadpool(self._drive, request)
        if request.method == "HEAD":
            return HTMLResponse()
        shown = await self._shown(drive, _seconds(request, "at", 0.0))
        legend = None if shown.space is None else class_legend(shown.space)
        return _page("moment.html.j2", drive=drive, shown=shown, moment=shown.moment, legend=legend)

    async def picture(self, request: Request) -> Response:
        """One picture of a moment."""
        drive = await run_in_threadpool(self._drive, request)
        if request.method == "HEAD":
            return Response()
        shown = await self._shown(drive, _seconds(request, "at", 0.0))
        picture = named(shown.pictures, request.path_params["name"])
        data, kind = await run_in_threadpool(encoded, picture)
        return Response(data, media_type=kind)

    async def clip(self, request: Request) -> Response:
        """All topics between two times, as a file to keep."""
        drive = await run_in_threadpool(self._drive, request)
        from_s, to_s = _seconds(request, "from", 0.0), _seconds(request, "to", drive.length_s)
        name = "".join(letter for letter in drive.title if letter.isascii() and (letter.isalnum() or letter in "._-"))
        headers = {"content-disposition": f'attachment; filename="{name or "clip"}_{from_s:g}_{to_s:g}.mcap"'}
        if request.method == "HEAD":
            return Response(headers=headers, media_type="application/octet-stream")
        start_ns = drive.start_ns
        parts = clip_parts(
            drive.path, start_ns + round(from_s * NS_PER_S), start_ns + round(to_s * NS_PER_S) + 1
        )
        first = await run_in_threadpool(next, parts)  # what is wrong is told before anything is sent
        return StreamingResponse(chain([first], parts), headers=headers, media_type="application/octet-stream")

    def _drive(self, request: Request) -> Drive:
        drive = self._drives.drive(request.path_params["drive_id"])
        if drive is None:
            raise HTTPException(404, "no such drive")
        return drive

    async def _shown(self, drive: Drive, time_s: float) -> Shown:
        return await asyncio.wrap_future(self._decoder.shown(drive.drive_id, round(time_s, 3)))


async def _static(request: Request) -> Response:
    known = _STATIC.get(request.path_params["name"])
    if known is None:
        raise HTTPException(404, "no such file")
    package, path, kind = known
    return Response(_read_static(package, path), media_type=kind, headers={"cache-control": "max-age=3600"})


@cache
def _read_static(package: str, path: str) -> bytes:
    return files(package).joinpath(path).read_bytes()


def _seconds(request: Request, name: str, default: float) -> float:
    """A time of the address; UserError for what is no time."""
    text = request.query_params.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= _LATEST_S:
        raise UserError(f"{name}={text[:40]!r}: give seconds from the start of the drive", "value-range")
    return value


def _page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    return HTMLResponse(_environment().get_template(template).render(**values), status)


@cache
def _environment() -> Environment:
    """Everything that stands in a page is escaped, whatever it is called."""
    loader = ChoiceLoader([PackageLoader("any2seg_core.view"), PackageLoader("any2seg_core.reports")])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["plain"] = one_line
    return environment


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _page("message.html.j2", error.status_code, text=error.detail)


async def _on_user_error(request: Request, error: Exception) -> Response:
    return _page("message.html.j2", 422, text=one_line(str(error)))


async def _on_overtaken(request: Request, error: Exception) -> Response:
    return PlainTextResponse("overtaken by newer requests", 503)
