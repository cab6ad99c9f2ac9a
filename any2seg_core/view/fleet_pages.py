"""Pages of a store: the list of drives, where they went, what failed and which moments were worst."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from any2seg_core.fleet.questions import failures, worst
from any2seg_core.fleet.remote import shown_url
from any2seg_core.view.fleet import MAP_DRIVES, PAGE_ROWS, DriveFilter, FleetDrives, drive_title
from any2seg_core.view.rendering import page
from any2seg_core.view.tracks import track_plot

_PLOT, _SMALL = (1100, 620), (260, 200)  # pixels
_WORST = 24


class FleetPages:
    """What answers at the addresses of a store."""

    def __init__(self, drives: FleetDrives) -> None:
        self._drives = drives

    async def drives(self, request: Request) -> Response:
        """The list, filtered, a page at a time."""
        return await run_in_threadpool(self._list, request.query_params)

    async def map(self, request: Request) -> Response:
        """Positions of the same drives."""
        return await run_in_threadpool(self._map, request.query_params)

    async def trouble(self, request: Request) -> Response:
        """What failed on which vehicle, and the worst moments."""
        return await run_in_threadpool(self._trouble)

    def _list(self, given: Mapping[str, str]) -> Response:
        wanted = DriveFilter.of(given)
        number = int(text) if (text := given.get("page", "0")).isdecimal() and len(text) < 7 else 0
        rows, count = self._drives.rows(wanted, number)
        pages = max(1, -(-count // PAGE_ROWS))

        def address(other: int) -> str:
            return "/?" + urlencode({**wanted.given(), "page": other})

        return page(
            "drives.html.j2", tab="drives", drives=self._drives, rows=rows, count=count, wanted=wanted, number=number,
            pages=pages, before=address(number - 1) if number else "",
            after=address(number + 1) if number + 1 < pages else "", choices=self._drives.choices(), action="/",
            query=urlencode(wanted.given()),
        )  # fmt: skip

    def _map(self, given: Mapping[str, str]) -> Response:
        wanted = DriveFilter.of(given)
        tracks = self._drives.tracks(wanted)
        on_earth = [track for track in tracks if track.is_on_earth]
        others = [(track, track_plot([track], *_SMALL)) for track in tracks if not track.is_on_earth]
        plot = track_plot(on_earth, *_PLOT) if on_earth else ""
        return page(
            "map.html.j2", tab="map", drives=self._drives, plot=plot, shown=len(on_earth), others=others,
            most=MAP_DRIVES, wanted=wanted, choices=self._drives.choices(), action="/map",
            query=urlencode(wanted.given()),
        )  # fmt: skip

    def _trouble(self) -> Response:
        store, evaluation = self._drives.store, self._drives.evaluation
        failed = failures(store, evaluation).records()
        moments = worst(store, evaluation, count=_WORST).records() if evaluation else []
        ids = self._drives.ids_of([*(row["longest_in"] for row in failed), *(row["url"] for row in moments)])
        for row in failed:
            row["drive_id"], row["longest_in"] = ids.get(row["longest_in"], ""), shown_url(str(row["longest_in"]))
        for row in moments:
            row["drive_id"], row["title"] = ids.get(row["url"], ""), drive_title(row["url"])
            row["at_s"] = max(row["at_s"] or 0.0, 0.0)
        return page(
            "trouble.html.j2", tab="trouble", drives=self._drives, failed=failed, moments=moments, query=""
        )
