"""ROS processes of our own: a private domain, the large-message profile, logs, and a clean end."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from any2seg_core.base.errors import UserError
from any2seg_ros.distro import config_file, profile_variables

_DOMAINS = range(1, 102)  # above 101 the ports of a domain reach into Linux's ephemeral range
_DOMAIN_VARIABLE = "ROS_DOMAIN_ID"


@contextmanager
def private_domain() -> Iterator[int]:
    """A ROS domain that no other process on this machine got from here; ROS_DOMAIN_ID overrides it.

    Held by a file lock, so it is free again even after a crash. Sets ROS_DOMAIN_ID for this process meanwhile.
    """
    given = os.environ.get(_DOMAIN_VARIABLE)
    if given:
        yield int(given)
        return
    first = os.getpid() % len(_DOMAINS)
    for index in range(len(_DOMAINS)):
        domain = _DOMAINS[(first + index) % len(_DOMAINS)]
        path = Path(tempfile.gettempdir()) / f"any2seg-domain-{os.getuid()}-{domain}.lock"
        with open(path, "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            os.environ[_DOMAIN_VARIABLE] = str(domain)
            try:
                yield domain
            finally:
                del os.environ[_DOMAIN_VARIABLE]
            return
    raise UserError(
        "no free ROS domain among 1..101: end other demos or tests, or set ROS_DOMAIN_ID", "ros-domain-taken"
    )


def use_large_message_profile() -> None:
    """Let every ROS process started from here, this one included, move images through shared memory."""
    profile = str(config_file("fastdds.xml"))
    for variable in profile_variables():
        os.environ.setdefault(variable, profile)


def ros_arguments(parameters: Mapping[str, object], remappings: Mapping[str, str] | None = None) -> list[str]:
    """Command-line form of parameters and topic remappings."""
    arguments = ["--ros-args"]
    for name, value in parameters.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        arguments += ["-p", f"{name}:={text}"]
    for name, target in (remappings or {}).items():
        arguments += ["-r", f"{name}:={target}"]
    return arguments


class RosProcess:
    """A module of any2seg_ros as a process of its own, its output in a file.

    Args:
        module: such as "any2seg_ros.segment_node". arguments: from `ros_arguments`. log: file for stdout and stderr.
    """

    def __init__(self, module: str, arguments: list[str], log: Path) -> None:
        self.module, self.log = module, log
        with open(log, "wb") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C goes to the parent alone, which ends its children in order
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None as long as it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float) -> int:
        """Exit code; subprocess.TimeoutExpired when it still runs after the timeout."""
        return self._process.wait(timeout_s)

    def stop(self, timeout_s: float = 5.0) -> int:
        """SIGINT, then SIGKILL after the timeout; returns the exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
