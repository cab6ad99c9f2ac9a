"""How images of a truth topic may say their classes. Light to import: command lines take their defaults from here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

TRAIN_IDS, RAW_IDS, INSTANCE_IDS, RAW_COLOURS, TAG = "train_ids", "raw_ids", "instance_ids", "raw_colours", "tag"
FILE_CODINGS = (TRAIN_IDS, RAW_IDS, INSTANCE_IDS, RAW_COLOURS)
"""What a label image holds: train ids in 8 bits; ids or colours that the label space calls raw; raw id * 1000 + n."""
CODINGS = (*FILE_CODINGS, "palette", TAG)
"""And images of a topic: CARLA's semantic camera as colours (ROS bridge) or as tags in the red channel (native)."""

CARLA_VERSION = "0.9.13"
RIDER = "ignore"

CarlaVersion = Annotated[str, Field(description="Whose tags CARLA's truth has.")]
Rider = Annotated[str, Field(description="CARLA's riders are: ignore, Pedestrian or TwoWheeler.")]
"""Settings of commands that read truth, with their text."""
