"""Graphs are joined to one, whose file then holds the weights for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # asked for by `require_exporter`
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

_LARGE = 1024  # bytes of a tensor that is worth a reference


def bare(model: ModelProto) -> ModelProto:
    """The same without what the exporter notes for itself: shapes of all values, and lines of code of this machine."""
    graph = model.graph
    del graph.value_info[:], graph.metadata_props[:], model.metadata_props[:]
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.ClearField("doc_string")
    return model


@dataclass
class _Joined:
    """A graph that grows by others; weights that are in two of them are in it once."""

    graph: GraphProto
    _weights: dict[tuple[int, tuple[int, ...], bytes], str] = field(default_factory=dict)

    def add(self, part: ModelProto, prefix: str, names: Mapping[str, str]) -> None:
        """All that a part computes; ``names`` of its values in the whole, the others get a prefix."""
        known = {"": "", **names}
        for tensor in part.graph.initializer:
            known[tensor.name] = self._weight(tensor, prefix)
        for node in part.graph.node:
            copy: NodeProto = self.graph.node.add()
            copy.CopyFrom(node)
            copy.name = prefix + node.name
            copy.input[:] = [known.get(name, prefix + name) for name in node.input]
            copy.output[:] = [known.get(name, prefix + name) for name in node.output]

    def _weight(self, tensor: TensorProto, prefix: str) -> str:
        key = tensor.data_type, tuple(tensor.dims), tensor.raw_data
        if key not in self._weights or not tensor.raw_data:
            copy = self.graph.initializer.add()
            copy.CopyFrom(tensor)
            copy.name = self._weights[key] = prefix + tensor.name
        return self._weights[key]


def joined(
    encoders: Mapping[str, ModelProto], fusion: ModelProto, labels: ModelProto, levels: Sequence[str]
) -> ModelProto:
    """One graph of images to labels and logits.

    Args:
        encoders: name of its images -> images (R, 3, h, w), and what else it asks for, to features named ``levels``.
            Several give features of one size, which are put one below the other.
        fusion: these features -> logits. labels: logits -> labels.
    """
    from onnx import ModelProto, helper

    whole = ModelProto()
    whole.CopyFrom(fusion)
    whole.ClearField("graph")
    whole.graph.name = "any2seg"
    joint = _Joined(whole.graph)
    for images, part in encoders.items():
        prefix = f"{images}/"
        found = {level: level if len(encoders) == 1 else prefix + level for level in levels}
        joint.add(part, prefix, {given.name: given.name for given in part.graph.input} | found)
        for given in part.graph.input:
            whole.graph.input.add().CopyFrom(given)
            if len(encoders) > 1 and given.type.tensor_type.shape.dim[0].dim_param:  # equal names are equal numbers
                whole.graph.input[-1].type.tensor_type.shape.dim[0].dim_param = f"rows_of_{images}"
    if len(encoders) > 1:
        for level in levels:
            parts = [f"{images}/{level}" for images in encoders]
            whole.graph.node.append(helper.make_node("Concat", parts, [level], f"rows/{level}", axis=0))
    joint.add(fusion, "fusion/", {level: level for level in levels} | {"logits": "logits"})
    joint.add(labels, "labels/", {"logits": "logits", "labels": "labels"})
    for part in (labels, fusion):
        whole.graph.output.extend(part.graph.output)
    return whole


def with_weights_of(part: ModelProto, whole: Path) -> ModelProto:
    """The same graph, whose large weights are bytes of the file ``whole`` beside it, as ONNX has external data."""
    from onnx import TensorProto

    data, place = whole.read_bytes(), 0
    for tensor in part.graph.initializer:
        size = len(tensor.raw_data)
        if size < _LARGE:
            continue
        found = data.find(tensor.raw_data, place)  # mostly the next one
        found = data.find(tensor.raw_data) if found < 0 else found
        assert found >= 0  # as the whole was joined of its parts
        place = found + size
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", whole.name), ("offset", str(found)), ("length", str(size))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
    return part


def places_of(arrays: Mapping[str, np.ndarray], whole: Path) -> dict[str, tuple[int, list[int]]] | None:
    """Name -> where the bytes of a float32 array begin in a file, and its shape; None where one is not in it."""
    data = whole.read_bytes()
    places = {name: (data.find(array.astype("<f4").tobytes()), list(array.shape)) for name, array in arrays.items()}
    return None if min(start for start, _ in places.values()) < 0 else places
