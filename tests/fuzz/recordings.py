"""Recordings of every storage and compression, damaged, through the reading part of inspect, extract and evaluate."""

from __future__ import annotations

import random
import shutil
import struct
from pathlib import Path

from bag_files import kitti_entries, small_entries, write_bag, write_ros1
from mutate import mutated_bytes, number
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from any2seg_core.bags.inspection import inspect_bag
from any2seg_core.bags.opened import open_bag
from any2seg_core.bags.reader import Recording
from any2seg_core.bags.unpacking import zstd
from any2seg_core.base.errors import MessageError


def _bases(folder: Path) -> dict[str, list[bytes]]:
    """Suffix -> whole files."""
    entries = [*small_entries(6), *small_entries(4, "/other")]
    made: dict[str, list[bytes]] = {".mcap": [], ".db3": [], ".bag": [], ".mcap.zstd": []}
    for number_, options in enumerate(({}, {"compression": CompressionMode.STORAGE}, {"lz4_chunks": True})):
        bag = write_bag(folder / f"mcap{number_}", entries, chunk_every=3, **options)
        made[".mcap"].append(next(bag.glob("*.mcap")).read_bytes())
    bag = write_bag(folder / "sqlite", entries, storage=StoragePlugin.SQLITE3)
    made[".db3"].append(next(bag.glob("*.db3")).read_bytes())
    for compression in ("", "BZ2", "LZ4"):
        path = write_ros1(folder / f"ros1{compression}.bag", small_entries(6), compression)
        made[".bag"].append(path.read_bytes())
    bag = write_bag(folder / "drive", kitti_entries(1), compression=CompressionMode.STORAGE)
    made["drive"] = [next(bag.glob("*.mcap")).read_bytes()]
    made[".mcap.zstd"].append(zstd.compress(made[".mcap"][0]))
    return made


class Recordings:
    """One input is one file, read to its end message by message; some are inspected and opened as sets too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "input"
        (folder / "base").mkdir(exist_ok=True)
        self._bases = _bases(folder / "base")

    def one(self, rng: random.Random) -> bool:
        """Write a recording and read it; UserError is a refusal."""
        suffix = rng.choice(list(self._bases))
        data = rng.choice(self._bases[suffix])
        if rng.random() < 0.6:
            data = mutated_bytes(rng, data, rng.choice((1, 3, 8)))
        if rng.random() < 0.5:
            data = _lengths(rng, data)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        path = self._folder / f"a{'.mcap' if suffix == 'drive' else suffix}"
        path.write_bytes(data)
        whole = self._folder if rng.random() < 0.3 else path
        with Recording(whole) as bag:
            for message in bag.messages():
                try:
                    _ = message.value, message.stamp_ns
                except MessageError:
                    continue
        if rng.random() < 0.4:
            inspect_bag(whole)
        if rng.random() < 0.4:
            with open_bag(whole) as opened:
                for each in opened.sets():
                    each.frame()
        return True


def _lengths(rng: random.Random, data: bytes) -> bytes:
    """Numbers of eight and four bytes that look like lengths or offsets become other ones."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        size = rng.choice((4, 8))
        found = ((at, int.from_bytes(out[at : at + size], "little")) for at in range(min(len(out), 4000) - 8))
        places = [at for at, value in found if 0 < value < 9999]
        if places:
            at = rng.choice(places)
            out[at : at + size] = struct.pack("<Q", number(rng) & (1 << 64) - 1)[:size]
    return bytes(out)
