"""Sensor files, label images and tables of data sets, damaged, through the readers that a user's path reaches."""

from __future__ import annotations

import io
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from messages import PICTURES
from mutate import NUMBERS, mutated_bytes
from nuscenes_tree import write_nuscenes
from picture_trees import scribble_xml
from PIL import Image
from street_trees import SIZE, write_kitti_360

from any2seg_core.bags.conditions import Conditions
from any2seg_core.base.array_files import read_arrays
from any2seg_core.base.text_files import read_json
from any2seg_core.base.video import VideoReader, VideoWriter
from any2seg_core.data import muses_files
from any2seg_core.data.images import read_image, read_plane
from any2seg_core.data.label_formats import read_instance_colours, read_scribbles
from any2seg_core.data.label_images import read_ids
from any2seg_core.data.mcubes import _load as read_mcubes_array
from any2seg_core.data.nuscenes import read_key_frames
from any2seg_core.data.pseudo import read_facts
from any2seg_core.files import samples as files
from any2seg_core.files.dataset_calibration import from_cityscapes, from_k_matrix, from_kitti360, from_stanford
from any2seg_core.files.foreign_calibration import from_kalibr, from_kitti, from_nuscenes
from any2seg_core.sensors.calibration import load_calibration
from any2seg_core.sensors.events import EVENT_DTYPE
from any2seg_core.teachers.cached import read_embeddings, write_embeddings
from any2seg_core.teachers.captions import read_captions
from any2seg_core.vocabulary.labels import label_space

_IDS = (np.arange(31 * 47).reshape(31, 47) % 25).astype(np.uint8)


def _saved(save: Callable, *args: Any, **named: Any) -> bytes:
    out = io.BytesIO()
    save(out, *args, **named)
    return out.getvalue()


