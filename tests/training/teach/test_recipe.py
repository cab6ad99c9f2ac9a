"""Settings of a taught run: the shape of its teacher, sizes, and a rate that fits its length."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from camera_teachers import YARD, camera_teacher

from any2seg_core.vocabulary.modalities import VEHICLE
from any2seg_training.teach.recipe import learning_rate, student_config
from any2seg_training.teach.recordings import Source, start_of
from any2seg_training.teach.settings import TeachSettings
from any2seg_training.teach.trial import Estimate

BAG = Source(Path("b.mcap"), True, VEHICLE, ("rgb", "lidar"), 10.0, 100, False, "")
FOLDER = dataclasses.replace(BAG, path=Path("folder"), is_bag=False)


def asked(**changes: object) -> TeachSettings:
    return TeachSettings(**({"recordings": ("folder", "b.mcap"), "teacher": ("t:f",), "out": "out"} | changes))


def test_value_a_student_has_the_shape_of_its_teacher(tmp_path):
    teacher = camera_teacher(tmp_path / "camera.safetensors", YARD, layer_norm_eps=1e-6, align_corners=True)
    start = start_of(["module:function", str(teacher)])
    config = student_config(asked(), [FOLDER, BAG], start, 100, 10)
    assert (config.head_width, config.layer_norm_eps, config.align_corners) == (16, 1e-6, True)
    assert config.mff.unit_scale and config.init == teacher and config.freeze_norm and config.distil.keep > 0
    assert (config.height, config.width) == (64, 96)
    assert config.data.root == Path("b.mcap") and config.data.further == (Path("folder"),)  # planes of bags are kept
    assert config.cache == "disk" and config.data.bag.planes == Path("out/planes")


def test_value_a_student_of_another_kind_of_teacher_begins_anew():
    assert start_of(["t:f"]) is None
    config = student_config(asked(size="512x160"), [FOLDER], None, 100, 10)
    assert config.init is None and not config.freeze_norm and config.distil.keep == 0
    assert (config.height, config.width, config.crop_height, config.crop_width) == (160, 512, 160, 512)
    assert config.cache == "none"


@pytest.mark.parametrize(("steps", "rate"), [(10, 1e-4), (250, 5e-4), (1000, 1e-3), (50_000, 1e-3)])
def test_value_the_rate_grows_with_the_length_of_the_run(steps: int, rate: float):
    assert learning_rate(steps) == pytest.approx(rate)


def test_value_names_decide_and_not_where_things_lie():
    one, two = (asked(out=place, threads=count).deciding() for place, count in (("a", 1), ("b", 2)))
    assert one == two and json.loads(json.dumps(one)) == one
    assert asked(seed=5).deciding() != one != asked(held_out=0.3).deciding()


def test_value_an_estimate_adds_up():
    found = Estimate(80, 20, 30.0, 100.0, 0.5, 7200, 60.0, 2048.0, 150.0, 0.9)
    assert found.total_s == 30 + 3600 + 60 and found.disk_mib == 250 and found.save_every == 120
    assert found.lines()[-1] == "together about 62 min, 2.0 GiB of memory, 250 MiB of disk"
