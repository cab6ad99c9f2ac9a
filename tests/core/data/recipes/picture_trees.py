"""Small trees in exactly the layouts of PASCAL VOC with scribbles, SUN RGB-D and Stanford 2D-3D-S."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from street_trees import PICTURE, SIZE, K, write_png, write_text

SCRIBBLES = {"background": [(2, 3), (2, 30)], "person": [(70, 20), (90, 20), (90, 30)]}
"""Class -> places (x, y) that a hand went through."""


def write_voc(root: Path, lists: Mapping[str, Sequence[str]], scribbled: Sequence[str], labels: np.ndarray) -> Path:
    """``lists``: train, val -> names. ``labels``: palette images of all of them; ``scribbled`` ones have an XML too."""
    palette = [value for index in range(256) for value in _voc_colour(index)]
    for split, names in lists.items():
        write_text(root / "ImageSets" / "Segmentation" / f"{split}.txt", "".join(f"{name}\n" for name in names))
        for name in names:
            jpeg = root / "JPEGImages" / f"{name}.jpg"
            jpeg.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(PICTURE).save(jpeg, quality=95)
            image = Image.fromarray(labels, mode="P")
            image.putpalette(palette)
            (root / "SegmentationClass").mkdir(exist_ok=True)
            image.save(root / "SegmentationClass" / f"{name}.png")
    for name in scribbled:
        write_text(root / "scribble_annotation" / "pascal_2012" / f"{name}.xml", scribble_xml(name))
    return root


def scribble_xml(name: str, scribbles: Mapping[str, Sequence[tuple[int, int]]] = SCRIBBLES) -> str:
    """The format of ScribbleSup; its filename ends with .png or .jpg, whatever the picture is."""
    strokes = "".join(
        f"<polygon><tag>{tag}</tag>{''.join(f'<point><X>{x}</X><Y>{y}</Y></point>' for x, y in places)}</polygon>"
        for tag, places in scribbles.items()
    )
    size = f"<size><width>{SIZE[1]}</width><height>{SIZE[0]}</height><depth>3</depth></size>"
    head = f"<folder>anno</folder><filename>{name}.jpg</filename>{size}<segmented>1</segmented>"
    return f"<annotation>{head}{strokes}</annotation>"


def _voc_colour(index: int) -> tuple[int, int, int]:
    """The bits of the index, dealt out to red, green and blue from the highest bit down."""
    bits = [(index >> place) & 1 for place in range(8)]
    return tuple(sum(bits[3 * k + channel] << (7 - k) for k in range(3) if 3 * k + channel < 8) for channel in range(3))


def write_sun_rgbd(root: Path, frames: Mapping[str, Sequence[str]], labels: np.ndarray, depth_mm: np.ndarray) -> Path:
    """``frames``: train and test -> folders below SUNRGBD, as kv2/kinect2data/000065_2014-05-16-resize.

    Lists and labels are those of the metadata repository: label images are numbered through the test list, which has
    5050 entries, and then through the train list.
    """
    stored = (depth_mm << 3) | (depth_mm >> 13)  # 16 bits, turned by three
    for split, number in (("test", 0), ("train", 5050)):
        lines = []
        for k, place in enumerate(frames[split]):
            number += 1
            folder, name = root / "SUNRGBD" / place, f"{k + 65:07d}"
            picture = folder / "image" / f"{name}.jpg"
            picture.parent.mkdir(parents=True)
            Image.fromarray(PICTURE).save(picture, quality=95)
            write_png(folder / "depth" / f"{name}_abs.png", stored.astype(np.uint16))
            write_png(folder / "depth_bfx" / f"{name}_abs.png", stored.astype(np.uint16))
            write_text(folder / "intrinsics.txt", " ".join(str(value) for row in K for value in row) + "\n")
            write_text(folder / "extrinsics" / "20140806025259.txt", "1 0 0 0\n0 1 0 0\n0 0 1 0\n")
            write_text(folder / "scene.txt", "office")
            write_text(folder / "annotation2Dfinal" / "index.json", "{}")
            write_png(folder / "fullres" / f"{name}.png", np.zeros((75, 247), np.uint16))
            write_png(root / "labels" / f"img-{number:06d}.png", labels)
            lines.append(f"SUNRGBD/{place}/image/{name}.jpg\n")
        listed = {"train": "sunrgbd_training_images.txt", "test": "sunrgbd_testing_images.txt"}[split]
        write_text(root / listed, "".join(lines))
    return root


INSTANCES = ("<UNK>_0_<UNK>_0_0", "beam_1_hallway_6_1", "chair_12_office_3_5", "wall_7_WC_1_3")
"""A short semantic_labels.json: class, number, room type, number, area."""


def write_stanford(root: Path, areas: Mapping[str, int], indices: np.ndarray, depth: np.ndarray) -> Path:
    """``areas``: 1, 2, 3, 4, 5a, 5b, 6 -> frames. ``indices``: of INSTANCES, 0x0D0D0D where the mesh is missing."""
    write_text(root / "assets" / "semantic_labels.json", json.dumps(INSTANCES))
    coded = np.stack([indices >> 16, indices >> 8 & 255, indices & 255], axis=2).astype(np.uint8)  # (H, W, 3) RGB
    for area, count in areas.items():
        for number in range(count):
            stem = f"camera_00d10d86db1e435081a837ced388375f_office_24_frame_{number}_domain"
            data = root / f"area_{area}" / "data"
            write_png(data / "rgb" / f"{stem}_rgb.png", PICTURE)
            write_png(data / "depth" / f"{stem}_depth.png", depth.astype(np.uint16))
            write_png(data / "semantic" / f"{stem}_semantic.png", coded)
            write_png(data / "semantic_pretty" / f"{stem}_semantic_pretty.png", PICTURE)
            write_png(data / "normal" / f"{stem}_normals.png", PICTURE)
            pose = {"camera_k_matrix": K, "field_of_view_rads": 1.2, "frame_num": number, "room": f"office_24_{area}"}
            write_text(data / "pose" / f"{stem}_pose.json", json.dumps(pose))
            pano = root / f"area_{area}" / "pano" / "rgb"
            write_png(pano / f"{stem.replace(f'frame_{number}', 'frame_equirectangular')}_rgb.png", PICTURE)
    return root
