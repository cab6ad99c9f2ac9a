"""Preprocessing against OpenCV and hand arithmetic."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from any2seg_core.runtime.array_io import unlabelled_share
from any2seg_core.runtime.preprocess import logits_to_labels, planes_to_tensor
from any2seg_core.vocabulary.contract import InputContract


def test_value_rgb_is_imagenet_normalised_and_others_are_only_scaled():
    contract = InputContract(height=32, width=64)
    plane = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    images = planes_to_tensor({"rgb": plane, "lidar": plane}, contract)
    expected = (plane / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(images["rgb"][0].permute(1, 2, 0).numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(images["lidar"][0].permute(1, 2, 0).numpy(), plane / 255.0, atol=1e-6)


@pytest.mark.filterwarnings("error")
def test_value_memory_of_a_message_is_read_without_a_warning():
    """Planes of rgb8 messages and of image files are read-only; PyTorch would warn once on stderr."""
    plane = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    contract = InputContract(height=32, width=64)
    expected = planes_to_tensor({"rgb": plane}, contract)["rgb"]
    borrowed = np.frombuffer(plane.tobytes(), np.uint8).reshape(plane.shape)
    assert not borrowed.flags.writeable
    assert torch.equal(planes_to_tensor({"rgb": borrowed}, contract)["rgb"], expected)
    assert torch.equal(planes_to_tensor({"rgb": np.asfortranarray(plane)}, contract)["rgb"], expected)


@pytest.mark.parametrize("size", [(37, 51), (256, 96), (16, 16)])
def test_shape_any_size_becomes_the_contract_size(size):
    plane = np.zeros((*size, 3), np.uint8)
    contract = InputContract(height=64, width=96)
    images = planes_to_tensor(dict.fromkeys(("rgb", "event"), plane), contract)
    assert {tuple(t.shape) for t in images.values()} == {(1, 3, 64, 96)}


def test_value_sparse_planes_keep_their_values_when_resized():
    plane = np.zeros((128, 128, 3), np.uint8)
    plane[1::4, 1::4] = 200  # where nearest-exact looks
    image = planes_to_tensor({"lidar": plane}, InputContract(height=64, width=64))["lidar"]
    assert set(torch.unique((image * 255).round()).tolist()) == {0.0, 200.0}


def test_value_dense_planes_are_upsampled_as_opencv_does():
    plane = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    image = planes_to_tensor({"depth": plane}, InputContract(height=64, width=64))["depth"]
    expected = cv2.resize(plane.astype(np.float32), (64, 64), interpolation=cv2.INTER_LINEAR) / 255.0
    np.testing.assert_allclose(image[0].permute(1, 2, 0).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("size", [(131, 203), (128, 192), (64, 128)])
def test_value_a_scaled_sensor_is_resized_once_straight_from_its_plane(size):
    plane = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    contract = InputContract(height=128, width=192, scale={"depth": 0.5, "lidar": 0.5})
    images = planes_to_tensor(dict.fromkeys(("rgb", "depth", "lidar"), plane), contract)
    assert {name: tuple(image.shape[2:]) for name, image in images.items()} == {
        "rgb": (128, 192), "depth": (64, 96), "lidar": (64, 96)}  # fmt: skip
    batch = torch.from_numpy(plane).permute(2, 0, 1)[None].float() / 255.0
    mean = F.interpolate(batch, (64, 96), mode="bilinear", antialias=True)
    torch.testing.assert_close(images["depth"], mean, rtol=0, atol=1e-5)
    torch.testing.assert_close(images["lidar"], F.interpolate(batch, (64, 96), mode="nearest-exact"))


def test_value_labels_and_confidence():
    logits = torch.zeros(1, 3, 2, 5)
    logits[:, 1] = 2.0
    labels, confidence = logits_to_labels(logits, 4, 10)
    assert labels.dtype == torch.uint8
    assert (labels == 1).all()
    assert torch.allclose(confidence, torch.softmax(torch.tensor([0.0, 2.0, 0.0]), 0)[1].expand(1, 4, 10))


def test_exception_contract_rejects_what_it_cannot_mean():
    with pytest.raises(ValidationError, match="multiple"):
        InputContract(height=100)
    with pytest.raises(ValidationError, match="in that order"):
        InputContract(modalities=("lidar", "rgb"))
    with pytest.raises(ValidationError, match="unknown label space"):
        InputContract(label_space="muses")
    with pytest.raises(ValidationError, match="Extra inputs"):
        InputContract(heigth=256)
    with pytest.raises(ValidationError, match=r"depth.*0.3.*choose 1 or 0.5"):
        InputContract(scale={"depth": 0.3})
    with pytest.raises(ValidationError, match="multiples of 64"):
        InputContract(width=96, scale={"depth": 0.5})
    with pytest.raises(ValidationError, match="thermal"):
        InputContract(scale={"thermal": 0.5})


def test_value_contract_survives_json():
    contract = InputContract(height=64, width=96, modalities=("rgb", "event"))
    assert InputContract.model_validate_json(contract.model_dump_json()) == contract


@pytest.mark.parametrize(("classes", "dtype"), [(255, torch.uint8), (256, torch.uint16)])
def test_value_labels_are_wide_when_255_is_a_class(classes, dtype):
    logits = torch.zeros(1, classes, 3, 5)
    logits[:, classes - 1] = 1.0
    labels, _ = logits_to_labels(logits, 3, 5)
    assert labels.dtype == dtype
    assert (labels.numpy() == classes - 1).all()


@pytest.mark.parametrize("grad", [False, True], ids=["kernel", "torch"])
@pytest.mark.parametrize("size", [(9, 7), (40, 31), (9, 31), (4, 3)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_value_pixels_whose_logits_are_not_finite_are_unlabelled(grad, size, value):
    """Those of PyTorch's own upsampling; the others are what they are without the bad ones."""
    logits = torch.randn(2, 5, 9, 7, generator=torch.Generator().manual_seed(3))
    clean = logits.clone()
    logits[0, 3, 2, 4] = logits[0, 1, 8, 6] = value
    clean[0, :, 2, 4] = clean[0, :, 8, 6] = 0.0
    resized = logits if size == (9, 7) else F.interpolate(logits, size, mode="bilinear", align_corners=False)
    invalid = ~torch.isfinite(resized).all(dim=1)
    assert 0 < invalid.sum() < invalid.numel()
    with torch.set_grad_enabled(grad):
        labels, confidence = logits_to_labels(logits, *size)
        expected, certain = logits_to_labels(clean, *size)
    assert torch.equal(labels == 255, invalid)
    assert torch.equal(labels[~invalid], expected[~invalid])
    assert torch.equal(confidence, certain.masked_fill(invalid, 0.0))


