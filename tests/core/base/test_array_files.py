"""NumPy files: as numpy.load reads them, and what claims more than its bytes hold is refused before memory is taken."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nst
from raised import user_error

from any2seg_core.base.array_files import read_array, read_arrays
from any2seg_core.base.limits import limits_of

TYPES = st.sampled_from(["<f8", ">f4", "<u2", "i1", "?", "<c16", "S5", "<U3", [("x", "<u2"), ("t", "<i8")]])


@given(TYPES.flatmap(lambda kind: nst.arrays(np.dtype(kind), nst.array_shapes(min_dims=0, min_side=0, max_side=4))),
       st.booleans())  # fmt: skip
def test_property_arrays_come_back(tmp_path_factory, array, is_fortran):
    path = tmp_path_factory.mktemp("a") / "f.npy"
    np.save(path, np.asfortranarray(array) if is_fortran else array)
    read = read_array(path)
    assert read.dtype == array.dtype and np.load(path).shape == read.shape and read.tobytes() == np.load(path).tobytes()


def test_value_archives(tmp_path):
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "f.npz", a=np.arange(3), b=np.zeros((0, 5), "f4"))
        read = read_arrays(tmp_path / "f.npz")
        assert list(read) == ["a", "b"] and read["a"].tolist() == [0, 1, 2] and read["b"].shape == (0, 5)
    with user_error("file-content", "f.npz", "a, b"):
        read_array(tmp_path / "f.npz")


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + (len(text) + 1).to_bytes(2, "little") + text.encode() + b"\n"


CLAIMS = [
    "{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000,)}",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (100000, 100000, 100000)}",
    "{'descr': '<U0', 'fortran_order': False, 'shape': (10000000000,)}",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 10000000000000000000000)}",
    "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
    "{'descr': [('x', '<f8', (60000, 60000))], 'fortran_order': False, 'shape': (1,)}",
    "{'descr': '<f8'}",
    "(" * 5000,
    "x" * 30000,
    "",
]


@pytest.mark.parametrize("text", CLAIMS, ids=range(len(CLAIMS)))
def test_exception_claims_are_refused_without_memory(tmp_path, text):
    (tmp_path / "f.npy").write_bytes(header(text) + bytes(8))
    tracemalloc.start()
    try:
        with user_error("file-format", "f.npy"):
            read_arrays(tmp_path / "f.npy")
        assert tracemalloc.get_traced_memory()[1] < 3e6
    finally:
        tracemalloc.stop()


def test_exception_every_cut_is_named(tmp_path):
    for name, save in (("f.npy", np.save), ("f.npz", np.savez_compressed)):
        save(tmp_path / name, np.arange(40.0).reshape(5, 8))
        whole = (tmp_path / name).read_bytes()
        for size in range(len(whole)):
            (tmp_path / name).write_bytes(whole[:size])
            with user_error("file-format", name):
                read_arrays(tmp_path / name)


def test_exception_archive_that_unpacks_to_more_than_is_allowed(tmp_path):
    path = tmp_path / "f.npz"
    np.savez_compressed(path, a=np.zeros(2_000_000), b=np.zeros(500_000))
    assert path.stat().st_size < 30_000
    assert read_arrays(path)["b"].size == 500_000
    with limits_of(result_mib=16), user_error("limit-exceeded", "19 MiB", "ANY2SEG_LIMITS=result_mib"):
        read_arrays(path)


def test_exception_packing_that_numpy_does_not_write(tmp_path):
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    with zipfile.ZipFile(tmp_path / "f.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.npy", array.getvalue())
    with user_error("file-format", "f.npz"):
        read_arrays(tmp_path / "f.npz")


def test_exception_places(tmp_path):
    with user_error("file-missing", "absent.npy"):
        read_arrays(tmp_path / "absent.npy")
    with user_error("file-format"):
        read_arrays(tmp_path)
