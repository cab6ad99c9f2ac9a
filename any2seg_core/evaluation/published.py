"""Numbers printed in papers, to stand beside ours. Means are recomputed from the printed rows where those are wrong.

All mIoU in percent, over all classes of the data set (an absent class counts 0): compare with the mean "all".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from any2seg_core.vocabulary.modalities import VEHICLE


@dataclass(frozen=True)
class Published:
    """One row of one paper.

    Attributes:
        method, backbone: as printed.
        source: paper and table.
        protocol: what stands for an absent sensor: drop, zero, or "specialist" (each subset has its own model).
        subsets: letters -> mIoU.
        cases: our name of the condition or failure -> mIoU with all sensors.
        printed_mean: the mean over the subsets as the paper prints it.
        numbers: other figures by name.
        note: what a reader must know before comparing.
    """

    method: str
    backbone: str
    source: str
    protocol: str
    subsets: dict[str, float] = field(default_factory=dict)
    cases: dict[str, float] = field(default_factory=dict)
    printed_mean: float | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def mean(self) -> float | None:
        """Mean over all subsets, computed here where the whole row is printed; otherwise as printed."""
        complete = len(self.subsets) == 2 ** max(map(len, self.subsets), default=0) - 1
        if not complete or not self.subsets:
            return self.printed_mean
        return round(sum(self.subsets.values()) / len(self.subsets), 2)


def _row(*values: float) -> dict[str, float]:
    """mIoU of DELIVER's 15 subsets in the order of `SensorSuite.all_subsets`."""
    return dict(zip(map(VEHICLE.subset_letters, VEHICLE.all_subsets()), values, strict=True))


def _benchmark(method: str, emm: tuple[float, ...], *rmm: tuple[float, ...], nm: tuple[float, ...]) -> Published:
    """A row of the zero-fill benchmark of arXiv 2503.18445.

    Args:
        emm: mean over the subsets, and the expectations. rmm: the same for each rate. nm: low, mid, high.
    """
    numbers = _named("emm", emm)
    for rate, values in zip(("0.25", "0.5", "0.75"), rmm, strict=True):
        numbers |= _named(f"rmm_r{rate}", values)
    numbers |= dict(zip(("nm_low", "nm_mid", "nm_high"), nm, strict=True))
    source = "arXiv 2503.18445, README of its repository"
    return Published(method, "MiT-B2", source, "zero", printed_mean=emm[0], numbers=numbers)


def _named(prefix: str, values: tuple[float, ...]) -> dict[str, float]:
    return dict(zip((prefix, f"{prefix}_p0.2", f"{prefix}_p0.1", f"{prefix}_p0.05"), values, strict=True))


