"""What the parts of a measurement share: how long they measure, the model, and rows of their times."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.torch_package import require_torch
from any2seg_core.base.turns import Ratio, Times, in_turns, ratio
from any2seg_core.bench.document import Row, Share
from any2seg_core.bench.settings import BenchSettings
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.vocabulary.contract import InputContract

_FEWEST = 1000  # points or events that still show something in a picture
ENCODERS = tuple(f"mit_b{number}" for number in range(6))


@dataclass(frozen=True)
class Effort:
    """How long is measured.

    Attributes:
        least, most: turns. seconds: that the turns of one comparison may take, if the least number allows.
        scale: of the numbers of points and events, and of sizes: 1, or less for a look.
    """

    least: int = 5
    most: int = 41
    seconds: float = 4.0
    scale: float = 1.0


QUICK = Effort(least=3, most=15, seconds=0.6)


@dataclass
class Workshop:
    """One run.

    Attributes:
        settings: what was asked for. effort: how long. tell: is called with the name of each case.
    """

    settings: BenchSettings
    effort: Effort = field(default_factory=Effort)
    tell: Callable[[str], None] = lambda case: None

    @cached_property
    def predictor(self) -> Predictor:
        """The model as it was asked for, warm."""
        return self.predictor_of(self.settings.precision, self.settings.size, self.settings.runtime)

    @property
    def is_random(self) -> bool:
        """Whether the model is an encoder's name, and has no file."""
        return self.settings.model in ENCODERS

    @property
    def is_exported(self) -> bool:
        """Whether the model is a folder of `any2seg export`."""
        return not self.is_random and Path(self.settings.model).is_dir()

    @property
    def contract(self) -> InputContract:
        """Of that model."""
        return self.predictor.contract

    @property
    def letters(self) -> str:
        """Of all sensors of that model."""
        return self.contract.suite.subset_letters(self.contract.modalities)

    def predictor_of(self, precision: str, side: int | None, runtime: str) -> Predictor:
        """Another one of the same weights.

        Args:
            side: of the network's input; None: as the model has it.

        Raises:
            UserError: the runtime cannot be had, or not in this precision.
        """
        settings = self.settings
        if not self.is_random and side is None:
            predictor = Predictor.load(settings.model, settings.device, precision=precision, runtime=runtime)
        elif self.is_exported:
            raise UserError(f"--size {side}: {settings.model} is exported for one size; leave it out", "value-conflict")
        else:
            model, contract = self.torch_model()
            contract = contract if side is None else contract.model_copy(update={"height": side, "width": side})
            predictor = Predictor(model, contract, self._device(), precision=precision, runtime=runtime)
        predictor.warm_up()
        return predictor

    def torch_model(self) -> tuple[Any, InputContract]:
        """The weights as PyTorch has them, on the processor, and what to feed them."""
        require_torch("another size or an encoder with random weights")
        if not self.is_random:
            from any2seg_core.runtime.checkpoint import load_checkpoint

            return load_checkpoint(self.settings.model)[:2]
        import torch

        from any2seg_core.models import Any2Seg, ModelConfig

        torch.manual_seed(0)
        return Any2Seg(ModelConfig(encoder=self.settings.model)), InputContract()

    def _device(self) -> Any:
        from any2seg_core.runtime.devices import available_device

        return available_device(self.settings.device)

    @property
    def clock(self) -> str:
        """Of what the network does: a GPU works while the processor waits."""
        return "processor" if self.settings.device == "cpu" else "wall"

    def random(self) -> np.random.Generator:
        """A new one, always the same."""
        return np.random.default_rng(0)

    def counts(self, *numbers: int) -> list[int]:
        """Numbers of points or events, as large as the effort allows, each once."""
        return list(dict.fromkeys(max(_FEWEST, round(number * self.effort.scale)) for number in numbers))

    def time(
        self, case: str, works: Mapping[str, Callable[[], object]], before: Callable[[], object] | None = None
    ) -> dict[str, Times]:
        """Measure works in turns, as many as the effort allows, after two that warm up."""
        self.tell(case)
        in_turns(works, 1, 0, before)
        once_s = sum(times.wall_s[0] for times in in_turns(works, 1, 0, before).values())
        turns = int(np.clip(self.effort.seconds / max(once_s, 1e-6), self.effort.least, self.effort.most))
        return in_turns(works, turns, 0, before)


def row(
    case: str,
    times: Times,
    clock: str = "processor",
    line: str = "",
    x: float | None = None,
    peers: Mapping[str, Times] | None = None,
    per: int = 1,
) -> Row:
    """A row of what was measured.

    Args:
        peers: name -> times of the same turns; the row tells its share of each. per: frames that one call takes.
    """
    seconds = {"wall": times.wall_s}.get(clock, times.cpu_s)
    others = {name: {"wall": each.wall_s}.get(clock, each.cpu_s) for name, each in (peers or {}).items()}
    return Row(
        case=case,
        clock="wall" if clock == "wall" else "processor",
        median=milliseconds(statistics.median(seconds), per),
        least=milliseconds(min(seconds), per),
        wall=milliseconds(statistics.median(times.wall_s), per),
        spread=round(times.spread, 3),
        turns=len(seconds),
        line=line,
        x=x,
        shares={name: share(ratio(seconds, theirs)) for name, theirs in others.items()},
    )


def share(found: Ratio) -> Share:
    """Rounded to four digits."""
    return Share(median=_digits(found.median), least=_digits(found.least), largest=_digits(found.largest))


def milliseconds(seconds: float, per: int = 1) -> float:
    """Of one of `per` frames, four digits; more than 0 also below the clock's step."""
    return _digits(max(1e3 * seconds / per, 1e-6))


def _digits(value: float) -> float:
    return float(f"{max(value, 1e-9):.4g}")


def require_usable(settings: BenchSettings) -> None:
    """UserError for a part, model, device, recording or checkout that is not there: before anything is measured."""
    assert settings.parts  # it refuses unknown ones
    if settings.model not in ENCODERS and not Path(settings.model).exists():
        raise UserError(
            f"{settings.model}: no such checkpoint or folder, and none of {', '.join(ENCODERS)}; check the path",
            "checkpoint-missing",
        )
    for option, path in (("--recording", settings.recording), ("--cmnext", settings.cmnext)):
        if path is not None and not path.exists():
            raise UserError(f"{option} {path}: no such file or folder; check the path", "file-missing")
    if settings.device != "cpu":
        require_torch(f"--device {settings.device}")
        from any2seg_core.runtime.devices import available_device

        available_device(settings.device)
