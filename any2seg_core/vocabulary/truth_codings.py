"""How images of a truth topic may say their classes. Light to import: command lines take their defaults from here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

TRAIN_IDS, TAG = "train_ids", "tag"
CODINGS = (TRAIN_IDS, "palette", TAG)
"""mono8 train ids; CARLA's semantic camera as colours (ROS bridge) or as tags in the red channel (native ROS 2)."""

CARLA_VERSION = "0.9.13"
RIDER = "ignore"

CarlaVersion = Annotated[str, Field(description="Whose tags CARLA's truth has.")]
Rider = Annotated[str, Field(description="CARLA's riders are: ignore, Pedestrian or TwoWheeler.")]
"""Settings of commands that read truth, with their text."""
