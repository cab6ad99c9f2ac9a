"""Small recordings for an index: a camera and a LiDAR."""

from __future__ import annotations

from bag_files import KITTI_CAMERA, kitti_entries, write_bag

SMALL = KITTI_CAMERA.scaled(81, 50)


def small_bag(path, count=4, shift_ns=0, **options):
    """A rosbag2 folder of `count` pictures at 10 Hz; `shift_ns` moves log times."""
    entries = [(time_ns + shift_ns, *rest) for time_ns, *rest in kitti_entries(count, SMALL)]
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_bag(path, entries, **options)
