from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from any2seg_core.bench import peer_networks, peers, scene


def test_value_decoders_that_are_there_get_all_words(monkeypatch):
    packets = scene.evt3_packets(100, np.random.default_rng(0), 64, 48)
    seen = []

    def decode_bytes(raw, width, height):
        seen.append((len(raw), width, height))
        return SimpleNamespace(x=[1, 2], y=[3, 4])

    monkeypatch.setitem(sys.modules, "evt3", SimpleNamespace(decode_bytes=decode_bytes))
    monkeypatch.setattr(peers, "_EXPELLIARMUS", "no_such_package")
    with peers.evt3_peers(packets) as (found, notes):
        assert set(found) == {"evt3"}
        assert [column.tolist() for column in found["evt3"].columns()] == [[1, 2], [3, 4]]
    assert seen == [(sum(len(packet.events) for packet in packets), 64, 48)]
    assert notes == ["no_such_package is not installed, so it is not compared: pip install no_such_package"]


def test_value_open3d_sees_a_point_where_it_is():
    pytest.importorskip("open3d")
    points = np.array([[10.0, 0.0, 0.0, 0.5]], np.float32)
    draw = peers.open3d_projection(points, scene.LIDAR_TO_CAMERA, scene.camera(65, 65))
    (row, column), *others = np.argwhere(np.asarray(draw().as_tensor().numpy())[..., 0])
    assert not others and abs(column - 32) <= 1 and abs(row - 32) <= 1


def test_value_open3d_is_missed_with_the_way_to_it(monkeypatch):
    monkeypatch.setattr(peers, "_OPEN3D", "no_such_package")
    told = peers.open3d_projection(np.zeros((1, 4), np.float32), np.eye(4), scene.camera(64, 64))
    assert "pip install open3d-cpu" in told


def _checkout(folder, body):
    models = folder / "semseg" / "models"
    models.mkdir(parents=True)
    (folder / "semseg" / "__init__.py").write_text("import tabulate_of_nobody\n")
    (models / "__init__.py").write_text("from .cmnext import CMNeXt\n")
    (models / "cmnext.py").write_text(body)


def _images(count=4):
    return {str(number): torch.zeros(1, 3, 64, 64) for number in range(count)}


def test_value_published_code_is_run_from_a_checkout_and_leaves_nothing_behind(tmp_path):
    _checkout(
        tmp_path,
        "import torch\nfrom fvcore.nn import flop_count_table\n"
        "class CMNeXt(torch.nn.Module):\n"
        "    def __init__(self, name, classes, modals):\n"
        "        super().__init__()\n        self.told = name, classes, modals\n"
        "    def forward(self, images):\n        return torch.ones(1, self.told[1], 8, 8).cumsum(1)\n",
    )
    run = peer_networks.cmnext(tmp_path, "mit_b2", 25, _images())
    assert run().unique().tolist() == [24]
    assert not [name for name in sys.modules if name.split(".")[0] in ("semseg", "fvcore")]


@pytest.mark.parametrize("body", ["import package_of_nobody\n", "def broken(:\n"])
def test_value_code_that_cannot_be_imported_is_told(tmp_path, body):
    _checkout(tmp_path, body)
    told = peer_networks.cmnext(tmp_path, "mit_b0", 25, _images())
    assert isinstance(told, str) and str(tmp_path) in told


def test_value_cmnext_takes_four_sensors_and_a_checkout(tmp_path):
    assert "four sensors" in peer_networks.cmnext(tmp_path, "mit_b0", 25, _images(3))
    assert "no folder" in peer_networks.cmnext(tmp_path, "mit_b0", 25, _images())


def test_shape_segformer_labels_each_sensor():
    pytest.importorskip("transformers")
    labels = peer_networks.segformer("mit_b0", 7, _images(2))()
    assert [each.shape for each in labels] == [(1, 16, 16)] * 2 and max(each.max() for each in labels) < 7


def test_value_gflop_of_a_convolution_by_hand():
    layer = torch.nn.Conv2d(3, 5, 3, padding=1, bias=False)
    model = SimpleNamespace(encode=lambda images: layer(images["a"]), fuse=lambda x: x, decode=lambda x: x)
    gflop = peer_networks.network_gflop(model, {"a": torch.zeros(1, 3, 17, 11)})
    assert gflop == pytest.approx(2 * 3 * 3 * 3 * 5 * 17 * 11 / 1e9)
