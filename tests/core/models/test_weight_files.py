"""Files of torch.save: they come back, and what their pickles claim is held against the bytes that are there."""

import io
import pickle
import zipfile
from collections import OrderedDict

import pytest
import torch
from raised import user_error

from any2seg_core.models.weight_files import _walk, innermost_state, load_torch

STATE = {
    "model": OrderedDict(a=torch.arange(12.0).view(3, 4), b=torch.zeros(2, dtype=torch.bfloat16), c=torch.ones(6)[2:4]),
    "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "groups": [{"lr": 0.1, "betas": (0.9, 0.99), "x": None}]},
    "step": 3, "long": 1 << 70, "bytes": b"abc",
}  # fmt: skip


@pytest.mark.parametrize("is_zip", [True, False])
def test_value_states_of_both_formats_come_back(tmp_path, is_zip):
    torch.save(STATE, tmp_path / "a.pt", _use_new_zipfile_serialization=is_zip)
    read = load_torch(tmp_path / "a.pt")
    assert all(torch.equal(read["model"][name], STATE["model"][name]) for name in "abc")
    assert read["optimizer"]["groups"] == STATE["optimizer"]["groups"] and read["long"] == 1 << 70


@pytest.mark.parametrize("is_zip", [True, False])
def test_exception_every_cut_is_a_user_error(tmp_path, is_zip):
    out = io.BytesIO()
    torch.save(STATE, out, _use_new_zipfile_serialization=is_zip)
    whole = out.getvalue()
    for size in range(0, len(whole), 37):
        (tmp_path / "a.pt").write_bytes(whole[:size])
        with user_error("file-format", "a.pt"):
            load_torch(tmp_path / "a.pt")


def test_exception_empty_missing_and_folder(tmp_path):
    (tmp_path / "last.pt").touch()
    with user_error("file-format", "last.pt"):
        load_torch(tmp_path / "last.pt")
    with user_error("file-missing", "absent.pt"):
        load_torch(tmp_path / "absent.pt")
    with user_error("file-unreadable"):
        load_torch(tmp_path)


class _Call:
    """Becomes a call in a pickle."""

    def __init__(self, function, *arguments) -> None:
        self._call = function, arguments

    def __reduce__(self):
        return self._call


class _Names(pickle.Pickler):
    """Writes tuples of five as the names of storages."""

    def persistent_id(self, given):
        return given if isinstance(given, tuple) and len(given) == 5 else None


def pickled(value) -> io.BytesIO:
    out = io.BytesIO()
    _Names(out, protocol=2).dump(value)
    out.seek(0)
    return out


def test_exception_pickles_that_take_memory_of_their_own():
    for function in (bytearray, torch.FloatStorage):
        with pytest.raises(ValueError, match="it makes a .* of its own"):
            _walk(pickled([1, {"a": _Call(function, 3)}]), lambda key, needed: None)
    _walk(pickled([1, _Call(OrderedDict)]), lambda key, needed: None)
    number = _Call(complex, 1e12, 0.0)  # not known before it is made
    for arguments in ((number,), (b"abc", number)):
        with pytest.raises(ValueError, match="it makes a .* of its own"):
            _walk(pickled([_Call(bytearray, *arguments)]), lambda key, needed: None)
    _walk(pickled([bytearray(b"abc"), bytearray(), _Call(bytearray, "abc", "latin1")]), lambda key, needed: None)


def test_value_storages_are_named_with_the_bytes_that_they_claim():
    found = []
    names = [("storage", torch.FloatStorage, "0", "cpu", 12), ("storage", torch.BoolStorage, "7", "cpu", 5)]
    _walk(pickled({"a": names, "again": names[0]}), lambda key, needed: found.append((key, needed)))
    assert found == [("0", 48), ("7", 5), ("0", 48)]
    for wrong in (("storage", torch.FloatStorage, "0", "cpu", "9"), ("other", torch.FloatStorage, "0", "cpu", 1)):
        with pytest.raises(ValueError, match="names a storage in a way"):
            _walk(pickled(wrong), lambda key, needed: None)


def test_exception_parts_that_are_compressed(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, protocol=2))
    with user_error("file-format", "a.pt"):
        load_torch(tmp_path / "a.pt")


def test_value_a_state_that_holds_itself_ends_the_search():
    state = {"a": 1}
    state["model"] = state
    assert innermost_state(state, ("model",)) is state
    assert innermost_state({"x": {"model": {"a": 2}}}, ("x", "model")) == {"a": 2}
