"""PCD, PLY and NumPy files whose columns have names, written by Open3D and by hand: the same scan out of each."""

from __future__ import annotations

import numpy as np
import pytest
from raised import user_error

from any2seg_core.files.points import read_points

COUNT = 57


def scan() -> np.ndarray:
    """(N, 4) float32 x, y, z, intensity 0..1."""
    rng = np.random.default_rng(4)
    return np.column_stack([rng.uniform(-40, 40, (COUNT, 3)), rng.uniform(0, 1, COUNT)]).astype(np.float32)


PCD_HEAD = """# .PCD v0.7 - Point Cloud Data file format
VERSION 0.7
FIELDS {fields}
SIZE {sizes}
TYPE {types}
COUNT {counts}
WIDTH {width}
HEIGHT {height}
VIEWPOINT {viewpoint}
POINTS {points}
DATA {kind}
"""


def pcd(rows: np.ndarray, kind: str = "binary", viewpoint: str = "0 0 0 1 0 0 0", **changes: object) -> bytes:
    """A structured array (N,) as PCD, by the format's description."""
    kinds = {"f": "F", "u": "U", "i": "I"}
    parts = [rows.dtype[name] for name in rows.dtype.names]
    facts = {
        "fields": " ".join(rows.dtype.names), "sizes": " ".join(str(part.itemsize) for part in parts),
        "types": " ".join(kinds[part.kind] for part in parts), "counts": " ".join("1" for _ in parts),
        "width": len(rows), "height": 1, "points": len(rows), "kind": kind, "viewpoint": viewpoint,
    } | changes  # fmt: skip
    head = PCD_HEAD.format(**facts).encode()
    if kind == "ascii":
        return head + "".join(" ".join(repr(value) for value in row) + "\n" for row in rows.tolist()).encode()
    return head + rows.tobytes()


def table(intensity: str = "<f4", order: str = "xyzi", coordinate: str = "<f4") -> np.ndarray:
    names = {"x": ("x", coordinate), "y": ("y", coordinate), "z": ("z", coordinate), "i": ("intensity", intensity)}
    rows = np.zeros(COUNT, [names[key] for key in order] + [("ring", "<u2")])
    for k, name in enumerate("xyz"):
        rows[name] = scan()[:, k]
    rows["intensity"] = np.round(scan()[:, 3] * 255) if intensity[1] != "f" else scan()[:, 3]
    return rows


def assert_scan(found: np.ndarray, tolerance: float = 1e-6) -> None:
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, :3], scan()[:, :3], atol=1e-4)  # text has six digits
    np.testing.assert_allclose(found[:, 3], scan()[:, 3], atol=tolerance)


@pytest.mark.parametrize("kind", ["ascii", "binary"])
@pytest.mark.parametrize("order", ["xyzi", "izyx"])
@pytest.mark.parametrize(("intensity", "tolerance"), [("<f4", 1e-6), ("<u1", 0.5 / 255), ("<u2", 0.5 / 255)])
def test_value_pcd_by_hand(tmp_path, kind, order, intensity, tolerance):
    pytest.importorskip("pypcd4")
    (tmp_path / "a.pcd").write_bytes(pcd(table(intensity, order), kind))
    assert_scan(read_points(tmp_path / "a.pcd"), tolerance + 1e-6)


@pytest.mark.parametrize("kind", ["ascii", "binary", "compressed"])
def test_value_pcd_of_open3d(tmp_path, kind):
    pytest.importorskip("pypcd4")
    open3d = pytest.importorskip("open3d")
    cloud = open3d.t.geometry.PointCloud(open3d.core.Tensor(scan()[:, :3]))
    cloud.point["intensity"] = open3d.core.Tensor(scan()[:, 3:])
    options = {"write_ascii": kind == "ascii", "compressed": kind == "compressed"}
    assert open3d.t.io.write_point_cloud(str(tmp_path / "a.pcd"), cloud, **options)
    assert f"DATA {'binary_compressed' if kind == 'compressed' else kind}".encode() in (tmp_path / "a.pcd").read_bytes()
    assert_scan(read_points(tmp_path / "a.pcd"), 1e-5)


def test_value_pcd_says_itself_what_it_is_and_a_viewpoint_is_told(tmp_path, caplog):
    pytest.importorskip("pypcd4")
    (tmp_path / "a.bin").write_bytes(pcd(table()))
    assert_scan(read_points(tmp_path / "a.bin"))
    assert caplog.text == ""
    (tmp_path / "b.pcd").write_bytes(pcd(table(), viewpoint="1 2 3 1 0 0 0"))
    assert_scan(read_points(tmp_path / "b.pcd"))
    assert "b.pcd: has a VIEWPOINT, which is not applied" in caplog.text


