"""Training straight from recordings: unlabelled ones beside a data set, and a labelled one alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bag_files import kitti_entries, labelled_kitti_entries, write_bag
from fake_data import write_deliver

from any2seg_core.checkpoint import load_checkpoint
from any2seg_core.errors import UserError
from any2seg_core.sensors.camera import CameraModel
from training.config import load_config
from training.processes import Processes
from training.train import train

ALONE = Processes(0, 1, torch.device("cpu"))
CAMERA = CameraModel.from_fov(96, 64, 90.0, "camera_color_left")
SMALL = ["height=64", "width=96", "crop_height=64", "crop_width=64", "head_width=32", "batch_size=2", "steps=2",
         "warmup_steps=0", "workers=0", "threads=1", "device=cpu", "compile_fusion=false"]  # fmt: skip


@pytest.mark.parametrize("keep", [True, False])
def test_smoke_unlabelled_frames_straight_from_a_recording(tmp_path: Path, keep: bool):
    """A teacher of four sensors and a bag of two, whose first set lacks the LiDAR as well."""
    data = write_deliver(tmp_path / "deliver", {"train": 2, "val": 1}, (64, 96))
    bag = write_bag(tmp_path / "drive", kitti_entries(7, CAMERA))
    arguments = ["training/configs/m3l_drive.yaml", f"data.root={data}", f"data.unlabelled={bag}", "data.bag.every=2"]
    arguments += [f"data.bag.keep={keep}", "data.labelled_fraction=1", f"out={tmp_path / 'out'}", "cache=ram", *SMALL]
    config = load_config(arguments)
    results = train(config, ALONE)
    assert set(results["subsets"]) >= {"R", "L", "RDEL"}
    _, contract, provenance = load_checkpoint(tmp_path / "out" / "final.safetensors")
    assert contract.modalities == ("rgb", "depth", "event", "lidar")
    assert provenance["unlabelled_frames"] == {"drive": 4}
    assert len(list(bag.glob("any2seg_planes/*/rgb/*.png"))) == (4 if keep else 0)


def test_smoke_a_labelled_recording_alone(tmp_path: Path):
    bag = write_bag(tmp_path / "drive", labelled_kitti_entries(8, CAMERA))
    arguments = ["training/configs/drive_b0.yaml", f"data={bag}", f"out={tmp_path / 'out'}", "cache=disk", *SMALL]
    with pytest.raises(UserError, match="no val frame: looked for the end of the recording: bag.val_share"):
        train(load_config(arguments), ALONE)
    results = train(load_config([*arguments, "data.bag.val_share=0.4"]), ALONE)
    assert list(results["subsets"]) == ["R", "L", "RL"]
    _, contract, provenance = load_checkpoint(tmp_path / "out" / "final.safetensors")
    assert contract.encodings == {"rgb": "rgb8", "lidar": "range-intensity-height-1"}
    assert (provenance["dataset"], provenance["train_frames"]) == ("bag", 5)  # sets of the first 0.44 s
    assert provenance["config"]["data"]["bag"]["val_share"] == 0.4
    assert "calibration" not in provenance["config"]["data"]["bag"]
