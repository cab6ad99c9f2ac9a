"""Street plan of a town: a grid of streets, gently bent, and the closed loop of streets that the drive follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIDEWALK_M = 2.6
CORNER_RADIUS_M = 6.0
LANE_OFFSET_M = 1.6
OUTER_BLOCK_M = 38.0
KERB_M = 0.14
_PARKING_M = 2.3
_TRAVEL_HALF_M = 3.3

# Block size range (m), bend amplitude (m), bend wavelength range (m): each split has towns of its own build.
_STYLE = {
    "train": ((58.0, 88.0), (3.0, 6.0), (230.0, 300.0)),
    "val": ((54.0, 76.0), (4.0, 7.0), (240.0, 280.0)),
    "test": ((64.0, 94.0), (2.0, 6.0), (220.0, 320.0)),
}


@dataclass(frozen=True)
class Face:
    """One side of a block, seen from its street: a point on the kerb, the direction along it, its length.

    Local frame: a along the kerb (the block on the left), b into the block. Traffic beside it drives towards -a.
    """

    x: float
    y: float
    dx: float
    dy: float
    length: float
    parking: bool
    on_route: bool
    street: tuple[str, int, int]  # axis, index of the street, side (-1 before it, +1 behind it)
    half: float  # half width of the street, kerb to middle
    cross_half: float  # half width of the street across the start of the face; 0 where there is none


@dataclass(frozen=True)
class Block:
    """Rectangle between kerbs, and its four faces in the order south, east, north, west."""

    x0: float
    x1: float
    y0: float
    y1: float
    faces: tuple[Face, Face, Face, Face]

    @property
    def on_route(self) -> bool:
        """True when the drive passes at least one face."""
        return any(face.on_route for face in self.faces)


class Layout:
    """Streets at x = xs[i] and y = ys[j] with half widths; `loop` (Q,2) corners of the drive, counter-clockwise."""

    def __init__(self, rng: np.random.Generator, split: str) -> None:
        size, amplitude, wavelength = _STYLE[split]
        self.xs = np.concatenate([[0.0], np.cumsum(rng.uniform(*size, 3))])
        self.ys = np.concatenate([[0.0], np.cumsum(rng.uniform(*size, 3))])
        self.parking_x, self.parking_y = rng.random(4) < 0.4, rng.random(4) < 0.4
        self.half_x = _TRAVEL_HALF_M + _PARKING_M * self.parking_x
        self.half_y = _TRAVEL_HALF_M + _PARKING_M * self.parking_y
        self._bend = rng.uniform(*amplitude, 2)
        self._wave = 2 * np.pi / rng.uniform(*wavelength, 2)
        self._phase = rng.uniform(0, 2 * np.pi, 2)
        self.cells = self._grow_cells(rng)
        self.loop_edges, self.loop = self._trace()
        self.blocks = self._make_blocks()

    def bend(self, xy: np.ndarray) -> np.ndarray:
        """Plan coordinates (N,2) -> world coordinates (N,2) float64."""
        x, y = np.asarray(xy[:, 0], np.float64), np.asarray(xy[:, 1], np.float64)
        return np.stack([x + self._bend[0] * np.sin(self._wave[0] * y + self._phase[0]),
                         y + self._bend[1] * np.sin(self._wave[1] * x + self._phase[1])], axis=1)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """x0, x1, y0, y1 of everything built, plan coordinates."""
        low_x, high_x = self.xs[0] - self.half_x[0], self.xs[-1] + self.half_x[-1]
        low_y, high_y = self.ys[0] - self.half_y[0], self.ys[-1] + self.half_y[-1]
        edge = OUTER_BLOCK_M
        return float(low_x - edge), float(high_x + edge), float(low_y - edge), float(high_y + edge)

    @staticmethod
    def _grow_cells(rng: np.random.Generator) -> set[tuple[int, int]]:
        """Grid cells whose union has one simple outline of 10 to 14 streets."""
        while True:
            cells = {(int(rng.integers(3)), int(rng.integers(3)))}
            for _ in range(60):
                i, j = sorted(cells)[int(rng.integers(len(cells)))]
                di, dj = ((1, 0), (-1, 0), (0, 1), (0, -1))[int(rng.integers(4))]
                if 0 <= i + di < 3 and 0 <= j + dj < 3:
                    cells.add((i + di, j + dj))
                if len(cells) == 6:
                    break
            inside = np.zeros((5, 5), bool)
            for i, j in cells:
                inside[i + 1, j + 1] = True
            a, b, c, d = inside[:-1, :-1], inside[1:, :-1], inside[:-1, 1:], inside[1:, 1:]
            touching = (a & d & ~b & ~c) | (b & c & ~a & ~d)
            edges = (inside[:, 1:] != inside[:, :-1]).sum() + (inside[1:] != inside[:-1]).sum()
            if len(cells) == 6 and not touching.any() and 10 <= edges <= 14:
                return cells

    def _trace(self) -> tuple[set[tuple[str, int, int]], np.ndarray]:
        """Outline of the cells: its street pieces (axis, street, gap) and its node sequence as points."""
        follow: dict[tuple[int, int], tuple[int, int]] = {}
        edges = set()
        for i, j in sorted(self.cells):
            for (a, b), (ni, nj), edge in (
                (((i, j), (i + 1, j)), (i, j - 1), ("y", j, i)),
                (((i + 1, j), (i + 1, j + 1)), (i + 1, j), ("x", i + 1, j)),
                (((i + 1, j + 1), (i, j + 1)), (i, j + 1), ("y", j + 1, i)),
                (((i, j + 1), (i, j)), (i - 1, j), ("x", i, j)),
            ):
                if (ni, nj) not in self.cells:
                    follow[a] = b
                    edges.add(edge)
        start = min(follow)
        nodes, node = [start], follow[start]
        while node != start:
            nodes.append(node)
            node = follow[node]
        return edges, np.array([[self.xs[i], self.ys[j]] for i, j in nodes])

    def _make_blocks(self) -> list[Block]:
        x0e, x1e, y0e, y1e = self.extent
        lows_x = np.concatenate([[x0e], self.xs + self.half_x])
        highs_x = np.concatenate([self.xs - self.half_x, [x1e]])
        lows_y = np.concatenate([[y0e], self.ys + self.half_y])
        highs_y = np.concatenate([self.ys - self.half_y, [y1e]])
        return [
            self._block(i, j, lows_x[i], highs_x[i], lows_y[j], highs_y[j])
            for i in range(len(self.xs) + 1) for j in range(len(self.ys) + 1)
        ]

    def _block(self, i: int, j: int, x0: float, x1: float, y0: float, y1: float) -> Block:
        """Block between streets i-1 and i along x, j-1 and j along y; outer faces belong to no street."""
        def half(axis: str, index: int) -> float:
            halves = self.half_x if axis == "x" else self.half_y
            return float(halves[index]) if 0 <= index < len(halves) else 0.0

        def face(x: float, y: float, d: tuple[int, int], length: float, street: tuple[str, int, int], gap: int,
                 cross: int) -> Face:
            axis, index, _ = street
            on_route = (axis, index, gap) in self.loop_edges
            own = half(axis, index)
            return Face(float(x), float(y), d[0], d[1], float(length), own > _TRAVEL_HALF_M + 0.1, on_route, street,
                        own, half("y" if axis == "x" else "x", cross))

        return Block(float(x0), float(x1), float(y0), float(y1), (
            face(x0, y0, (1, 0), x1 - x0, ("y", j - 1, 1), i - 1, i - 1),
            face(x1, y0, (0, 1), y1 - y0, ("x", i, -1), j - 1, j - 1),
            face(x1, y1, (-1, 0), x1 - x0, ("y", j, -1), i - 1, i),
            face(x0, y1, (0, -1), y1 - y0, ("x", i - 1, 1), j - 1, j),
        ))