def test_value_pcd_of_xyz_alone_of_no_points_and_with_holes(tmp_path):
    pytest.importorskip("pypcd4")
    rows = table()[["x", "y", "z"]].astype([(name, "<f4") for name in "xyz"])
    rows["x"][3], rows["z"][5] = np.nan, np.inf
    for kind in ("ascii", "binary"):
        (tmp_path / "a.pcd").write_bytes(pcd(rows, kind))
        found = read_points(tmp_path / "a.pcd")
        assert len(found) == COUNT - 2
        assert (found[:, 3] == 1).all()
        (tmp_path / "none.pcd").write_bytes(pcd(rows[:0], kind))
        assert read_points(tmp_path / "none.pcd").shape == (0, 4)
        (tmp_path / "one.pcd").write_bytes(pcd(rows[:1], kind))
        assert read_points(tmp_path / "one.pcd").shape == (1, 4)


HEAD_OF_7 = b"# .PCD v0.7 - Point Cloud Data file format\n"
OLDER = {
    "version .5 without counts and viewpoint": lambda head: head.replace(HEAD_OF_7, b"# .PCD v.5\n").replace(
        b"VERSION 0.7", b"VERSION .5").replace(b"COUNT 1 1 1 1 1\n", b"").replace(b"VIEWPOINT 0 0 0 1 0 0 0\n", b""),
    "columns": lambda head: head.replace(b"FIELDS", b"COLUMNS"),
    "another comment": lambda head: head.replace(HEAD_OF_7, b"# made by a tool\n\n"),
    "comment without a space": lambda head: head.replace(b"# .PCD", b"#.PCD"),
    "no comment": lambda head: head.removeprefix(HEAD_OF_7),
    "no version": lambda head: head.removeprefix(HEAD_OF_7).replace(b"VERSION 0.7\n", b""),
    "byte order mark": lambda head: b"\xef\xbb\xbf" + head,
    "line ends of Windows": lambda head: head.replace(b"\n", b"\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("change", OLDER.values(), ids=OLDER)
@pytest.mark.parametrize("kind", ["ascii", "binary"])
def test_value_headers_of_other_versions_and_tools(tmp_path, change, kind):
    pytest.importorskip("pypcd4")
    whole = pcd(table(), kind)
    start = whole.index(b"DATA") + len(f"DATA {kind}\n")
    head = change(whole[:start])
    assert head != whole[:start]
    (tmp_path / "a.pcd").write_bytes(head + whole[start:])
    assert_scan(read_points(tmp_path / "a.pcd"))


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (pcd(table())[:-7], "file-format", "1019 bytes of 1026"),
        (pcd(table(), points=10**12, width=10**12), "limit-exceeded", "MiB"),
        (pcd(table(), points=58), "file-format", "POINTS is 58"),
        (pcd(table(), counts="1 1 1 1 999999999"), "file-format", "columns"),
        (pcd(table(), kind="binary_compressed"), "file-format", "header says 1026"),
        (pcd(table(), kind="zip"), "file-format", "PCD"),
        (pcd(table(), fields="a b c intensity ring"), "file-content", "x, y, z"),
        (b"# .PCD v0.7\nFIELDS x y z\n", "file-format", "DATA"),
    ],
)
def test_exception_damaged_pcd(tmp_path, content, code, words):
    pytest.importorskip("pypcd4")
    (tmp_path / "a.pcd").write_bytes(content)
    with user_error(code, "a.pcd", words) as caught:
        read_points(tmp_path / "a.pcd")
    assert "\n" not in str(caught.value)


def ply(rows: np.ndarray, kind: str, names: dict[str, str] | None = None) -> bytes:
    words = {"f4": "float", "f8": "double", "u1": "uchar", "u2": "ushort", "i4": "int"}
    head = [f"format {kind} 1.0", "comment of a test", f"element vertex {len(rows)}"]
    for name in rows.dtype.names:
        head.append(f"property {words[rows.dtype[name].str[1:]]} {(names or {}).get(name, name)}")
    head += ["element face 0", "property list uchar int vertex_indices", "end_header"]
    if kind == "ascii":
        body = "".join(" ".join(repr(value) for value in row) + "\n" for row in rows.tolist()).encode()
    else:
        order = "<" if "little" in kind else ">"
        body = rows.astype([(name, order + rows.dtype[name].str[1:]) for name in rows.dtype.names]).tobytes()
    return "\n".join(["ply", *head, ""]).encode() + body


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize(("intensity", "tolerance"), [("<f4", 1e-6), ("<u1", 0.5 / 255)])
@pytest.mark.parametrize("name", ["intensity", "scalar_Intensity", "reflectance"])
def test_value_ply_by_hand(tmp_path, kind, intensity, tolerance, name):
    pytest.importorskip("trimesh")
    (tmp_path / "a.ply").write_bytes(ply(table(intensity), kind, {"intensity": name}))
    assert_scan(read_points(tmp_path / "a.ply"), tolerance + 1e-6)


