"""Mutations of bytes, texts and message-like objects; all chance comes from a random.Random of the input's own seed."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

NUMBERS = (0, 1, 2, 3, 7, 12, 13, 16, 127, 128, 255, 256, 1000, 4096, 16384, 32767, 32768, 65535, 65536, 2**20, 2**24,
           2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**62, 2**63 - 1, 2**64 - 1, -1, -2**31)  # fmt: skip
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-300, 1e300, float("inf"), float("-inf"), float("nan"), 1e9, -1e9)
TEXTS = ("", "x", "rgb8", "mono16", "32FC1", "\0", "é", "[red]x[/red]", "\x1b[31m", "a" * 300, "../..", "/", "NaN")
STRANGE: tuple[Any, ...] = (None, True, [], (), {}, b"", "", 1.5, float("nan"), SimpleNamespace(), [None], "7", b"\xff")


def number(rng: random.Random) -> int:
    """A whole number at which readers tend to stumble, or any."""
    chosen = rng.random()
    if chosen < 0.7:
        return rng.choice(NUMBERS)
    return rng.choice(NUMBERS) + rng.randint(-2, 2) if chosen < 0.85 else rng.getrandbits(rng.choice((8, 16, 32, 64)))


def value(rng: random.Random) -> Any:
    """Anything that a field may hold."""
    return rng.choice((number, lambda r: r.choice(FLOATS), lambda r: r.choice(TEXTS), lambda r: r.choice(STRANGE)))(rng)


def mutated_bytes(rng: random.Random, data: bytes, changes: int = 4) -> bytes:
    """Up to `changes` changes: bits, bytes, numbers of 1 to 8 bytes of either order, cuts, repeats, insertions."""
    out = bytearray(data)
    for _ in range(rng.randint(1, changes)):
        kind = rng.randrange(8)
        if not out:
            out += rng.randbytes(rng.randint(0, 40))
            continue
        place = rng.randrange(len(out)) if rng.random() < 0.5 else rng.randrange(min(len(out), 96))
        if kind == 0:
            out[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[place] = rng.randrange(256)
        elif kind in (2, 3):
            size = rng.choice((1, 2, 4, 4, 8))
            bits = (number(rng) & (1 << 8 * size) - 1).to_bytes(size, rng.choice(("little", "big")))
            out[place : place + size] = bits
        elif kind == 4:
            del out[rng.choice((place, len(out) // 2, len(out) - 1)) :]
        elif kind == 5:
            out[place:place] = out[place : place + rng.choice((1, 8, 64, 1024))] * rng.choice((1, 2, 9))
        elif kind == 6:
            del out[place : place + rng.choice((1, 2, 4, 16, 200))]
        else:
            out[place:place] = rng.randbytes(rng.choice((1, 2, 4, 30)))
    return bytes(out)


def spoil(rng: random.Random, message: Any, changes: int = 2) -> Any:
    """Change or remove up to `changes` fields of a message-like object, at any depth."""
    for _ in range(rng.randint(0, changes)):
        holder = _some_holder(rng, message)
        if not vars(holder):
            continue
        name = rng.choice(list(vars(holder)))
        old = getattr(holder, name)
        chosen = rng.random()
        if chosen < 0.1:
            delattr(holder, name)
        elif chosen < 0.3 or old is None:
            setattr(holder, name, value(rng))
        else:
            setattr(holder, name, _like(rng, old))
    return message


def _some_holder(rng: random.Random, message: Any) -> Any:
    while True:
        inner = [each for each in vars(message).values() if isinstance(each, SimpleNamespace)]
        for each in vars(message).values():
            if isinstance(each, list) and each and isinstance(each[0], SimpleNamespace):
                inner.append(rng.choice(each))
        if not inner or rng.random() < 0.6:
            return message
        message = rng.choice([each for each in inner if isinstance(each, SimpleNamespace)] or [message])


def _like(rng: random.Random, old: Any) -> Any:
    """A value of the same kind, but wrong."""
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return number(rng)
    if isinstance(old, float):
        return rng.choice(FLOATS)
    if isinstance(old, str):
        return rng.choice(TEXTS) if rng.random() < 0.7 else old + rng.choice(TEXTS)
    if isinstance(old, bytes):
        return mutated_bytes(rng, old)
    if isinstance(old, list | tuple):
        items = list(old)
        chosen = rng.randrange(4)
        if chosen == 0:
            return items[: rng.randint(0, len(items))]
        if chosen == 1:
            return items * rng.choice((0, 2, 3))
        if items:
            items[rng.randrange(len(items))] = value(rng)
        return items
    return value(rng)
