"""What of a damaged or foreign folder is told."""

from __future__ import annotations

import json

import pytest
from raised import user_error

from any2seg_core.base.checksums import sha256_of, write_checksums
from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.runtime.checkpoint_metadata import checkpoint_sha256, read_metadata
from any2seg_core.runtime.export.folder import open_exported


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "exported"
    place.mkdir()
    (place / "model.json").write_text(json.dumps(read_metadata(default_checkpoint())))
    (place / "model.onnx").write_bytes(b"whole")
    (place / "encoder.onnx").write_bytes(b"encoder")
    (place / "fusion.onnx").write_bytes(b"rest")
    write_checksums(place)
    return place


def test_value_a_whole_folder_is_known_by_its_checksums(folder):
    found = open_exported(folder)
    assert found.contract.modalities == ("rgb", "depth", "event", "lidar") and found.align_corners is False
    first = checkpoint_sha256(folder)
    (folder / "model.onnx").write_bytes(b"other")
    write_checksums(folder)
    assert checkpoint_sha256(folder) != first


@pytest.mark.parametrize("name", ["model.json", "model.onnx", "encoder.onnx", "fusion.onnx"])
@pytest.mark.parametrize("change", ["one bit", "gone", "empty"])
def test_exception_a_file_that_is_not_as_written_is_named(folder, name, change):
    path = folder / name
    data = path.read_bytes()
    path.unlink()
    if change != "gone":
        path.write_bytes(b"" if change == "empty" else bytes([data[0] ^ 1]) + data[1:])
    code = "checkpoint-missing" if (name, change) == ("model.json", "gone") else "checkpoint-damaged"
    with user_error(code, name):
        open_exported(folder)


@pytest.mark.parametrize("line", ["nonsense\n", "", f"{'0' * 64}  ../escape\n", "ü\n"])
def test_exception_a_list_of_checksums_that_is_none(folder, line):
    (folder / "SHA256SUMS").write_text(line, encoding="latin-1")
    with user_error("text-syntax" if line == "ü\n" else "checkpoint-damaged", "SHA256SUMS"):
        open_exported(folder)


def test_exception_other_places_are_no_exported_model(tmp_path):
    for place in (tmp_path / "nowhere", tmp_path):
        with user_error("checkpoint-missing", place, "any2seg export"):
            open_exported(place)


def test_exception_a_contract_of_another_version(folder):
    document = json.loads((folder / "model.json").read_text())
    document["contract"]["encodings"]["depth"] = "hha-99"
    (folder / "model.json").write_text(json.dumps(document))
    write_checksums(folder)
    with user_error("checkpoint-version", "hha-99"):
        open_exported(folder)


def test_value_sha256_is_that_of_the_standard(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
