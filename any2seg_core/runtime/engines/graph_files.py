"""The graphs of a checkpoint, exported once into the user's cache, for engines that run graphs."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from any2seg_core.base.atomic import new_folder
from any2seg_core.base.checksums import require_checksums, sha256_of, write_checksums
from any2seg_core.base.errors import UserError
from any2seg_core.base.user_cache import user_cache
from any2seg_core.runtime.engines.memory import GRAPHS
from any2seg_core.runtime.engines.trained import TrainedModel
from any2seg_core.runtime.export import compose, graphs, write
from any2seg_core.runtime.export.folder import REST, WHOLE, encoders_of
from any2seg_core.runtime.export.write import require_exporter, write_graphs

_LOG = logging.getLogger(__name__)


@contextmanager
def graphs_of(trained: TrainedModel, runtime: str) -> Iterator[Path]:
    """A folder with its graphs, to be read while the context lasts; where the cache cannot be written it goes then.

    Raises:
        UserError: a model without graphs, one that is not in float32 on the processor, or no package to write them.
    """
    trained.require_float32_on_cpu(runtime)
    cache = user_cache()
    folder = None if cache is None else cache / GRAPHS / name_of_graphs(trained)
    if folder is not None and (_is_whole(folder, trained) or _made(folder, trained, runtime)):
        yield folder
        return
    with tempfile.TemporaryDirectory() as place:
        _write(Path(place), trained, runtime)
        yield Path(place)


def name_of_graphs(trained: TrainedModel) -> str:
    """Of their folder in the cache; another one when the code that says what is exported has changed."""
    files = graphs.__file__, compose.__file__, write.__file__
    return trained.hash_with("torch", code=[sha256_of(Path(file)) for file in files])


def _is_whole(folder: Path, trained: TrainedModel) -> bool:
    """Whether the graphs lie there as they were written; what is damaged goes."""
    if not folder.exists():
        return False
    config = trained.model.config
    try:
        encoders = encoders_of(config.modalities, config.mff_early.scale).values()
        require_checksums(folder, (WHOLE, REST, *encoders), "it is made anew")
    except UserError as error:
        _LOG.warning("%s", error)
        shutil.rmtree(folder, ignore_errors=True)
        return False
    return True


def _made(folder: Path, trained: TrainedModel, runtime: str) -> bool:
    """Whether the graphs could be put into the cache; another process may have been faster."""
    try:
        with new_folder(folder) as partial:
            _write(partial, trained, runtime)
            write_checksums(partial)
    except UserError as error:
        if not error.code.startswith("output-"):
            raise
        _LOG.info("%s", error)
        return _is_whole(folder, trained)
    return True


def _write(folder: Path, trained: TrainedModel, runtime: str) -> None:
    require_exporter()
    _LOG.warning("runtime %s: the graphs of the model are exported, once for this checkpoint", runtime)
    write_graphs(trained.model, trained.size, folder, f"runtime {runtime}")