def _palette() -> bytes:
    image = Image.fromarray(_IDS, "L").convert("P")
    image.putpalette([value for k in range(256) for value in (k, 255 - k, k // 2)])
    return _saved(image.save, "PNG")


def _arrays() -> list[bytes]:
    events = np.zeros(20, EVENT_DTYPE)
    columns = {name: events[name] for name in events.dtype.names}
    return [
        _saved(np.save, np.ones((31, 47), np.float32)), _saved(np.save, np.ones((40, 4))),
        _saved(np.save, np.ones((40, 3), np.float16)), _saved(np.save, events), _saved(np.savez, **columns),
        _saved(np.savez_compressed, **columns, more=np.zeros(20_000)),
        _saved(np.savez, arr_0=np.ones((9, 13, 3), np.float32)),
    ]  # fmt: skip


def _header(rng: random.Random) -> bytes:
    """An .npy whose header claims anything."""
    shape = ", ".join(str(rng.choice(NUMBERS)) for _ in range(rng.randrange(4)))
    kind = rng.choice(("<f8", ">u2", "|O", "<U9", "V0", "<M8[ns]", "f4,(9999,9999)u1", "|b1", "[('x', '<f8')]"))
    text = f"{{'descr': {kind!r}, 'fortran_order': {rng.choice(('True', 'False', '3'))}, 'shape': ({shape},), }}"
    text = text if rng.random() < 0.8 else rng.choice(("(" * 3000, text * 9, "", "\0", "{" + text))
    head = b"\x93NUMPY" + bytes([rng.choice((1, 2, 3, 9)), 0]) + struct.pack("<H", len(text))
    return head + text.encode() + bytes(64)


def _hdf5(folder: Path) -> bytes:
    h5py = __import__("h5py")
    with h5py.File(folder / "base.h5", "w") as file:
        for name, kind in (("t", "u4"), ("x", "u2"), ("y", "u2"), ("p", "u1")):
            file.create_dataset(f"events/{name}", data=np.arange(60, dtype=kind), chunks=(20,), compression="gzip")
    return (folder / "base.h5").read_bytes()


def _embeddings(folder: Path) -> bytes:
    path = folder / "base.safetensors"
    write_embeddings(path, {"class_names": np.ones((3, 4), np.float32)}, {"classes": ["a", "b", "c"]})
    return path.read_bytes()


def _event_samples() -> list[bytes]:
    folder = Path(__file__).resolve().parent.parent / "core" / "files" / "event_samples"
    words = np.array([[8 << 28 | 5, 0], [1 << 28 | 3 << 22 | 64 << 11 | 7, 5]], "<u4")
    vectors = b"% format EVT21;endianness=legacy;height=9;width=99\n" + words.tobytes()
    return [*(path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in (".raw", ".dat")), vectors]


def _clouds() -> list[bytes]:
    rows = np.linspace(-9, 9, 40, dtype="<f4").reshape(-1, 4)
    head = "VERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nWIDTH 10\nHEIGHT 1\n"
    pcd = f"# .PCD v0.7\n{head}VIEWPOINT 0 0 0 1 0 0 0\nPOINTS 10\nDATA ".encode()
    text = "".join(" ".join(map(str, row)) + "\n" for row in rows.tolist()).encode()
    names = "".join(f"property float {name}\n" for name in ("x", "y", "z", "intensity"))
    ply = f"element vertex 10\n{names}end_header\n".encode()
    return [
        pcd + b"ascii\n" + text, pcd + b"binary\n" + rows.tobytes(), pcd + b"binary_compressed\n" + bytes(60),
        b"ply\nformat ascii 1.0\n" + ply + text,
        b"ply\nformat binary_little_endian 1.0\n" + ply + rows.tobytes(),
        b"ply\nformat binary_big_endian 1.0\n" + ply + rows.byteswap().tobytes(),
    ]  # fmt: skip


def _calibrations() -> list[bytes]:
    camera = "camera_model: pinhole, intrinsics: [9, 9, 4, 3], resolution: [9, 7], distortion_model: radtan"
    eye = "[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]"
    pose = {"translation": [1, 0, 1], "rotation": [1, 0, 0, 0]}
    records = [{"token": "a", "camera_intrinsic": [[9, 0, 4], [0, 9, 3], [0, 0, 1]]} | pose, {"token": "b"} | pose]
    return [
        f"camera: {{width: 9, height: 7, hfov_deg: 90}}\nlidar_to_camera: {eye}".encode(),
        f"cam0: {{{camera}}}\ncam1: {{{camera}, T_cn_cnm1: {eye}}}".encode(), json.dumps(records).encode(),
        b"P2: 9 0 4 0 0 9 3 0 0 0 1 0\nTr: 1 0 0 0 0 1 0 0 0 0 1 0\n",
    ]  # fmt: skip


def _layouts() -> list[bytes]:
    """Small files of data sets that lie beside their frames."""
    K = [[9, 0, 4], [0, 9, 3], [0, 0, 1]]
    lens = {"extrinsic": {"baseline": 0.2}, "intrinsic": {"fx": 9, "fy": 9, "u0": 4, "v0": 3}}
    names = ["<UNK>_0_<UNK>_0_0", "chair_1_office_2_3"]
    texts = [json.dumps(each) for each in ({"camera_k_matrix": K}, lens, names)]
    return [text.encode() for text in (*texts, "9 0 4 0 9 3 0 0 1\n", scribble_xml("a"))]


def _video(path: Path) -> bytes:
    with VideoWriter(path, 10.0) as video:
        for shade in (9, 99, 199):
            video.add(np.full((18, 34, 3), shade, np.uint8))
    return path.read_bytes()


def _pictures_of(path: Path) -> None:
    """Every picture of a video that is damaged, of which a few at most may be read."""
    for count, picture in enumerate(VideoReader(path)):
        assert picture.ndim == 3
        if count == 9:
            break


class Files:
    """One input is one file of a fitting suffix, read by one reader that a user's path can reach."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        arrays = _arrays()
        points = np.linspace(-9, 9, 160, dtype="<f4").tobytes()
        texts = [json.dumps(each).encode() for each in (
            {"segments": [{"seconds": 3, "condition": "night"}]}, {"intrinsics": {"rgb": {"K": [[1, 0, 0]] * 3}}},
            {"night/a/1": "a road"}, {"model": "x", "classes": 3},
        )]  # fmt: skip
        picture = (".png", PICTURES)
        self._plans: list[tuple[str, list[bytes], Callable[[Path], Any]]] = [
            (*picture, files.read_rgb), (*picture, files.read_depth_m), (*picture, read_image), (*picture, read_plane),
            (".png", [*PICTURES, _palette(), _saved(Image.fromarray(_IDS).save, "PNG")], read_ids),
            (".png", PICTURES, lambda path: muses_files.read_projection(path, "lidar")),
            (".bin", [points, b""], files.read_points), (".bin", [points * 3], muses_files.read_points),
            (".npy", arrays, files.read_points), (".npy", arrays, files.read_depth_m), (".npz", arrays, read_arrays),
            (".npz", arrays, files.read_events), (".npy", arrays, read_mcubes_array),
            (".npz", arrays, lambda path: muses_files.read_projection(path, "event")),
            (".h5", [_hdf5(folder)], lambda path: muses_files.read_events(path, 50_000_000)),
            (".npz", arrays, read_embeddings), (".safetensors", [_embeddings(folder)], read_embeddings),
            (".json", texts, read_json), (".json", texts, read_captions),
            (".raw", _event_samples(), files.read_events), (".pcd", _clouds(), files.read_points),
            (".yaml", _calibrations(), load_calibration),
            (".txt", _calibrations(), lambda path: from_kitti(path, size=(9, 7))),
            (".yaml", _calibrations(), lambda path: from_kalibr(path, {"rgb": "cam0", "event": "cam1"})),
            (".json", _calibrations(), lambda path: from_nuscenes(path, {"camera": "a", "lidar": "b"})),
        ]  # fmt: skip
        indoor, voc, names = label_space("stanford-13"), label_space("voc-21"), folder / "names.json"
        names.write_text('["chair_1_office_2_3"]')
        self._plans += [
            (".json", _layouts(), lambda path: from_stanford(path, (9, 7))),
            (".json", _layouts(), lambda path: from_cityscapes(path, (9, 7))),
            (".txt", _layouts(), lambda path: from_k_matrix(path, (9, 7))),
            (".xml", _layouts(), lambda path: read_scribbles(path, voc, SIZE)),
            (".png", PICTURES, lambda path: read_instance_colours(path, names, indoor)),
            *((suffix, [_video(folder / f"base{suffix}")], _pictures_of) for suffix in (".webm", ".mp4")),
        ]
        self._texts = texts
        self._trees = (
            write_nuscenes(folder / "nuscenes", "v1.0-mini", {"scene-0061": 1}, None) / "v1.0-mini",
            write_kitti_360(folder / "kitti-360", {"train": [(0, 1)]}, np.zeros(SIZE, np.uint8)) / "calibration",
        )

    def one(self, rng: random.Random) -> bool:
        """Write a file and read it; UserError is a refusal."""
        if rng.random() < 0.05:
            return self._named_by_its_place(rng)
        if rng.random() < 0.05:
            return self._one_of_several(rng)
        suffix, bases, read = rng.choice(self._plans)
        data = rng.choice(bases)
        if suffix in (".npy", ".npz") and rng.random() < 0.3:
            data = _header(rng)
        elif rng.random() < 0.9:
            data = mutated_bytes(rng, data, rng.choice((1, 2, 4)))
        path = self._folder / f"input{suffix}"
        path.write_bytes(data)
        read(path)
        return True

    def _named_by_its_place(self, rng: random.Random) -> bool:
        """Files that are looked for by name."""
        data = mutated_bytes(rng, rng.choice(self._texts))
        for name in ("drive.json", "calib.json", "train.json"):
            (self._folder / name).write_bytes(data)
        rng.choice((
            lambda: Conditions(self._folder), lambda: muses_files.read_calibration(self._folder),
            lambda: read_facts(self._folder, "train"),
        ))()  # fmt: skip
        return True

    def _one_of_several(self, rng: random.Random) -> bool:
        """Files of which a reader takes several: one of them is damaged."""
        tables, calibration = self._trees
        path = rng.choice([*sorted(tables.glob("*.json")), *sorted(calibration.glob("*.txt"))])
        whole = path.read_bytes()
        try:
            path.write_bytes(mutated_bytes(rng, whole))
            if path.parent == tables:
                read_key_frames(tables, ["CAM_FRONT"])
            else:
                from_kitti360(calibration, (9, 7), rng.randrange(2))
        finally:
            path.write_bytes(whole)
        return True
