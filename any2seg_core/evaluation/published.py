"""Numbers printed in papers, to stand beside ours. Means are recomputed from the printed rows where those are wrong.

The tables are data, `published.yaml`, number by number as printed, in percent. mIoU of DELIVER, MUSES and MCubeS is
over all classes of the data set (an absent class counts 0): compare with the mean "all".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_yaml

_TABLES = Path(__file__).with_suffix(".yaml")
_SENSORS = "sensors"
_ROUNDING = {1: 0.055, 2: 0.011}
"""Digits of a table -> how far a printed mean may be from that of its rounded numbers."""
_PAPER_SETS = {"deliver": "RDEL", "muses": "FEL", "mcubes": "IADN"}
"""Data sets that an evaluation stands beside, with the letters of their sensors."""


@dataclass(frozen=True)
class PrintedRow:
    """One row of a table.

    Attributes:
        labels: name of a label -> what the row says, such as {"method": "MAGIC", "backbone": "MiT-B0"}.
        values: column -> number; without those that are not printed. mean: the printed mean; None: none is.
    """

    labels: Mapping[str, str]
    values: Mapping[str, float]
    mean: float | None
    is_whole: bool
    """Whether each number that the mean is of is printed."""

    @property
    def recomputed(self) -> float | None:
        """Mean of the row; None without a printed mean or with gaps."""
        if self.mean is None or not self.is_whole:
            return None
        return round(sum(self.values.values()) / len(self.values), 2)

    @property
    def is_mean_wrong(self) -> bool:
        """Whether the printed mean is not the mean of the printed row."""
        digits = 1 if all((10.0 * value) % 1.0 == 0.0 for value in self.values.values()) else 2
        return self.recomputed is not None and abs(self.recomputed - (self.mean or 0.0)) > _ROUNDING[digits]


@dataclass(frozen=True)
class PrintedTable:
    """A table of a paper.

    Attributes:
        id: its name here. source: paper and number. about: what was measured. data: of which data set.
        measure: of all rows; empty where rows or columns say it. protocol: what stands for an absent sensor, "drop" or
            "zero", or "specialist" (each subset has its own model); empty where that means nothing.
        columns: what the numbers are of, without the mean. note: what a reader must know.
    """

    id: str
    source: str
    about: str
    data: str
    columns: tuple[str, ...]
    rows: tuple[PrintedRow, ...]
    measure: str = ""
    protocol: str = ""
    note: str = ""

    @property
    def wrong_means(self) -> int:
        """How many printed means are not those of their rows."""
        return sum(row.is_mean_wrong for row in self.rows)

    def document(self) -> dict[str, Any]:
        """JSON-ready: all of it, with the recomputed means."""
        rows = [
            {**row.labels, "values": dict(row.values), "printed_mean": row.mean, "mean": row.recomputed}
            for row in self.rows
        ]
        facts = {key: getattr(self, key) for key in ("id", "source", "about", "data", "measure", "protocol", "note")}
        return facts | {"columns": list(self.columns), "rows": rows}


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
    subsets: Mapping[str, float] = field(default_factory=dict)
    cases: Mapping[str, float] = field(default_factory=dict)
    printed_mean: float | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def mean(self) -> float | None:
        """Mean over all subsets, computed here where the whole row is printed; otherwise as printed."""
        sensors = set("".join(self.subsets))
        if len(sensors) < 2 or len(self.subsets) < 2 ** len(sensors) - 1:
            return self.printed_mean
        return round(sum(self.subsets.values()) / len(self.subsets), 2)


@lru_cache(maxsize=1)
def published_tables() -> tuple[PrintedTable, ...]:
    """All tables, in the order of the papers."""
    return tuple(_table(entry) for entry in read_yaml(_TABLES, "tables of papers"))


def find_tables(name: str) -> list[PrintedTable]:
    """The table of that id, or all tables of a data set; UserError lists what there is."""
    found = [table for table in published_tables() if name in (table.id, table.data)]
    if not found:
        sets = dict.fromkeys(table.data for table in published_tables())
        raise UserError(
            f"no table {name!r}: data sets are {', '.join(sets)}; `any2seg published` lists the tables",
            "value-unknown",
        )
    return found


def published(data_set: str) -> tuple[Published, ...]:
    """mIoU of methods on subsets, failures or damage of ``deliver``, ``muses`` or ``mcubes``; none for anything else.

    Those with the most subsets come first. A row that two tables print alike stands here once; conditions are those
    with all sensors.
    """
    if data_set not in _PAPER_SETS:
        return ()
    rows: dict[tuple[Any, ...], Published] = {}
    for table in published_tables():
        if table.data == data_set and table.measure == "mIoU" and table.protocol:
            for row in _beside(table, _PAPER_SETS[data_set]):
                key = (row.method, row.protocol, *row.subsets.items(), *row.cases.items(), *row.numbers.items())
                known = rows.get(key)
                rows[key] = row if known is None else _merged(known, row)
    return tuple(sorted(rows.values(), key=lambda row: -len(row.subsets)))


def _table(entry: Mapping[str, Any]) -> PrintedTable:
    labels, columns = entry["labels"], [str(column) for column in entry["columns"]]
    mean = entry.get("mean", "mean")
    rows = []
    for cells in entry["rows"]:
        said, numbers = cells[: len(labels)], dict(zip(columns, cells[len(labels) :], strict=True))
        printed = numbers.pop(mean, None)
        values = {column: value for column, value in numbers.items() if value is not None}
        rows.append(
            PrintedRow(dict(zip(labels, map(str, said), strict=True)), values, printed, len(values) == len(numbers))
        )
    texts = {key: value for key, value in entry.items() if isinstance(value, str) and key != "mean"}
    return PrintedTable(**texts, columns=tuple(column for column in columns if column != mean), rows=tuple(rows))


def _beside(table: PrintedTable, letters: str) -> Iterator[Published]:
    """Rows of a table whose columns are subsets, or with all sensors conditions, or named figures."""
    of_subsets = all(set(column) <= set(letters) for column in table.columns)
    of_figures = table.protocol == "zero"
    for row in table.rows:
        values = dict(row.values)
        method, backbone = (row.labels.get(key, "") for key in ("method", "backbone"))
        whole = Published(method, backbone, table.source, table.protocol, note=table.note)
        if of_subsets:
            yield replace(whole, subsets=values, printed_mean=row.mean)
        elif of_figures:
            yield replace(whole, numbers=values, printed_mean=values["emm"])
        elif row.labels.get(_SENSORS) == letters:
            yield replace(whole, cases=values)


def _merged(first: Published, second: Published) -> Published:
    """The same row of two tables."""
    sources = f"{first.source}; {second.source}"
    return replace(first, source=sources, backbone=first.backbone or second.backbone)