_DELIVER = (
    Published(
        "MAGIC", "MiT-B0", "Any2Seg (ECCV 2024), missing-modality table", "drop",
        _row(32.60, 55.06, 0.52, 0.39, 63.32, 33.02, 33.12, 55.16, 55.17, 0.26, 63.37, 63.36, 33.32, 55.26, 63.40),
        printed_mean=40.49,
    ),
    Published(
        "Any2Seg", "MiT-B2", "Any2Seg (ECCV 2024), Tables 1, 3 and 4", "drop",
        _row(39.02, 60.11, 2.07, 0.31, 68.21, 39.11, 39.04, 60.92, 60.15, 1.99, 68.24, 68.22, 39.06, 60.95, 68.25),
        cases={
            "cloud": 69.19, "fog": 67.64, "night": 67.25, "rain": 67.00, "sun": 68.25, "motionblur": 66.23,
            "overexposure": 64.89, "underexposure": 65.69, "lidarjitter": 69.05, "eventlowres": 66.73,
        },
        printed_mean=45.04,
    ),
    Published(
        "Functional entropy", "MiT", "arXiv 2505.06635 (ICCV 2025), Table 3", "drop",
        _row(55.56, 57.74, 32.40, 34.26, 59.69, 47.70, 47.78, 48.99, 50.26, 34.37, 53.42, 54.12, 45.24, 47.33, 51.65),
        printed_mean=48.29, note="the printed mean is not the mean of the printed row",
    ),
    Published(
        "CMNeXt", "MiT-B2", "CMNeXt README", "specialist",
        {"R": 57.20, "RD": 63.58, "RE": 57.48, "RL": 58.04, "RDE": 64.44, "RDL": 65.50, "RDEL": 66.30},
        note="one model per subset; R is SegFormer-B2",
    ),
    _benchmark(
        "CMNeXt", (37.90, 54.46, 60.41, 63.38),
        (53.61, 61.28, 63.86, 65.11), (47.49, 58.85, 62.68, 64.53), (42.17, 56.66, 61.60, 63.99),
        nm=(35.23, 16.37, 2.31),
    ),
    _benchmark(
        "GeminiFusion", (37.07, 54.33, 60.62, 63.77),
        (49.74, 60.55, 63.91, 65.46), (42.41, 57.30, 62.25, 64.62), (39.78, 55.88, 61.47, 64.22),
        nm=(5.52, 4.14, 3.30),
    ),
    _benchmark(  # 60.37 as printed, out of line with its neighbours: 63.37?
        "MAGIC", (44.97, 58.66, 62.68, 64.47),
        (51.61, 60.46, 60.37, 64.76), (48.19, 59.53, 63.01, 64.61), (45.30, 58.77, 62.72, 64.49),
        nm=(24.03, 13.31, 3.98),
    ),
    _benchmark(
        "MAGIC++", (44.85, 59.18, 63.52, 65.50),
        (53.92, 62.07, 64.78, 66.08), (49.31, 60.50, 64.07, 65.75), (47.06, 59.81, 63.78, 65.62),
        nm=(33.12, 18.31, 8.70),
    ),
    _benchmark(
        "StitchFusion", (41.98, 58.02, 63.29, 65.80),
        (53.10, 62.34, 65.39, 66.85), (48.33, 60.58, 64.53, 66.41), (45.16, 59.44, 64.02, 66.17),
        nm=(24.91, 17.11, 9.25),
    ),
)  # fmt: skip

_PARITY = "its loader scores unlabelled pixels as road and reads 16-bit sensor images as 8-bit: not comparable"
_MUSES = (
    Published(
        "AnySeg", "MiT-B0", "AnySeg, MUSES table", "drop",
        {"F": 46.01, "E": 19.57, "L": 32.13, "FE": 46.29, "FL": 51.25, "EL": 35.21, "FEL": 51.14},
        printed_mean=40.23, note=_PARITY,
    ),
    Published(
        "Functional entropy", "MiT", "arXiv 2505.06635 (ICCV 2025)", "drop",
        {"F": 60.33, "E": 33.15, "L": 42.59, "FE": 47.19, "FL": 53.47, "EL": 39.59, "FEL": 47.89},
        printed_mean=47.80, note="the printed mean is not the mean of the printed row; " + _PARITY,
    ),
    Published("Any2Seg", "MiT-B2", "Any2Seg (ECCV 2024)", "drop", {}, printed_mean=33.86, note=_PARITY),
    Published("CAFuser", "Swin-T", "CAFuser README, official protocol", "drop", {"FEL": 78.71}, note="with radar"),
    Published("DGFusion", "Swin-T", "DGFusion README, official protocol", "drop", {"FEL": 79.72}, note="with radar"),
)  # fmt: skip

_TEST = "selected on the test split"
_MCUBES = (
    Published("Any2Seg", "MiT-B2", "Any2Seg (ECCV 2024)", "drop", {"IA": 48.95, "IAD": 50.67, "IADN": 51.91},
              note=_TEST),
    Published("CMNeXt", "MiT-B2", "CMNeXt (CVPR 2023); mean from arXiv 2505.06635", "drop", {}, printed_mean=25.17,
              numbers={"full": 51.54}, note=_TEST),
    Published("MAGIC", "MiT-B2", "MAGIC (ECCV 2024); mean from arXiv 2505.06635", "drop", {}, printed_mean=38.00,
              numbers={"full": 53.01}, note=_TEST),
    Published("Functional entropy", "MiT", "arXiv 2505.06635 (ICCV 2025)", "drop", {}, printed_mean=41.64,
              numbers={"full": 42.73}, note=_TEST),
)  # fmt: skip

_TABLES = {"deliver": _DELIVER, "muses": _MUSES, "mcubes": _MCUBES}


def published(data_set: str) -> tuple[Published, ...]:
    """Rows for ``deliver``, ``muses`` or ``mcubes``; none for anything else."""
    return _TABLES.get(data_set, ())
