"""A checkpoint becomes a folder that runs without PyTorch."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import torch
from torch import nn

from any2seg_core.base.atomic import new_folder
from any2seg_core.base.checksums import write_checksums
from any2seg_core.base.errors import UserError
from any2seg_core.base.versions import __version__
from any2seg_core.models import Any2Seg
from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_core.runtime.checkpoint_metadata import METADATA_FILE, read_metadata
from any2seg_core.runtime.engines.compiled_fusion import HEAD, is_compiled
from any2seg_core.runtime.engines.graph import CONTENT, LEVELS
from any2seg_core.runtime.engines.graph_runtimes import graph_engine
from any2seg_core.runtime.engines.onnx import OnnxRuntimeGraph, import_onnxruntime
from any2seg_core.runtime.export.compose import bare, joined, places_of, with_weights_of
from any2seg_core.runtime.export.folder import (
    HALF,
    README,
    REST,
    WHOLE,
    empty_of,
    encoder_of,
    encoders_of,
    input_of,
)
from any2seg_core.runtime.export.graphs import EncoderGraph, FusionGraph, LabelGraph, SoundHead, can_export
from any2seg_core.runtime.export.parity import require_parity
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.sensor import EVENTS, POINTS

if TYPE_CHECKING:  # asked for by `require_exporter`
    import onnx

OPSET = 20
"""Of ONNX: the first with GELU."""


def export_checkpoint(
    checkpoint: Path, folder: Path, progress: Callable[[int, int], None] = lambda *_: None
) -> dict[str, Any]:
    """Write the folder, whole or not at all.

    Args:
        checkpoint: .safetensors. folder: new. progress: gets how many comparisons are done, of how many.

    Returns:
        What was written, as plain JSON types.

    Raises:
        UserError: a package is missing, the folder is there already, a checkpoint that cannot be read, a model whose
            sensors meet inside the encoder, or a graph whose labels are not those of the model.
    """
    import_onnxruntime()
    require_exporter()
    with new_folder(folder) as partial:
        model, contract, _ = load_checkpoint(checkpoint)
        write_graphs(model, (contract.height, contract.width), partial, str(checkpoint))
        encoders = encoders_of(contract.modalities, contract.scale)
        engine = graph_engine("onnxruntime", partial, encoders, model.empty, model.config.align_corners)
        share = require_parity(engine, OnnxRuntimeGraph(partial / WHOLE), model, contract, progress)
        document = read_metadata(checkpoint)
        written = {"any2seg": __version__, "opset": OPSET}
        if is_compiled(document["model"]):
            arrays = SoundHead(model.head).state_dict()
            written["head"] = places_of({name: arrays[name].t().numpy() for name in HEAD}, partial / WHOLE)
        document = document | {"exported": written}
        (partial / METADATA_FILE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        write_checksums(partial)  # of what is read: a README may be added to
        (partial / README).write_text(_readme(checkpoint, model, contract, share), encoding="utf-8")
        size = sum(path.stat().st_size for path in partial.iterdir())
    return {
        "out": str(folder),
        "megabytes": round(size / 1e6, 1),
        "subsets": 2 ** len(contract.modalities) - 1,
        "differing_share": share,
    }


def require_exporter() -> None:
    """UserError where a package that writes graphs is missing."""
    try:
        import onnx  # noqa: F401  # the exporter asks for both only when it has done most of its work
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"export needs onnx and onnxscript ({error}): pip install 'any2seg[export]'", "package-missing"
        ) from None


def write_graphs(model: Any2Seg, size: tuple[int, int], folder: Path, source: str) -> None:
    """All graphs of a trained model, for images of ``size`` (H, W); UserError names ``source`` where it has none.

    The file of the whole holds the weights: it is what other programs take, and must not need a second one. The others
    refer to it, so that nothing lies there twice.
    """
    if not can_export(model):
        raise UserError(
            f"{source}: fusion={model.config.fusion} encodes its sensors together, and no graph takes any subset of "
            "them; export a model of fusion mff, mff_gated, mff_early or mean_predictions",
            "model-unsuitable",
        )
    model = model.eval().requires_grad_(False)
    rows, scale = len(model.modalities), model.config.mff_early.scale
    shares = sorted({scale.get(name, 1.0) for name in model.modalities}, reverse=True)
    try:
        encoders: dict[str, onnx.ModelProto] = {}
        for share in shares:
            given = {input_of(share): torch.zeros(min(rows, 3), 3, *(round(share * side) for side in size))}
            if model.asks_for_content:
                given[empty_of(share)] = torch.zeros(min(rows, 3), 3)
            encoder = EncoderGraph(model, share)
            with torch.no_grad():
                features = named_features(encoder(*given.values()))
            encoders[input_of(share)] = exported(encoder, given, tuple(features), rows)
        fusion = exported(FusionGraph(model), features, ("logits",), rows)
    except torch.onnx.errors.OnnxExporterError as error:  # an encoder of timm may hold anything
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise UserError(
            f"{source}: torch.onnx cannot export encoder={model.config.encoder} ({reason}); take another encoder",
            "model-unsuitable",
        ) from None
    logits = torch.zeros(1, model.config.num_classes, size[0] // 4, size[1] // 4)
    labels = exported(LabelGraph(), {"logits": logits}, ("labels",), 1)
    _save(joined(encoders, fusion, labels, tuple(features)), folder / WHOLE)
    for share in shares:
        _save(with_weights_of(encoders[input_of(share)], folder / WHOLE), folder / encoder_of(share))
    _save(with_weights_of(fusion, folder / WHOLE), folder / REST)


def named_features(rows: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """What an `EncoderGraph` gives, by the names in all graphs; of early MFF there are two levels."""
    levels, content = ([part for part in rows if part.ndim == rank] for rank in (4, 3))
    return dict(zip(LEVELS, levels, strict=False)) | dict(zip(CONTENT, content, strict=False))


def exported(graph: nn.Module, inputs: dict[str, torch.Tensor], outputs: tuple[str, ...], rows: int) -> onnx.ModelProto:
    """One graph whose inputs have any number of rows from 1 to ``rows``."""
    varying = {0: torch.export.Dim("rows", min=1, max=rows)} if rows > 1 else {}
    shapes: Any = (varying,) * len(inputs)
    with _quiet():
        program = torch.onnx.export(
            graph.eval(),
            tuple(inputs.values()),
            dynamo=True,
            dynamic_shapes=(shapes,) if isinstance(graph, FusionGraph) else shapes,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None  # with dynamo
    return bare(program.model_proto)


def _save(graph: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(graph.SerializeToString())


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of packages that no model here needs, and of its own deprecated parts."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)


def _readme(checkpoint: Path, model: Any2Seg, contract: InputContract, share: float) -> str:
    text = files("any2seg_core.runtime.export").joinpath("README.md.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    space = contract.label_space
    shares = sorted({contract.scale.get(name, 1.0) for name in contract.modalities}, reverse=True)
    return environment.from_string(text).render(
        name=checkpoint.name,
        contract=contract,
        model=model.config,
        levels=2 if model.config.fusion == "mff_early" else len(LEVELS),
        inputs={input_of(share): (round(share * contract.height), round(share * contract.width)) for share in shares},
        empties=[empty_of(share) for share in shares] if model.asks_for_content else [],
        halves=[name for name in contract.modalities if contract.scale.get(name, 1.0) == HALF],
        nearest=[name for name in contract.modalities if contract.suite.sensor(name).kind in (EVENTS, POINTS)],
        classes=space.classes,
        unlabelled=space.void_id,
        share=share,
        version=__version__,
        opset=OPSET,
    )