@pytest.mark.parametrize(("classes", "unlabelled"), [(2, 255), (300, 65535)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_value_logits_of_nothing_but_nan(classes, unlabelled, dtype):
    logits = torch.full((1, classes, 3, 2), torch.nan, dtype=dtype)
    labels, confidence = logits_to_labels(logits, 11, 5)
    assert (labels.numpy() == unlabelled).all() and not confidence.any()
    assert logits_to_labels(logits, 11, 5, with_confidence=False)[1] is None
    assert unlabelled_share(labels.numpy()) == 1.0


@pytest.mark.parametrize("grad", [False, True], ids=["kernel", "torch"])
def test_value_confidence_of_the_largest_numbers_is_finite(grad):
    """A mean of two of the largest float32 may round to infinity: they count as not finite."""
    largest = float(np.finfo(np.float32).max)
    logits = torch.zeros(1, 3, 1, 4)
    logits[0, :, 0] = torch.tensor([[largest, 1e38, -1e38, 0.0], [-largest, -1e38, 1e38, 3.0], [0.0, 0.0, 0.0, 0.0]])
    with torch.set_grad_enabled(grad):
        labels, confidence = logits_to_labels(logits, 1, 4)
    assert labels[0, 0].tolist() == [255, 0, 1, 1]
    assert torch.isfinite(confidence).all() and confidence[0, 0, :3].tolist() == [0.0, 1.0, 1.0]
