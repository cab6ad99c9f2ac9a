"""Closed paths by arc length, and the speed profile that all vehicles on one loop share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SPACING_M = 0.25
WHEELBASE_M = 2.7


def _smooth_periodic(values: np.ndarray, sigma: float) -> np.ndarray:
    """Periodic Gaussian filter along axis 0 of (P, ...), sigma in samples."""
    reach = int(np.ceil(3 * sigma))
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    return sum(w * np.roll(values, int(k), axis=0) for w, k in zip(weights, offsets, strict=True))


@dataclass(frozen=True)
class ClosedPath:
    """Closed curve sampled evenly: points (P,2) float64 metres, `length_m` round the loop."""

    points: np.ndarray
    length_m: float

    @classmethod
    def through(cls, corners: np.ndarray, smooth_m: float = 1.5) -> ClosedPath:
        """Curve through a closed polyline (Q,2), rounded over about `smooth_m`."""
        dense = _resampled(corners, _SPACING_M)
        spacing = _perimeter(dense) / len(dense)
        dense = _resampled(_smooth_periodic(dense, smooth_m / spacing), _SPACING_M)
        return cls(dense, _perimeter(dense))

    def at(self, s_m: np.ndarray) -> np.ndarray:
        """Positions (N,2) at arc lengths s_m (N,), which wrap round."""
        step = self.length_m / len(self.points)
        k = np.mod(np.asarray(s_m, np.float64), self.length_m) / step
        index = np.floor(k).astype(np.int64)
        weight = (k - index)[:, None]
        first = self.points[index % len(self.points)]
        return first * (1 - weight) + self.points[(index + 1) % len(self.points)] * weight

    def poses(self, s_m: np.ndarray, wheelbase_m: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Rear axle on the path at s_m: position (N,2) and unit heading (N,2) towards the front axle."""
        rear, front = self.at(s_m), self.at(s_m + wheelbase_m)
        heading = front - rear
        return rear, heading / np.linalg.norm(heading, axis=1, keepdims=True)


def _perimeter(points: np.ndarray) -> float:
    return float(np.linalg.norm(np.roll(points, -1, 0) - points, axis=1).sum())


def _resampled(points: np.ndarray, spacing: float) -> np.ndarray:
    closed = np.concatenate([points, points[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    s = np.linspace(0.0, along[-1], max(8, int(round(along[-1] / spacing))), endpoint=False)
    return np.column_stack([np.interp(s, along, closed[:, k]) for k in range(2)])


class SpeedProfile:
    """Speed along a closed path: slow in bends. Vehicles that share it, apart in time, never meet.

    Args:
        path: the loop.
        cruise_mps: speed on straights, m/s.
        bend_mps: lowest speed, m/s.
    """

    def __init__(self, path: ClosedPath, cruise_mps: float = 9.0, bend_mps: float = 5.0) -> None:
        ahead = np.roll(path.points, -4, 0) - path.points
        heading = np.unwrap(np.arctan2(ahead[:, 1], ahead[:, 0]))
        step = path.length_m / len(path.points)
        turn = np.angle(np.exp(1j * (np.roll(heading, -4) - heading)))
        curvature = np.abs(turn) / (4 * step)
        speed = np.clip(np.sqrt(2.6 / np.maximum(curvature, 1e-4)), bend_mps, cruise_mps)
        speed = _smooth_periodic(speed, 6.0 / step)
        self._path_length = path.length_m
        self._s = np.linspace(0.0, path.length_m, len(speed) + 1)
        self._time = np.concatenate([[0.0], np.cumsum(step / speed)])
        self.lap_s = float(self._time[-1])

    def arc_length(self, t_s: np.ndarray) -> np.ndarray:
        """Distance driven (N,) metres at times t_s (N,), continuous over laps."""
        t = np.asarray(t_s, np.float64)
        laps = np.floor(t / self.lap_s)
        return np.interp(t - laps * self.lap_s, self._time, self._s) + laps * self._path_length

    def passing_time(self, s_m: float) -> float:
        """Time in 0..lap_s at which the vehicle that starts at s = 0 passes s_m."""
        return float(np.interp(np.mod(s_m, self._path_length), self._s, self._time))


def fillet(corners: np.ndarray, radius: float, right_offset: float) -> np.ndarray:
    """Closed polygon (Q,2) with rounded corners of `radius`, shifted to the right of its direction; (P,2), a point
    every 2 m or less so that the line can be bent with the streets."""
    before = np.roll(corners, 1, 0)
    after = np.roll(corners, -1, 0)
    points = []
    for previous, corner, following in zip(before, corners, after, strict=True):
        d0 = (corner - previous) / np.linalg.norm(corner - previous)
        d1 = (following - corner) / np.linalg.norm(following - corner)
        turn = np.arctan2(d0[0] * d1[1] - d0[1] * d1[0], d0 @ d1)
        if abs(turn) < 1e-9:
            points.append(corner + right_offset * np.array([d0[1], -d0[0]]))
            continue
        start = corner - d0 * radius * np.tan(abs(turn) / 2)
        left0 = np.array([-d0[1], d0[0]])
        centre = start + np.sign(turn) * radius * left0
        for angle in np.linspace(0.0, turn, 13):
            c, s = np.cos(angle), np.sin(angle)
            heading = np.array([c * d0[0] - s * d0[1], s * d0[0] + c * d0[1]])
            right = np.array([heading[1], -heading[0]])
            points.append(centre + np.sign(turn) * radius * right + right_offset * right)
    return _resampled(np.array(points), 2.0)
