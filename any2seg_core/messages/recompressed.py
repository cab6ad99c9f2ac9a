"""A CompressedImage with another picture in it, as the same camera would have sent it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin

from any2seg_core.base.errors import MessageError
from any2seg_core.base.pictures import open_picture
from any2seg_core.messages.compressed import picture_format
from any2seg_core.messages.fields import data_bytes, text

_WEBP_QUALITY = 90
_LOSSLESS_WEBP = b"VP8L"


def recompressed(msg: Any, rgb: np.ndarray) -> tuple[str, bytes]:
    """Write a picture with the codec of a sensor_msgs/CompressedImage.

    A jpeg keeps its quantisation tables and chroma subsampling, so that it loses as much as the one before. What is
    neither grey nor 8-bit colour (alpha, 16 bits, a raw Bayer pattern) becomes 8-bit colour.

    Args:
        rgb: (H, W, 3) uint8, made from what `compressed_to_rgb` returns for this message.

    Returns:
        (`format`, bytes of the file).

    Raises:
        MessageError: a message that `compressed_to_rgb` refuses.
    """
    original, stored = picture_format(text(msg, "format", "compressed image"))
    raw = data_bytes(msg, "compressed image").tobytes()
    out = io.BytesIO()
    try:
        with open_picture(raw) as source:
            codec, mode = source.format or "", source.mode
            options = _options(source, raw)
            is_grey = mode == "L" and not original.startswith("bayer_")
            is_swapped = mode == "RGB" and stored.startswith("rgb")  # red and blue were not swapped before writing
            is_plain = (is_grey or mode == "RGB") and "16" not in original + stored
        pixels = rgb[..., 0] if is_grey else rgb[..., ::-1] if is_swapped else rgb  # (H,W) or (H,W,3)
        codec = "JPEG" if codec == "MPO" else codec
        Image.fromarray(np.ascontiguousarray(pixels)).save(out, codec, **options)
    except (OSError, ValueError, SyntaxError, KeyError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise MessageError(f"compressed image: cannot be written again ({reason})", "codec") from None
    return msg.format if is_plain else f"rgb8; {codec.lower()} compressed bgr8", out.getvalue()


def _options(source: Image.Image, raw: bytes) -> dict[str, Any]:
    if isinstance(source, JpegImagePlugin.JpegImageFile):
        options: dict[str, Any] = {"qtables": source.quantization}
        if (sampling := JpegImagePlugin.get_sampling(source)) >= 0:
            options["subsampling"] = sampling
        return options
    if source.format == "WEBP":
        return {"lossless": True} if raw[12:16] == _LOSSLESS_WEBP else {"quality": _WEBP_QUALITY}
    return {}
