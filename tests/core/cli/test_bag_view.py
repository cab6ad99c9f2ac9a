"""`any2seg bag view`: what is refused before a page is served, in one line."""

from __future__ import annotations

import socket
import sys

import pytest
from bag_files import lidar_calibration, lidar_entries, small_entries, write_bag
from raised import assert_refused
from shown import tiny_checkpoint

from any2seg_core.base.entry import run
from any2seg_core.cli.main import app
from any2seg_core.sensors.calibration import save_calibration


def refused(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        run(app, "any2seg", ["bag", "view", *map(str, words)])
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_exception_no_such_recording(tmp_path, capsys):
    assert_refused(refused(capsys, tmp_path / "none"), "bag-missing", tmp_path / "none")


def test_exception_no_such_checkpoint(tmp_path, capsys):
    bag = write_bag(tmp_path / "bag", small_entries(3))
    told = refused(capsys, bag, "--checkpoint", tmp_path / "none.safetensors")
    assert_refused(told, "checkpoint-missing", "none.safetensors")


def test_exception_a_recording_without_a_camera(tmp_path, capsys):
    bag = write_bag(tmp_path / "bag", lidar_entries(4))
    save_calibration(tmp_path / "c.yaml", lidar_calibration())
    checkpoint = tiny_checkpoint(tmp_path / "m.safetensors")
    told = refused(capsys, bag, "--checkpoint", checkpoint, "--calibration", tmp_path / "c.yaml")
    assert_refused(told, "bag-sensor-missing", bag, "--topic rgb=")


def test_exception_a_port_in_use(tmp_path, capsys):
    bag, checkpoint = write_bag(tmp_path / "bag", small_entries(3)), tiny_checkpoint(tmp_path / "m.safetensors")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refused(capsys, bag, "--checkpoint", checkpoint, "--port", port)
    assert_refused(told, "address-unusable", port, "--port")


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_exception_an_address_of_another_machine(tmp_path, capsys, host):
    bag, checkpoint = write_bag(tmp_path / "bag", small_entries(3)), tiny_checkpoint(tmp_path / "m.safetensors")
    assert_refused(refused(capsys, bag, "--checkpoint", checkpoint, "--host", host), "address-unusable", host)


@pytest.mark.parametrize("name", ["starlette", "uvicorn"])
def test_exception_a_missing_package_is_named_with_its_extra(tmp_path, capsys, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    assert_refused(refused(capsys, tmp_path), "package-missing", name, "pip install 'any2seg[view]'")


def test_value_ctrl_c_ends_it_quietly_and_the_port_is_free_again(tmp_path, capsys, monkeypatch):
    """The address is told with the port that was found; nothing is said of other machines on loopback."""
    bag, checkpoint = write_bag(tmp_path / "bag", small_entries(3)), tiny_checkpoint(tmp_path / "m.safetensors")
    seen = []

    def interrupted(server, sockets):
        seen.append(sockets[0].getsockname())
        raise KeyboardInterrupt

    monkeypatch.setattr("uvicorn.Server.run", interrupted)
    with pytest.raises(SystemExit) as ended:
        run(app, "any2seg", ["bag", "view", str(bag), "--checkpoint", str(checkpoint), "--port", "0"])
    told = capsys.readouterr()
    ((address, port),) = seen
    assert (ended.value.code, address) == (0, "127.0.0.1")
    assert told.out.startswith(f"http://127.0.0.1:{port}/") and "recordings" not in told.err
    socket.create_server(("127.0.0.1", port)).close()