@pytest.mark.parametrize("is_ascii", [True, False])
def test_value_ply_of_open3d(tmp_path, is_ascii):
    pytest.importorskip("trimesh")
    open3d = pytest.importorskip("open3d")
    cloud = open3d.t.geometry.PointCloud(open3d.core.Tensor(scan()[:, :3].astype(np.float64)))
    cloud.point["intensity"] = open3d.core.Tensor(scan()[:, 3:])
    assert open3d.t.io.write_point_cloud(str(tmp_path / "a.ply"), cloud, write_ascii=is_ascii)
    assert_scan(read_points(tmp_path / "a.ply"), 1e-5)


@pytest.mark.parametrize(
    "content",
    [
        ply(table(), "binary_little_endian")[:-9],
        ply(table(), "ascii")[:-40],
        ply(table(), "binary_big_endian").replace(b"vertex 57", b"vertex 999999999999"),
        b"ply\nformat ascii 1.0\nelement vertex 5\n",
        ply(table(), "ascii", {"x": "a"}),
    ],
)
def test_exception_damaged_ply(tmp_path, content):
    pytest.importorskip("trimesh")
    (tmp_path / "a.ply").write_bytes(content)
    with user_error("file-format", "a.ply") as caught:
        read_points(tmp_path / "a.ply")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("package", "name"), [("pypcd4", "a.pcd"), ("trimesh.exchange.ply", "a.ply")])
def test_exception_without_the_extra(tmp_path, monkeypatch, package, name):
    (tmp_path / "a.pcd").write_bytes(pcd(table()))
    (tmp_path / "a.ply").write_bytes(ply(table(), "ascii"))
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with user_error("package-missing", name, package.split(".")[0], "any2seg[files]"):
        read_points(tmp_path / name)


def test_value_structured_npy_and_npz(tmp_path):
    rows = table("<u1", "izyx")
    np.save(tmp_path / "a.npy", rows)
    assert_scan(read_points(tmp_path / "a.npy"), 0.5 / 255 + 1e-6)
    np.savez(tmp_path / "a.npz", **{name: rows[name] for name in rows.dtype.names})
    assert_scan(read_points(tmp_path / "a.npz"), 0.5 / 255 + 1e-6)
    np.savez_compressed(tmp_path / "b.npz", points=scan(), labels=np.zeros(COUNT, np.uint8))
    assert_scan(read_points(tmp_path / "b.npz"))
    np.savez(tmp_path / "c.npz", scan().astype(np.float64))
    assert_scan(read_points(tmp_path / "c.npz"))


def test_exception_npz_without_points(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(3), y=np.zeros(3))
    with user_error("file-content", "a.npz", "z", "x, y"):
        read_points(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.zeros(3), y=np.zeros(3), z=np.zeros(4))
    with user_error("file-content", "b.npz"):
        read_points(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", x=np.zeros((3, 1)), y=np.zeros(3), z=np.zeros(3))
    with user_error("file-content", "c.npz"):
        read_points(tmp_path / "c.npz")


@pytest.mark.parametrize("points", ["points", "xyz", "cloud"])
@pytest.mark.parametrize("strength", ["intensity", "intensities", "remissions"])
def test_value_an_archive_of_places_and_their_intensity(tmp_path, points, strength, caplog):
    np.savez(tmp_path / "a.npz", **{points: scan()[:, :3], strength: scan()[:, 3], "labels": np.zeros(COUNT, np.uint8)})
    assert_scan(read_points(tmp_path / "a.npz"))
    assert caplog.text == ""


def test_value_a_cloud_without_intensity_is_told(tmp_path, caplog):
    np.savez(tmp_path / "a.npz", x=scan()[:, 0], y=scan()[:, 1], z=scan()[:, 2], rgb=scan()[:, 3])
    assert (read_points(tmp_path / "a.npz")[:, 3] == 1).all()
    assert "a.npz: has no intensity: every point counts as 1" in caplog.text
