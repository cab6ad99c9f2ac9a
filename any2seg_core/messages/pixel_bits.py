"""Camera images of more than 8 bits: cameras send 10, 12 or 14 significant bits as 16, and no encoding says so."""

from __future__ import annotations

import numpy as np

from any2seg_core.base.errors import UserError

_USUAL = (10, 12, 14, 16)
_WHOLE = 16
_STRAYS = 2000  # one of so many values may be any: that of a broken pixel, or of one without a measurement
_TELLING = 512  # darker images tell nothing: a covered lens must stay black


class PixelBits:
    """Significant bits of the 16-bit images of one camera.

    Found with the first image that has values of 512 or more: the fewest of 10, 12, 14 and 16 bits that hold all of
    them but one in 2000 (pixels that are broken); 16 before. Later images may only widen them, so that brightness does
    not jump; `take_note` says when.

    Args:
        bits: 8 to 16; 0 finds them.

    Raises:
        UserError: another number of bits.
    """

    def __init__(self, bits: int = 0) -> None:
        if bits and not 8 <= bits <= _WHOLE:
            raise UserError(
                f"image_bits={bits}: 16-bit images have 8 to 16 significant bits; 0 finds them", "value-range"
            )
        self._given = bits
        self._found = 0
        self._note = ""
        self._has_seen = self._has_warned = False

    @property
    def bits(self) -> int:
        """The significant bits, as far as they are known."""
        return self._given or self._found or _WHOLE

    def to_bytes(self, pixels: np.ndarray) -> np.ndarray:
        """uint16 of any shape -> the upper 8 of the significant bits, uint8; what has more bits becomes 255."""
        if not self._given:
            self._see(pixels)
        if self.bits == _WHOLE:
            return (pixels >> 8).astype(np.uint8)
        return np.minimum(pixels >> (self.bits - 8), 255).astype(np.uint8)

    def take_note(self) -> str:
        """What a user should know since the last call; "" for nothing."""
        note, self._note = self._note, ""
        return note

    def why_black(self) -> str:
        """What else than darkness a black image may mean, to end a sentence; "" where its bits are known."""
        if self._given or self._found or not self._has_seen:
            return ""
        if not self._has_warned:
            self._note = "16-bit image is black: no light, or its values have few bits; image_bits says how many"
            self._has_warned = True
        return ", or its values have few bits: image_bits"

    def _see(self, pixels: np.ndarray) -> None:
        self._has_seen = True
        least, strays = max(_TELLING, 1 << self._found), pixels.size // _STRAYS
        top = int(pixels.max(initial=0))
        if top >= least and np.count_nonzero(pixels >= least) > strays:
            largest = int(np.partition(pixels, pixels.size - 1 - strays, axis=None)[pixels.size - 1 - strays])
            before, self._found = self._found, next(bits for bits in _USUAL if largest < 1 << bits)
            if before:
                self._note = f"16-bit image reaches {largest}: read as {self._found} bits now, as {before} before"
            elif self._found < _WHOLE:
                few = " but for a few values" if top >> self._found else ""
                self._note = f"16-bit image stays below {1 << self._found}{few}: read as {self._found} bits"
            self._note += "; image_bits fixes it" if self._note else ""
