"""Files of torch.save from outside: what their pickles ask for is held against the bytes that are there.

``torch.load(weights_only=True)`` runs no code, but it takes the memory that a pickle names and believes the sizes that
it claims. So the pickles are walked first, without making anything.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from any2seg_core.base.errors import UserError

_ITEM_BYTES = {
    "Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1,
    "ComplexFloat": 8, "ComplexDouble": 16, "QInt8": 1, "QUInt8": 1, "QInt32": 4, "Untyped": 1,
}  # fmt: skip
_TAKES_MEMORY = ("bytearray", "Storage")  # ends of the names of what allocates as many bytes as it is told
_ENCODE = "_codecs.encode"
_LEGACY_PICKLES = 5  # magic number, protocol, machine, objects, keys of the storages that follow
_MOST_FOREIGN_NAMES = 64
_LONGEST_REASON = 200
_MARK = object()

CheckStorage = Callable[[str, int], None]
"""Called with the key of a storage and the bytes that it is said to have; ValueError where they are not there."""


class _Global(str):
    """The name of a class or function in a pickle."""


class _Stranger:
    """Stands for whatever a pickle names that is no tensor; takes what it is given and keeps nothing."""

    def __new__(cls, *_arguments: object, **_options: object) -> _Stranger:
        return super().__new__(cls)

    def __init__(self, *_arguments: object, **_options: object) -> None:
        """Nothing is kept."""

    def __setstate__(self, _state: object) -> None:
        """Nothing is kept."""


class _Items:
    """Stands for a list of a class of its own, or a queue: PyTorch fills nothing but lists."""

    def __new__(cls, *_arguments: object, **_options: object) -> Any:
        return []


class _Entries:
    """Stands for a dictionary of a class of its own; PyTorch gives attributes to this kind alone."""

    def __new__(cls, *_arguments: object, **_options: object) -> Any:
        return OrderedDict()


def load_torch(path: Path, foreign_names: list[str] | None = None) -> Any:
    """What torch.save wrote: tensors, plain values and containers of them; nothing else is made.

    Args:
        foreign_names: None: a file that names anything else is refused. A list: what else trainings store (NumPy
            scalars, options, paths, histories) becomes an empty object of ours, or a plain list or dictionary of what
            it holds, so that no code of the file or of another package runs, and its names are added to the list.

    Raises:
        UserError: missing, empty, cut off or damaged, made by something else, or asking for more than it holds; the
            text says why, after the path.
    """
    try:
        with path.open("rb") as file:
            _check(file, path.stat().st_size)
        return _unpickled(path, foreign_names)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file", "file-missing") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})", "file-unreadable") from None
    except _DAMAGE as error:
        raise UserError(f"{path}: not a file of weights ({reason_of(error)})", "file-format") from None


_DAMAGE = (RuntimeError, ValueError, EOFError, KeyError, IndexError, TypeError, AttributeError, AssertionError,
           ArithmeticError, MemoryError, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error)  # fmt: skip


def _unpickled(path: Path, foreign_names: list[str] | None) -> Any:
    if foreign_names is not None:
        with suppress(ValueError):  # a file of before PyTorch 1.6: its names come one by one
            foreign_names += get_unsafe_globals_in_checkpoint(path)
    stand_ins: dict[str, type] = {}
    while True:
        for name in foreign_names or ():
            stand_ins.setdefault(name, type(name, (_Stranger,), {}))
        try:
            with safe_globals([(stand_in, name) for name, stand_in in stand_ins.items()]):
                return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if foreign_names is None or not _get_to_know(str(error), foreign_names, stand_ins):
                raise


def _get_to_know(complaint: str, foreign_names: list[str], stand_ins: dict[str, type]) -> bool:
    """Take from a complaint of PyTorch what another try needs; False where there is nothing in it.

    ValueError for what PyTorch fills into no stand-in.
    """
    missing = re.search(r"GLOBAL (\S+) was not an allowed global", complaint)
    if missing:
        name = missing[1] if "." in missing[1] else f"builtins.{missing[1]}"
        is_new = name not in foreign_names and len(foreign_names) < _MOST_FOREIGN_NAMES
        foreign_names += [name] if is_new else []
        return is_new
    filled = re.search(r"Can only (append|extend|SETITEMS?|build) .*but got <class '(.+)'>", complaint)
    if filled is None:
        return False
    name = filled[2].removeprefix(f"{__name__}.")
    if filled[1] == "build" or name not in stand_ins:
        raise ValueError(f"it holds a {name} with content of its own beside the weights: save its state_dict alone")
    stand_ins[name] = _Entries if filled[1].startswith("SETITEM") else _Items
    return True


def reason_of(error: Exception) -> str:
    """One line of an error of PyTorch's readers: what went wrong, without its advice and colours for terminals."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).rpartition("WeightsUnpickler error: ")[2]
    line = next((line for line in text.splitlines() if line.strip()), type(error).__name__).partition(". ")[0]
    return "".join(character if character.isprintable() else " " for character in line).strip()[:_LONGEST_REASON]


