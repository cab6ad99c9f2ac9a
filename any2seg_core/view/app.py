"""The web application: addresses, and what answers at each. Everything is read, nothing is kept."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from any2seg_core.base.errors import UserError
from any2seg_core.base.screen import one_line
from any2seg_core.view.decoder import Decoder, OvertakenError
from any2seg_core.view.drive_pages import DrivePages
from any2seg_core.view.drives import Drives
from any2seg_core.view.fleet import FleetDrives
from any2seg_core.view.fleet_pages import FleetPages
from any2seg_core.view.guard import Guard
from any2seg_core.view.rendering import page
from any2seg_core.view.single import THE_ONE

_STATIC = {  # file: package that has it, and media type; nothing else is served from a disk
    "report.css": ("any2seg_core.reports", "templates/style.css", "text/css"),
    "view.css": ("any2seg_core.view", "static/view.css", "text/css"),
    "icon.svg": ("any2seg_core.view", "static/icon.svg", "image/svg+xml"),
    "view.js": ("any2seg_core.view", "static/view.js", "text/javascript"),
}


def make_app(drives: Drives, decoder: Decoder, names: Collection[str] = ()) -> ASGIApp:
    """The application, guarded.

    Args:
        drives: what there is to see. decoder: running. names: see `Guard`.
    """
    is_fleet = isinstance(drives, FleetDrives)
    one = DrivePages(drives, decoder, is_fleet)
    routes = [
        Route("/static/{name}", _static),
        Route("/drives/{drive_id}", one.drive),
        Route("/drives/{drive_id}/moment", one.moment),
        Route("/drives/{drive_id}/timeline", one.timeline),
        Route("/drives/{drive_id}/pictures/{name}", one.picture),
        Route("/drives/{drive_id}/clip.mcap", one.clip),
    ]
    if isinstance(drives, FleetDrives):
        fleet = FleetPages(drives)
        routes += [Route("/", fleet.drives), Route("/map", fleet.map), Route("/trouble", fleet.trouble)]
    else:
        routes.append(Route("/", _to_the_one))
    handlers: dict[Any, Any] = {HTTPException: _on_http_error, UserError: _on_user_error, OvertakenError: _on_overtaken}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), names)


async def _to_the_one(request: Request) -> Response:
    return RedirectResponse(f"/drives/{THE_ONE}")


async def _static(request: Request) -> Response:
    known = _STATIC.get(request.path_params["name"])
    if known is None:
        raise HTTPException(404, "no such file")
    package, path, kind = known
    return Response(_read_static(package, path), media_type=kind, headers={"cache-control": "max-age=3600"})


@cache
def _read_static(package: str, path: str) -> bytes:
    return files(package).joinpath(path).read_bytes()


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return page("message.html.j2", error.status_code, text=error.detail)


async def _on_user_error(request: Request, error: Exception) -> Response:
    return page("message.html.j2", 422, text=one_line(str(error)))


async def _on_overtaken(request: Request, error: Exception) -> Response:
    return PlainTextResponse("overtaken by newer requests", 503)
