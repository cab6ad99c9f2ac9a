"""LiDAR clouds on the camera plane: projection, z-buffer, 3x3 footprint."""

from __future__ import annotations

from typing import Any

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.base.errors import UserError
from any2seg_core.sensors.camera import CameraModel, read_only
from any2seg_core.sensors.cloud_pixels import CHUNK, checked_matrix, checked_points, project_chunk, visible_pixels
from any2seg_core.sensors.depth import MAX_DEPTH_M, height_code, inverse_distance_code
from any2seg_core.sensors.picks import Picks
from any2seg_core.vocabulary.labels import IGNORE

_HIDDEN_BEHIND_M = 0.3
_HIDDEN_BEHIND_SHARE = 0.03
_NOTHING = np.int64(2**63 - 1)  # larger than the key of any point
_KERNEL: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


def project_points(
    points: np.ndarray, lidar_to_camera: np.ndarray, camera: CameraModel, picked: Picks | None = None
) -> np.ndarray:
    """Draws a cloud on the camera plane; the nearest point wins, each covers 3x3 pixels.

    Args:
        points: (N, 4) float32 x, y, z in metres (LiDAR frame), intensity in [0, 1]; rows that are not finite, or
            within 1 cm of the origin, are skipped (a missing intensity counts as 0).
        lidar_to_camera: (4, 4) float64, p_camera = lidar_to_camera @ p_lidar.
        camera: the plane. picked: pixels of it; nothing else is drawn then.

    Returns:
        (H, W, 3) uint8, or (h, w, 3) of picked pixels: [0] inverse range 255 * 10 / (10 + range), never 0 where a
        point is; [1] intensity * 255; [2] height over the camera (-4 m -> 1, 5 cm steps); 0, 0, 0 where no point is.
        Does not depend on the order of the points.

    Raises:
        UserError: wrong shapes.
    """
    points = checked_points(points)
    if picked is not None:
        least = np.full(picked.size[0] * picked.size[1], _NOTHING)
        _keep_least(points, checked_matrix(lidar_to_camera), camera.lens, *picked.near, least)
        plane = np.empty((*picked.size, 3), np.uint8)
        _store_codes(least, plane.reshape(-1))  # (h,w,3) -> (3hw,)
        return plane
    keys, columns, begins = _by_row(*visible_pixels(points, lidar_to_camera, camera), points[:, 3], camera.height)
    plane = np.zeros((camera.height, 3 * camera.width), np.uint8)  # here: NumPy says who owns what it allocates
    _draw(keys, columns, begins, plane)
    return plane.reshape(camera.height, camera.width, 3)  # (H,3W) -> (H,W,3)


def project_labels(
    points: np.ndarray, labels: np.ndarray, lidar_to_camera: np.ndarray, camera: CameraModel
) -> np.ndarray:
    """Label of the nearest point per pixel, without footprint; same projection as `project_points`.

    A LiDAR on the roof sees over what hides things from the camera: points that are hidden as in `label_points` label
    no pixel.

    Args:
        points: (N, 4) or (N, 3) float32, LiDAR frame, metres.
        labels: (N,) uint8 train ids.

    Returns:
        (H, W) uint8, 255 where no point is. Of equally near points the first wins.
    """
    points = checked_points(points)
    labels = np.ascontiguousarray(labels, dtype=np.uint8)
    if labels.shape != (len(points),):
        raise UserError(f"labels: expected shape ({len(points)},), one per point, got {labels.shape}", "array-shape")
    winner = nearest_points(points, lidar_to_camera, camera)
    return np.append(labels, np.uint8(IGNORE))[winner]  # (H,W); index -1 reads the appended 255


def nearest_points(points: np.ndarray, lidar_to_camera: np.ndarray, camera: CameraModel) -> np.ndarray:
    """Which point each pixel shows, without footprint; (H, W) int64, -1 where none, or one hidden as in `label_points`.

    points: (N, 4) or (N, 3) float32, LiDAR frame, metres. Of equally near points the first wins.
    """
    column, row, distance, _ = visible_pixels(checked_points(points), lidar_to_camera, camera)
    column[~_unhidden(column, row, distance, camera.height, camera.width)] = -1
    return _nearest(column, row, distance, camera.height, camera.width)


def footprint_centres(plane: np.ndarray) -> np.ndarray:
    """One pixel for each point that `project_points` has drawn, in the middle of what is to be seen of its 3x3 pixels.

    Neighbouring points of equal code count as one where they overlap.

    Args:
        plane: (H, W, 3) uint8.

    Returns:
        (H, W) bool.
    """
    return _centres(read_only(np.ascontiguousarray(plane, dtype=np.uint8)))


def encode_projection(projection: np.ndarray) -> np.ndarray:
    """A cloud that other code has drawn on the camera plane, in the codes of `project_points`.

    Args:
        projection: (H, W, 3) float32: range in metres (0 where no point is), intensity 0..1, height in metres.

    Returns:
        (H, W, 3) uint8; without footprint, and the height is over whatever the other code measured it from.
    """
    array = np.ascontiguousarray(projection, dtype=np.float32)
    if array.ndim != 3 or array.shape[2] != 3:
        raise UserError(
            f"projection: expected shape (H, W, 3) with range, intensity, height, got {array.shape}", "array-shape"
        )
    return _encode(read_only(array))


