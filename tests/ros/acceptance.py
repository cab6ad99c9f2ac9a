"""Helpers of the acceptance tests: wait for conditions, never for times."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from any2seg_ros.processes import RosProcess

START_TIMEOUT_S = 180.0  # torch and DDS on a machine that is busy with other things
TIMEOUT_S = 60.0
DEAD_AFTER_MS = 500.0  # a dead leader is replaced after 250 ms here; the rest is the model and its transport
ODD_MODEL = Path(__file__).with_name("odd_model.py")


def wait_for(condition, timeout_s: float = TIMEOUT_S):
    """The first true value of the condition, or its last one."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    return value


class OddModelProcess(RosProcess):
    """The node with the stand-in of `odd_model.py`; `tell` changes what it does."""

    def __init__(self, arguments: list[str], folder: Path, *options: str) -> None:
        self.control, self.log = folder / "control.json", folder / "node.log"
        command = [sys.executable, str(ODD_MODEL), str(self.control), *options, *arguments]
        with open(self.log, "wb") as stream:
            self._process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True)

    def tell(self, **wish) -> None:
        """delay_s=..., fail=...; what is not named is forgotten."""
        temporary = self.control.with_suffix(".new")
        temporary.write_text(json.dumps(wish))
        temporary.replace(self.control)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)


class Listener:
    """Keeps what comes on some topics.

    Args:
        node: spins in a thread. topics: topic -> (message class, quality of service).
    """

    def __init__(self, node, topics) -> None:
        self.node = node
        self.got = {topic: [] for topic in topics}
        self._subscriptions = [
            node.create_subscription(kind, topic, self.got[topic].append, profile)
            for topic, (kind, profile) in topics.items()
        ]

    def values(self, topic: str) -> dict[str, str]:
        """Key-value pairs of the newest diagnostics on a topic."""
        messages = self.got[topic]
        return {pair.key: pair.value for pair in messages[-1].status[0].values} if messages else {}

    def close(self) -> None:
        for subscription in self._subscriptions:
            self.node.destroy_subscription(subscription)


def explained(monitor) -> list:
    """Labels so far of which it is known what was fused: the message that says so comes right behind the label."""
    return [record for record in monitor.recorded()[0] if record.used]


def longest_gap_ms(records) -> float:
    """Longest time without a label between labels that were received in a row."""
    return max(np.diff([record.received_ns for record in records])) / 1e6


def labels_until(monitor, condition, timeout_s: float = TIMEOUT_S) -> list:
    """Labels from now on until three in a row fulfil a condition, and the one before them."""
    before, found = len(monitor.recorded()[0]), []

    def is_fulfilled() -> bool:
        # Kept, not read again afterwards: by then there may be one of which it is not known yet what was fused.
        found[:] = monitor.recorded()[0][max(before - 1, 0) :]
        new = found[min(before, 1) :]
        return len(new) >= 3 and all(condition(record) for record in new[-3:])

    assert wait_for(is_fulfilled, timeout_s), [record.used for record in found]
    return found


def labels_until_fused(monitor, sensors) -> list:
    """The same, made of exactly these sensors."""
    return labels_until(monitor, lambda record: record.used == tuple(sensors))