def _check(file: BinaryIO, size: int) -> None:
    magic = file.read(4)
    file.seek(0)
    if not magic:
        raise ValueError("it is empty")
    if magic != b"PK\x03\x04":
        for _ in range(_LEGACY_PICKLES):
            _walk(file, lambda _key, needed: _require(needed, size))
        return
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            raise ValueError("its parts are compressed, which torch.save does not do")
        _require(sum(part.file_size for part in parts), size)
        sizes = {part.filename.partition("/")[2]: part.file_size for part in parts}
        pickles = [part for part in parts if part.filename.endswith("/data.pkl")]
        if not pickles:
            raise ValueError("it has no data.pkl")
        for part in pickles:
            with archive.open(part) as entry:
                _walk(entry, lambda key, needed: _require(needed, sizes.get(f"data/{key}", -1)))


def _require(needed: int, there: int) -> None:
    if not 0 <= needed <= there:
        raise ValueError(f"it claims {needed} bytes where {max(there, 0)} are")


def _walk(file: IO[bytes], check_storage: CheckStorage) -> None:
    """Follow one pickle with names, numbers and tuples alone; ValueError where it would take what it does not hold."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for operation, argument, _ in pickletools.genops(file):
        name = operation.name
        if name in ("BINPUT", "LONG_BINPUT", "MEMOIZE", "PUT"):
            memo[len(memo) if argument is None else int(argument)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[int(argument or 0)])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            words = argument.split() if argument else [stack.pop(), stack.pop()][::-1]
            stack.append(_Global(".".join(map(str, words))))
        elif name == "BINPERSID":
            _check_persistent(stack.pop(), check_storage)
            stack.append(None)
        else:
            if name in ("REDUCE", "NEWOBJ") and str(stack[-2]).endswith(_TAKES_MEMORY) and not _is_written(*stack[-2:]):
                raise ValueError(f"it makes a {stack[-2]} of its own")
            is_text = name == "REDUCE" and stack[-2] == _ENCODE and _is_written(*stack[-2:])
            _step(operation, argument, stack)
            stack[-1:] = [b""] if is_text else stack[-1:]


def _is_written(called: str, arguments: Any) -> bool:
    """Whether a call makes its bytes of text that the file holds."""
    is_known = isinstance(arguments, tuple) and all(type(argument) in (str, bytes) for argument in arguments)
    return is_known and not called.endswith("Storage")


def _step(operation: pickletools.OpcodeInfo, argument: Any, stack: list[Any]) -> None:
    """The effect of any other operation: pops what it says, pushes a number, a text, a tuple, or nothing known."""
    taken: list[Any] = []
    if pickletools.markobject in operation.stack_before:
        while (item := stack.pop()) is not _MARK:
            taken.insert(0, item)
        for _ in range(operation.stack_before.index(pickletools.markobject)):
            stack.pop()
    else:
        taken = [stack.pop() for _ in operation.stack_before][::-1]
    for kind in operation.stack_after:
        if kind is pickletools.markobject:
            stack.append(_MARK)
        elif kind is pickletools.pytuple:
            stack.append(tuple(taken))
        else:
            stack.append(argument if not operation.stack_before else None)


def _check_persistent(given: Any, check_storage: CheckStorage) -> None:
    """A storage is named by ("storage", type, key, device, number of items, ...)."""
    if not isinstance(given, tuple) or len(given) < 5 or given[0] != "storage" or not isinstance(given[4], int):
        raise ValueError("it names a storage in a way that torch.save does not")
    kind = str(given[1]).rpartition(".")[2].removesuffix("Storage")
    if kind not in _ITEM_BYTES:
        raise ValueError(f"its storage of {given[1]} is not read")
    check_storage(str(given[2]), given[4] * _ITEM_BYTES[kind])


def innermost_state(state: Any, names: tuple[str, ...]) -> Any:
    """The dictionary that lies deepest under the given names; one that holds itself ends the search."""
    seen: set[int] = set()
    while isinstance(state, dict) and id(state) not in seen:
        seen.add(id(state))
        state = next((state[name] for name in names if isinstance(state.get(name), dict)), state)
    return state