def label_points(
    points: np.ndarray, labels: np.ndarray, confidence: np.ndarray, lidar_to_camera: np.ndarray, camera: CameraModel
) -> tuple[np.ndarray, np.ndarray]:
    """The way back: each point gets the label of the pixel that it falls on; same projection as `project_points`.

    A point behind a nearer one of the 3x3 pixels around it (by more than 0.3 m and 3 % of the range) is hidden from the
    camera: its pixel shows something else, so it stays unlabelled.

    Args:
        points: (N, 4) or (N, 3) float32, LiDAR frame, metres.
        labels: (H, W) uint8 or uint16 on the grid of `camera`. confidence: (H, W) float32.

    Returns:
        (N,) labels of the same dtype, its largest value where the camera does not see the point; (N,) float32
        confidence, 0 there.

    Raises:
        UserError: wrong shapes.
    """
    points = checked_points(points)
    if not labels.shape == confidence.shape == (camera.height, camera.width):
        size = camera.height, camera.width
        raise UserError(
            f"labels and confidence: expected shape {size}, got {labels.shape} and {confidence.shape}", "array-shape"
        )
    column, row, distance, _ = visible_pixels(points, lidar_to_camera, camera)
    seen = _unhidden(column, row, distance, camera.height, camera.width)
    found = np.full(len(points), np.iinfo(labels.dtype).max, labels.dtype)  # (N,)
    certainty = np.zeros(len(points), np.float32)  # (N,)
    found[seen], certainty[seen] = labels[row[seen], column[seen]], confidence[row[seen], column[seen]]
    return found, certainty


@compiled(**_KERNEL)
def _nearest(column, row, distance, height, width):
    """(H, W) int64 index of the nearest point of each pixel, -1 where none."""
    winner = np.full((height, width), -1, dtype=np.int64)
    for i in range(column.shape[0]):
        if column[i] >= 0:
            held = winner[row[i], column[i]]
            if held < 0 or distance[i] < distance[held]:
                winner[row[i], column[i]] = i
    return winner


