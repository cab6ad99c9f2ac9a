"""The same model on a GPU: these run where there is one, and say so where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.bench import scene
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.runtime.preprocess import planes_to_tensor
from any2seg_core.vocabulary.modalities import all_subsets

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here: device=cuda is not tested")


@pytest.fixture(scope="module")
def predictors():
    return {device: Predictor.load(default_checkpoint(), device) for device in ("cpu", "cuda")}


@pytest.fixture(scope="module")
def planes(predictors):
    """Larger than the input of the model, and not square: they are resized on the device."""
    contract = predictors["cpu"].contract.model_copy(update={"height": 320, "width": 416})
    return scene.planes(contract, np.random.default_rng(0))


def test_value_images_are_those_of_the_processor(predictors, planes):
    contract = predictors["cpu"].contract
    expected = planes_to_tensor(planes, contract)
    for name, image in planes_to_tensor(planes, contract, "cuda").items():
        assert image.device.type == "cuda"
        torch.testing.assert_close(image.cpu(), expected[name], atol=1e-4, rtol=1e-4)


def test_value_labels_of_every_subset_are_those_of_the_processor(predictors, planes):
    found = {device: each.subsets(planes, all_subsets(tuple(planes))) for device, each in predictors.items()}
    differing = [np.mean(found["cuda"][subset].labels != one.labels) for subset, one in found["cpu"].items()]
    assert len(differing) == 15 and np.mean(differing) <= 0.001


def test_value_planes_may_change_as_soon_as_the_call_is_over(predictors, planes):
    """Copies to the device run beside the program: what was given must have been read by then."""
    expected = predictors["cuda"](planes).labels
    changing = {name: plane.copy() for name, plane in planes.items()}
    images = predictors["cuda"].engine.images(changing, predictors["cuda"].contract)
    for plane in changing.values():
        plane[:] = 0
    engine = predictors["cuda"].engine
    with engine.computing():
        logits = engine.decode(engine.fuse(engine.encode(images)))
        labels, _ = engine.labels(logits, expected.shape)
    np.testing.assert_array_equal(labels, expected)


def test_smoke_bfloat16_on_the_device(planes):
    segmentation = Predictor.load(default_checkpoint(), "cuda", precision="bfloat16")(planes)
    assert segmentation.labels.shape == (320, 416) and np.isfinite(segmentation.confidence).all()
