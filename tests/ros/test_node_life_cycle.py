"""Transitions while the model is busy: what a late result, or a late error, does to the next activation."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import fake_car
import pytest
from acceptance import wait_for
from fake_car import START_NS, TYPES

from any2seg_core.messages import serialise

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

WORKER = "any2seg-worker"


class BusyModel:
    """Stands in for Segmenter.__call__: begins, waits until it is released, then works or fails."""

    def __init__(self, monkeypatch) -> None:
        from any2seg_ros.segmenter import Segmenter

        self.begun, self.release, self.fails = threading.Event(), threading.Event(), False
        self._before = set(threading.enumerate())
        original = Segmenter.__call__

        def call(segmenter, *arguments):
            self.begun.set()
            assert self.release.wait(60.0)
            if self.fails:
                raise RuntimeError("the model fails as it was told to")
            return original(segmenter, *arguments)

        monkeypatch.setattr(Segmenter, "__call__", call)

    def workers(self) -> int:
        """How many of them there are since; others in this process are of other tests."""
        return sum(thread.name == WORKER for thread in set(threading.enumerate()) - self._before)


@pytest.fixture()
def model(monkeypatch):
    from any2seg_ros.outputs import Outputs

    monkeypatch.setattr(Outputs, "is_wanted", lambda outputs: True)
    model = BusyModel(monkeypatch)
    yield model
    model.release.set()


@pytest.fixture()
def camera_node(make_node, checkpoint):
    return make_node(checkpoint=checkpoint, modalities="[rgb]")


def run(node, *transitions):
    from rclpy.lifecycle import TransitionCallbackReturn

    for name in transitions:
        assert getattr(node, f"trigger_{name}")() == TransitionCallbackReturn.SUCCESS


def give_an_image(node):
    message = serialise.typestore().deserialize_cdr(fake_car.message("rgb", START_NS), TYPES["rgb"])
    node._inputs._receive("rgb", message, {})


def diagnosed(node):
    got = []
    node._diagnostics = SimpleNamespace(publish=got.append)
    node._publish_diagnostics()
    status = got[0].status[0]
    return status.message, {pair.key: pair.value for pair in status.values}


@pytest.mark.parametrize("fails", [False, True], ids=["late result", "late error"])
@pytest.mark.parametrize("way", [("cleanup", "configure", "activate"), ("activate",)], ids=["cleaned up", "kept"])
def test_value_inference_that_outlives_its_activation_is_forgotten(camera_node, model, way, fails):
    run(camera_node, "configure", "activate")
    give_an_image(camera_node)
    assert model.begun.wait(60.0)
    run(camera_node, "deactivate", *way)
    assert model.workers() == 2  # the old one is still busy
    model.fails = fails
    model.release.set()
    assert wait_for(lambda: model.workers() == 1)
    text, values = diagnosed(camera_node)
    assert "model" not in text
    assert (values["sets_failed"], values["labels"], values["last_error"]) == ("0", "0", "")


def test_value_cleaned_up_node_stays_quiet_when_the_model_ends(camera_node, model, capfd):
    run(camera_node, "configure", "activate")
    give_an_image(camera_node)
    assert model.begun.wait(60.0)
    run(camera_node, "deactivate", "cleanup")
    model.release.set()
    assert wait_for(lambda: model.workers() == 0)
    assert camera_node._monitor._counts.failed == 0
    assert "NoneType" not in capfd.readouterr().err


def test_value_long_pause_before_activating_is_no_silence(camera_node, model):
    run(camera_node, "configure")
    camera_node._monitor._last_sign_s -= 3600.0
    begin_s = time.monotonic()
    run(camera_node, "activate")
    assert camera_node._monitor._last_sign_s >= begin_s
    assert "no label for 36" not in diagnosed(camera_node)[0]
