"""From messages to planes: events, EVT3 packets, LiDAR and whole sets, beside libraries that do a part of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from any2seg_core.bench import scene
from any2seg_core.bench.document import Row
from any2seg_core.bench.peers import evt3_peers, open3d_projection
from any2seg_core.bench.plain_numpy import PLAIN
from any2seg_core.bench.workshop import Workshop, row
from any2seg_core.messages import EventStream
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.runtime.input_options import InputOptions
from any2seg_core.sensors.events import DEFAULT_WINDOW_NS, render_events
from any2seg_core.sensors.health_config import HealthConfig
from any2seg_core.sensors.lidar import project_points

_EVENT_COUNTS = (10_000, 30_000, 100_000, 300_000, 1_000_000)
_POINT_COUNTS = (10_000, 30_000, 60_000, 120_000, 240_000)
_FORWARD_RAD = 0.7  # to both sides: all of it is in the picture
_PERIOD_NS = 100_000_000


def events(shop: Workshop) -> Iterator[Row | str]:
    """Events of 50 ms to a plane of 1280x720, on the same camera."""
    view = scene.camera(1280, 720)
    for number in shop.counts(*_EVENT_COUNTS):
        given = scene.events(number, view, shop.random())
        work = partial(render_events, given, scene.STAMP_NS, DEFAULT_WINDOW_NS, view, view, np.eye(3))
        yield row(f"{number} events", shop.time(f"{number} events", {"": work})[""], line="1280x720", x=number)


def evt3(shop: Workshop) -> Iterator[Row | str]:
    """A million events packet by packet with the decoder's state; the peers read them at once, in sensor time."""
    (number,) = shop.counts(1_000_000)
    packets = scene.evt3_packets(number, shop.random())

    def decode() -> list[np.ndarray]:
        stream = EventStream()
        return [stream.decode(packet).events for packet in packets]

    own = np.concatenate(decode())
    works: dict[str, Callable[[], Any]] = {"": decode}
    with evt3_peers(packets) as (peers, notes):
        yield from notes
        for name, peer in peers.items():
            if all(np.array_equal(own[axis], column) for axis, column in zip("xy", peer.columns(), strict=True)):
                works[name] = peer.read
            else:
                yield f"{name} reads other events here: left out"
        found = shop.time("EVT3", works)
    others = {name: times for name, times in found.items() if name}
    yield row(f"{len(own)} events in {len(packets)} packets", found[""], peers=others)


def lidar(shop: Workshop) -> Iterator[Row | str]:
    """64 beams on 1024x1024 pixels, three channels and footprint; Open3D draws the depth of single pixels."""
    view = scene.camera(1024, 1024)
    is_told = False
    for line, half_angle_rad in (("whole turn", np.pi), ("forward", _FORWARD_RAD)):
        for number in shop.counts(*_POINT_COUNTS):
            points = scene.cloud(number, shop.random(), half_angle_rad)
            works: dict[str, Callable[[], object]] = {
                "": partial(project_points, points, scene.LIDAR_TO_CAMERA, view)
            }
            peer = open3d_projection(points, scene.LIDAR_TO_CAMERA, view)
            if isinstance(peer, str):
                if not is_told:
                    yield peer
                is_told = True
            else:
                works["Open3D"] = peer
            found = shop.time(f"{line}, {len(points)} points", works)
            others = {name: times for name, times in found.items() if name}
            yield row(f"{line}, {len(points)} points", found[""], line=line, x=len(points), peers=others)


def frame(shop: Workshop) -> Iterator[Row | str]:
    """RGB and depth of 1024x1024, a whole turn of the LiDAR and events, each alone and together."""
    view = scene.camera(1024, 1024)
    (points,), (number,) = shop.counts(scene.POINTS), shop.counts(scene.EVENTS)
    sent = scene.messages(view, points, number, shop.random())
    geometry = scene.calibration(view)
    plain = FrameBuilder(geometry, options=InputOptions(health=HealthConfig(enabled=False)))
    healthy = FrameBuilder(geometry)
    stamps = count(scene.STAMP_NS, _PERIOD_NS)

    def stamped() -> None:  # a new stamp each time: the checks take nothing for seen
        stamp_ns = next(stamps)
        for message in sent.values():
            scene.stamp(message, stamp_ns)

    def build(builder: FrameBuilder, names: tuple[str, ...]) -> None:
        builder.build({name: [sent[name]] for name in names}, scene.STAMP_NS)

    works: dict[str, Callable[[], object]] = {f"{name} alone": partial(build, plain, (name,)) for name in sent}
    works["all four"] = partial(build, plain, tuple(sent))
    works["all four, with health checks"] = partial(build, healthy, tuple(sent))
    stamped()
    used = plain.build({name: [message] for name, message in sent.items()}, scene.STAMP_NS).planes
    if len(used) != len(sent):
        raise RuntimeError(f"the scene of the measurement gave planes of {', '.join(used)} alone")
    peers = {f"{name} plain": partial(PLAIN[name], message, view) for name, message in sent.items()}
    found = shop.time("messages to planes", works | peers, stamped)
    for name, plain_name in zip(works, peers, strict=False):
        yield row(name, found[name], peers={"plain NumPy": found[plain_name]})
    for name in list(works)[len(peers) :]:
        yield row(name, found[name])