@compiled(**_KERNEL)
def _centres(plane):
    height, width, _ = plane.shape
    found = np.zeros((height, width), dtype=np.bool_)
    taken = np.zeros((height, width), dtype=np.bool_)
    for row in range(height):
        for column in range(width):
            first, second, third = plane[row, column]
            if taken[row, column] or first | second | third == 0:
                continue
            rows, columns, count = 0, 0, 0
            for v in range(row, min(row + 3, height)):  # rows above are done
                for u in range(max(column - 2, 0), min(column + 3, width)):
                    code = plane[v, u]
                    if not taken[v, u] and code[0] == first and code[1] == second and code[2] == third:
                        taken[v, u] = True
                        rows, columns, count = rows + v, columns + u, count + 1
            found[(2 * rows + count) // (2 * count), (2 * columns + count) // (2 * count)] = True
    return found


@compiled(**_KERNEL)
def _intensity_code(strength):
    return np.int32(min(max(strength, 0.0), 1.0) * 255.0 + 0.5) if strength == strength else np.int32(0)


@compiled(**_KERNEL)
def _encode(projection):
    height, width, _ = projection.shape
    plane = np.zeros((height, width, 3), dtype=np.uint8)
    for row in range(height):
        for column in range(width):
            distance = projection[row, column, 0]
            if 0.0 < distance < MAX_DEPTH_M:
                plane[row, column, 0] = inverse_distance_code(distance)
                plane[row, column, 1] = _intensity_code(projection[row, column, 1])
                plane[row, column, 2] = height_code(projection[row, column, 2])
    return plane


@compiled(**_KERNEL)
def _unhidden(column, row, distance, height, width):
    """(N,) bool: inside the image, and no other point around is clearly nearer."""
    n = column.shape[0]
    nearest = np.full((height, width), np.inf, dtype=np.float32)
    for i in range(n):
        if column[i] >= 0:
            nearest[row[i], column[i]] = min(nearest[row[i], column[i]], distance[i])
    seen = np.zeros(n, dtype=np.bool_)
    for i in range(n):
        if column[i] >= 0:
            limit = np.inf
            for v in range(max(row[i] - 1, 0), min(row[i] + 2, height)):
                for u in range(max(column[i] - 1, 0), min(column[i] + 2, width)):
                    limit = min(limit, nearest[v, u])
            seen[i] = distance[i] <= limit + _HIDDEN_BEHIND_M + _HIDDEN_BEHIND_SHARE * limit
    return seen


# A cloud is drawn row by row, so that what is written stays in the nearest cache. A point is one number, whose order
# says which of two is seen: the nearer; of equally near ones the stronger, then the higher return.


@compiled(**_KERNEL)
def _key(distance_bits, distance, intensity, above):
    """Bits of the range, 255 - codes of intensity and height, and the code of the range, from the highest bit down."""
    weak, low = 255 - _intensity_code(intensity), 255 - height_code(above)
    return np.int64(distance_bits) << 32 | np.int64(weak << 16 | low << 8 | inverse_distance_code(distance))


@compiled(**_KERNEL)
def _by_row(column, row, distance, above, intensity, height):
    """Keys and columns of the visible points in order of their rows, and (H + 1,) where each row begins and ends."""
    begins = np.zeros(height + 1, dtype=np.int64)
    for i in range(row.size):
        if row[i] >= 0:
            begins[row[i] + 1] += 1
    for r in range(height):
        begins[r + 1] += begins[r]
    keys, columns = np.empty(begins[height], dtype=np.int64), np.empty(begins[height], dtype=np.int32)
    free = begins.copy()
    bits = distance.view(np.int32)  # ranges are positive: their bits have the same order
    for i in range(row.size):
        if row[i] >= 0:
            at = free[row[i]]
            free[row[i]] += 1
            keys[at] = _key(bits[i], distance[i], intensity[i], above[i])
            columns[at] = column[i]
    return keys, columns, begins


@compiled(**_KERNEL)
def _keys(points, distance, above, keys):
    """Key of each point (n, 4)."""
    bits = distance.view(np.int32)
    for i in range(keys.size):
        keys[i] = _key(bits[i], distance[i], points[i, 3], above[i])


@compiled(**_KERNEL)
def _keep_least(points, matrix, lens, near_rows, near_columns, least):
    """Least key around each picked pixel, into (h w,); near_rows, near_columns: see `Picks`."""
    places, near_keys = np.empty(CHUNK, np.int64), np.empty(CHUNK, np.int64)
    keys, pixels, metres = (
        np.empty(CHUNK, np.int64),
        np.empty((2, CHUNK), np.int32),
        np.empty((2, CHUNK), np.float32),
    )
    rooms, flags = np.empty((5, CHUNK)), np.empty(CHUNK, dtype=np.bool_)
    for start in range(0, points.shape[0], CHUNK):
        part = points[start : start + CHUNK]
        n = part.shape[0]
        column, row, distance, above = pixels[0, :n], pixels[1, :n], metres[0, :n], metres[1, :n]
        if not project_chunk(part, matrix, lens, rooms, flags, column, row, distance, above):
            continue
        _keys(part, distance, above, keys[:n])
        for j in range(near_rows.shape[1]):
            for k in range(near_columns.shape[1]):
                count = 0
                for i in range(n):  # no branch: the processor would mostly guess it wrong
                    place = near_rows[row[i] + 1, j] + near_columns[column[i] + 1, k]
                    places[count], near_keys[count] = place, keys[i]
                    count += place >= 0
                for i in range(count):
                    least[places[i]] = min(least[places[i]], near_keys[i])


@compiled(**_KERNEL)
def _store_codes(keys, line):
    """Codes of keys (N,), into pixels (3N,)."""
    for i in range(keys.size):
        _store_key(keys[i], line, 3 * i)


@compiled(**_KERNEL)
def _least_of_three(line, out):
    """Least key of each pixel (W,) and its two neighbours in a row with a border (W + 2,)."""
    for i in range(out.size):
        out[i] = min(min(line[i], line[i + 1]), line[i + 2])


@compiled(**_KERNEL)
def _store_key(key, line, at):
    """The codes of a key into three bytes."""
    is_seen = key != _NOTHING
    line[at] = np.uint8(key & 255) if is_seen else np.uint8(0)
    line[at + 1] = np.uint8(255 - (key >> 16 & 255)) if is_seen else np.uint8(0)
    line[at + 2] = np.uint8(255 - (key >> 8 & 255)) if is_seen else np.uint8(0)


@compiled(**_KERNEL)
def _store_least(above, here, below, line):
    """Codes of the least key of three rows of keys, into one row (3W,) of pixels."""
    for i in range(here.size):
        _store_key(min(min(above[i], here[i]), below[i]), line, 3 * i)


@compiled(**_KERNEL)
def _draw(keys, columns, begins, plane):
    """Fill plane (H, 3W), which is 0."""
    height, width = plane.shape[0], plane.shape[1] // 3
    line = np.empty(width + 2, dtype=np.int64)  # least key of each pixel of a row, with a border
    rows = np.full((3, width), _NOTHING)  # the same of three pixels side by side: row before, this one, next, in turn
    for row in range(height + 1):
        first, last = begins[min(row, height)], begins[min(row + 1, height)]
        if first == last:
            rows[row % 3] = _NOTHING
        else:
            line[:] = _NOTHING
            for i in range(first, last):
                line[columns[i] + 1] = min(line[columns[i] + 1], keys[i])
            _least_of_three(line, rows[row % 3])
        if row > 0 and last > begins[max(row - 2, 0)]:
            _store_least(rows[0], rows[1], rows[2], plane[row - 1])
