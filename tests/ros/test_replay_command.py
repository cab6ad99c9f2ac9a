"""The replay program where ROS is not installed: it says so before anything is read."""

from __future__ import annotations

import pytest
import typer

from any2seg_ros import distro, replay


def test_exception_without_rclpy_the_command_says_how_to_get_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(distro, "has", lambda package: False)
    with pytest.raises(typer.Exit) as caught:
        replay.replay(tmp_path / "bag")
    assert caught.value.exit_code == 2
    told = capsys.readouterr().err
    assert len(told.strip().splitlines()) == 1
    assert "rclpy is not installed: pip install -e '.[ros]'" in told
