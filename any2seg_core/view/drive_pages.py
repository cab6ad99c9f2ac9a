"""Pages of one drive: its timeline, any moment with its pictures, clips."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import chain

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from any2seg_core.bags.clip import clip_parts
from any2seg_core.base.errors import UserError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.reports.pictures import class_legend
from any2seg_core.view.decoder import Decoder, Shown
from any2seg_core.view.drives import Drive, Drives, KnownFrames
from any2seg_core.view.pictures import encoded, named
from any2seg_core.view.rendering import page, seconds
from any2seg_core.view.timeline import timeline_views
from any2seg_core.view.tracks import Track, track_plot

_PLOT = 460, 300  # pixels
_MOST_POINTS = 2000  # of a track


class DrivePages:
    """What answers at the addresses of one drive."""

    def __init__(self, drives: Drives, decoder: Decoder, is_fleet: bool) -> None:
        self._drives, self._decoder, self._is_fleet = drives, decoder, is_fleet

    async def drive(self, request: Request) -> Response:
        """A drive over time; its moment is fetched by the script."""
        drive = await run_in_threadpool(self._drive, request)
        known = await run_in_threadpool(self._drives.frames, drive)
        views = timeline_views(known, drive)
        at_s = min(seconds(request, "at", 0.0), drive.length_s)
        return page(
            "drive.html.j2", drive=drive, views=views, known=known, at_s=at_s, step_s=1.0 / drive.rate_hz,
            track=_track(drive, known), is_fleet=self._is_fleet,
        )  # fmt: skip

    async def timeline(self, request: Request) -> Response:
        """The drawing alone, for as long as it grows."""
        drive = await run_in_threadpool(self._drive, request)
        known = await run_in_threadpool(self._drives.frames, drive)
        return page("blocks/timeline.html.j2", views=timeline_views(known, drive), known=known, drive=drive)

    async def moment(self, request: Request) -> Response:
        """Facts of a moment, and addresses of its pictures."""
        drive = await run_in_threadpool(self._drive, request)
        if request.method == "HEAD":
            return HTMLResponse()
        shown = await self._shown(drive, seconds(request, "at", 0.0))
        legend = None if shown.space is None else class_legend(shown.space)
        return page("moment.html.j2", drive=drive, shown=shown, moment=shown.moment, legend=legend)

    async def picture(self, request: Request) -> Response:
        """One picture of a moment."""
        drive = await run_in_threadpool(self._drive, request)
        if request.method == "HEAD":
            return Response()
        shown = await self._shown(drive, seconds(request, "at", 0.0))
        picture = named(shown.pictures, request.path_params["name"])
        data, kind = await run_in_threadpool(encoded, picture)
        return Response(data, media_type=kind)

    async def clip(self, request: Request) -> Response:
        """All topics between two times, as a file to keep."""
        drive = await run_in_threadpool(self._drive, request)
        from_s, to_s = seconds(request, "from", 0.0), seconds(request, "to", drive.length_s)
        if not from_s <= min(to_s, drive.length_s):
            raise UserError(
                f"a clip from {from_s:.9g} to {to_s:.9g} s: it must begin before its end and within the drive of "
                f"{drive.length_s:.9g} s",
                "value-range",
            )
        name = "".join(letter for letter in drive.title if letter.isascii() and (letter.isalnum() or letter in "._-"))
        headers = {"content-disposition": f'attachment; filename="{name or "clip"}_{from_s:.9g}_{to_s:.9g}.mcap"'}
        if request.method == "HEAD":
            return Response(headers=headers, media_type="application/octet-stream")
        parts = self._clip(drive, drive.start_ns + round(from_s * NS_PER_S), drive.start_ns + round(to_s * NS_PER_S))
        first = await run_in_threadpool(next, parts)  # what is wrong is told before anything is sent
        return StreamingResponse(chain([first], parts), headers=headers, media_type="application/octet-stream")

    def _clip(self, drive: Drive, from_ns: int, to_ns: int) -> Iterator[bytes]:
        with self._drives.recording(drive.drive_id) as path:
            yield from clip_parts(path, from_ns, to_ns + 1)

    def _drive(self, request: Request) -> Drive:
        drive = self._drives.drive(request.path_params["drive_id"])
        if drive is None:
            raise HTTPException(404, "no such drive")
        return drive

    async def _shown(self, drive: Drive, time_s: float) -> Shown:
        shown = self._decoder.shown(drive.drive_id, round(time_s, 3))
        return await asyncio.shield(asyncio.wrap_future(shown))  # others may wait for the same moment


def _track(drive: Drive, known: KnownFrames) -> str:
    """Where the drive went, "" where nobody knows."""
    placed = [frame for frame in known.frames if frame.position is not None]
    if not placed:
        return ""
    placed = placed[:: -(-len(placed) // _MOST_POINTS)]
    points = [frame.position for frame in placed if frame.position is not None]
    is_bad = [bool(frame.missing) for frame in placed]
    track = Track(drive.drive_id, drive.title, placed[0].is_on_earth, points, is_bad)
    return track_plot([track], *_PLOT, is_linked=False)
