"""A folder of `any2seg export`: what lies in it, and that it is whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from any2seg_core.base.checksums import CHECKSUMS, require_checksums
from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_text
from any2seg_core.runtime.checkpoint_metadata import METADATA_FILE, contract_of, parse_metadata, require_usable
from any2seg_core.vocabulary.contract import InputContract

WHOLE, REST = "model.onnx", "fusion.onnx"
"""Graphs: the whole model, and what follows the encoder, for further subsets of what is encoded."""
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
    def whole(self) -> Path:
        """Images of the rows to labels, logits and features."""
        return self.folder / WHOLE

    @property
    def rest(self) -> Path:
        """Features of the rows to labels and logits."""
        return self.folder / REST


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
    require_usable(folder, contract)
    return ExportedModel(folder, document, contract, bool(document["model"].get("align_corners", False)))
