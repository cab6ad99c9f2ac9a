"""Videos: what is written is read again, in browsers' codecs; a break is told after the pictures before it."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest
from raised import user_error

from any2seg_core.base.errors import UserError
from any2seg_core.base.video import BrokenVideoError, VideoReader, VideoWriter, fitted


def bar(share: float, height: int = 48, width: int = 80) -> np.ndarray:
    """A red bar that grows from the left over grey."""
    picture = np.full((height, width, 3), 90, np.uint8)
    picture[:, : round(share * width)] = (200, 40, 40)
    return picture


def write(path, pictures, rate_hz=12.5):
    with VideoWriter(path, rate_hz) as video:
        for picture in pictures:
            video.add(picture)
    return path


@pytest.mark.parametrize(("name", "code"), [("a.webm", b"V_VP8"), ("a.mp4", b"vp09")])
def test_value_pictures_come_back_in_order_in_a_codec_of_browsers(tmp_path, name, code):
    path = write(tmp_path / name, (bar(k / 20) for k in range(20)))
    reader = VideoReader(path)
    assert (reader.rate_hz, reader.total) == (12.5, 20)
    widths = [int((picture[24, :, 0] > 145).sum()) for picture in reader]
    np.testing.assert_allclose(widths, [4 * k for k in range(20)], atol=1)
    assert code in path.read_bytes()
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_value_another_program_reads_the_same(tmp_path):
    """OpenCV's own reader, without our conversions, blue first."""
    path = write(tmp_path / "a.webm", [bar(1.0)] * 3)
    capture = cv2.VideoCapture(str(path))
    np.testing.assert_allclose(capture.read()[1].reshape(-1, 3).mean(axis=0), [40, 40, 200], atol=6)


@pytest.mark.parametrize(("height", "width"), [(37, 61), (17, 16), (48, 81)])
def test_shape_an_odd_side_gets_one_pixel_more(tmp_path, height, width):
    (picture,) = VideoReader(write(tmp_path / "a.webm", [bar(0.5, height, width)]))
    assert picture.shape == (height + height % 2, width + width % 2, 3)


def test_shape_a_picture_of_one_pixel_fills_the_least_frame(tmp_path):
    (picture,) = VideoReader(write(tmp_path / "a.webm", [np.full((1, 1, 3), 200, np.uint8)]))
    assert picture.shape == (16, 16, 3) and abs(picture.astype(int) - 200).max() < 8


def test_value_a_picture_of_another_size_is_fitted_into_the_frame_of_the_first(tmp_path):
    first, tall = bar(0.0), np.full((96, 40, 3), 255, np.uint8)
    _, second = VideoReader(write(tmp_path / "a.webm", [first, tall]))
    light = second[..., 0] > 128
    assert second.shape == (48, 80, 3)
    assert light[24, 31:49].all() and not light[24, :29].any() and not light[24, 52:].any()


def test_value_fitted_keeps_the_shape_of_what_it_shows():
    found = fitted(np.full((10, 20, 3), 9, np.uint8), 40, 40)
    assert found.shape == (40, 40, 3) and np.argwhere(found[..., 0] == 9)[[0, -1]].tolist() == [[10, 0], [29, 39]]


@pytest.mark.parametrize(("name", "kept"), [("a.webm", 0.6), ("a.avi", 0.5), ("a.mkv", 0.7)])
def test_exception_a_video_that_breaks_off_gives_what_lies_before_it(tmp_path, name, kept):
    noise = np.random.default_rng(0).integers(0, 256, (30, 48, 64, 3), np.uint8)
    if name == "a.webm":
        path = write(tmp_path / name, noise)
    else:
        path = tmp_path / name
        code = cv2.VideoWriter.fourcc(*("MJPG" if name.endswith("avi") else "VP80"))
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, 10, (64, 48))
        for picture in noise:
            writer.write(picture)
        writer.release()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    count = 0
    with pytest.raises(BrokenVideoError) as caught:
        for _ in VideoReader(path):
            count += 1
    assert 5 < count < 28 and f"{count} of 30" in str(caught.value) and caught.value.code == "file-format"


def test_exception_a_file_that_is_no_video_is_one_line(tmp_path):
    (tmp_path / "a.mp4").write_text("no video")
    program = "from pathlib import Path; from any2seg_core.base.video import VideoReader; VideoReader(Path('a.mp4'))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "UserError: a.mp4: no picture" in done.stderr
    assert "WARN" not in done.stderr and "moov" not in done.stderr  # neither OpenCV nor FFmpeg says something beside it
    with user_error("file-missing", "none.mp4"):
        VideoReader(tmp_path / "none.mp4")


def test_exception_wrong_names_and_failures_leave_nothing(tmp_path):
    with user_error("file-name", "a.webm"):
        VideoWriter(tmp_path / "a.avi", 10)
    (tmp_path / "folder.webm").mkdir()
    with user_error("output-unwritable", "folder.webm"):
        VideoWriter(tmp_path / "folder.webm", 10)
    (tmp_path / "folder.webm").rmdir()
    with pytest.raises(ZeroDivisionError), VideoWriter(tmp_path / "a.webm", 10) as video:
        video.add(bar(0.5))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_exception_a_video_that_came_out_cut_is_refused(tmp_path, monkeypatch):
    """As on a full disk, of which OpenCV says nothing."""
    with pytest.raises(UserError) as caught, VideoWriter(tmp_path / "a.webm", 10) as video:
        for k in range(20):
            video.add(bar(k / 20))
        video._writer.release()
        partial = next(tmp_path.iterdir())
        partial.write_bytes(partial.read_bytes()[:300])
    assert caught.value.code == "output-unwritable" and list(tmp_path.iterdir()) == []
