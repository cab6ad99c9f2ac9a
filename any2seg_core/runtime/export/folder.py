"""A folder of `any2seg export`: what lies in it, and that it is whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from any2seg_core.base.checksums import CHECKSUMS, require_checksums
from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_text
from any2seg_core.runtime.checkpoint_metadata import METADATA_FILE, contract_of, parse_metadata, require_usable
from any2seg_core.vocabulary.contract import InputContract

WHOLE, REST = "model.onnx", "fusion.onnx"
"""Graphs: the whole model, and what follows when the sensors are encoded, which the engine runs for each subset."""
HALF = 0.5
"""Share of the sides of the input that images of a sensor may have, beside 1."""
README = "README.md"
_WAY_OUT = "copy the folder again, or export the checkpoint again"


@dataclass(frozen=True)
class ExportedModel:
    """What is known of a model without its weights.

    Attributes:
        folder: where it lies. document: as the metadata of the checkpoint. contract: what to feed.
        align_corners: how logits are enlarged, as `ModelConfig` has it.
    """

    folder: Path
    document: dict[str, Any]
    contract: InputContract
    align_corners: bool

    @property
    def encoders(self) -> dict[str, str]:
        """Sensor -> the file of the graph that encodes it."""
        return encoders_of(self.contract.modalities, self.contract.scale)


def encoders_of(modalities: Iterable[str], scale: Mapping[str, float]) -> dict[str, str]:
    """Sensor -> the file of the graph that encodes it, where ``scale`` has the shares that are not 1."""
    return {name: encoder_of(scale.get(name, 1.0)) for name in modalities}


def encoder_of(share: float) -> str:
    """The file of the graph that encodes images of this share of the sides of the input."""
    return "encoder_half.onnx" if share == HALF else "encoder.onnx"


def input_of(share: float) -> str:
    """What images of this share are called as input of a graph."""
    return "images_half" if share == HALF else "images"


def empty_of(share: float) -> str:
    """What the empty pixels of the rows of `input_of` are called, in graphs that ask for them."""
    return input_of(share).replace("images", "empty")


def open_exported(folder: Path) -> ExportedModel:
    """A folder of `any2seg export` whose files are those that were written.

    Raises:
        UserError: no such folder, another one, files that are missing or changed, or of another version.
    """
    if not (folder / CHECKSUMS).is_file() or not (folder / METADATA_FILE).is_file():
        raise UserError(
            f"{folder} is a folder without {METADATA_FILE} and {CHECKSUMS}: give a .safetensors checkpoint or a folder "
            "of `any2seg export`",
            "checkpoint-missing",
        )
    require_checksums(folder, (METADATA_FILE, WHOLE, REST), _WAY_OUT)
    document = parse_metadata(read_text(folder / METADATA_FILE), folder)
    contract = contract_of(folder, document)
    require_checksums(folder, encoders_of(contract.modalities, contract.scale).values(), _WAY_OUT)
    require_usable(folder, contract)
    return ExportedModel(folder, document, contract, bool(document["model"].get("align_corners", False)))
