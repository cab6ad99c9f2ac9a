"""What the node asks of the installation it runs in."""

from __future__ import annotations

import pytest

from any2seg_ros import distro, processes

OLD, NEW = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("humble", (OLD, NEW)), ("jazzy", (OLD, NEW)), ("kilted", (NEW,)), ("lyrical", (NEW,)), ("rolling", (NEW,))],
)
def test_value_profile_variables_of_an_installation(monkeypatch, name, expected):
    """Fast DDS 3 came with Kilted; it prints a line per process when the variable of version 2 is set."""
    monkeypatch.setenv("ROS_DISTRO", name)
    assert distro.profile_variables() == expected


@pytest.mark.parametrize(("package", "expected"), [("fastrtps", (OLD, NEW)), ("fastdds", (NEW,))])
def test_value_profile_variables_of_wheels(monkeypatch, package, expected):
    """`ros-fastrtps` is the wheel of Fast DDS 2, `ros-fastdds` that of 3."""
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    monkeypatch.setattr(distro, "find_spec", {package: object()}.get)
    assert distro.profile_variables() == expected


def test_value_a_profile_that_the_user_chose_stays(monkeypatch):
    monkeypatch.setenv("ROS_DISTRO", "kilted")
    monkeypatch.delenv(OLD, raising=False)
    monkeypatch.setenv(NEW, "mine.xml")
    processes.use_large_message_profile()
    assert (distro.os.environ.get(OLD), distro.os.environ[NEW]) == (None, "mine.xml")
