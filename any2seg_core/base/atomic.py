"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from any2seg_core.base.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` that replaces it on success; on any failure nothing is left behind.

    The file gets the permissions of the umask, also from writers that make private files. Folders above ``path`` are
    made. A link is followed. UserError where the place cannot be written, or is a device or a pipe.
    """
    named, path = path, Path(os.path.realpath(path))
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # root could put a file in place of /dev/null
            raise UserError(f"cannot write {named} (no regular file): choose another place", "output-unwritable")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        mode = stat.S_IMODE(partial.stat().st_mode)
        partial.unlink()
        yield partial
        os.chmod(partial, mode)
        os.replace(partial, path)
    except OSError as error:
        raise UserError(
            f"cannot write {named} ({error.strerror or error}): choose another place", "output-unwritable"
        ) from None
    finally:
        with suppress(OSError):  # where nothing could be written there is nothing to remove
            partial.unlink()


def make_empty(folder: Path) -> None:
    """Makes an empty folder, and the folders above it; what a killed process left at its place goes. UserError if not.

    For work that takes long: whether the place can be written is known before it begins.
    """
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"cannot write below {folder.parent} ({reason}): choose another place", "output-unwritable"
        ) from None


@contextmanager
def publishing(folder: Path) -> Iterator[Path]:
    """Gives an empty folder whose files all move into ``folder`` on success, at the very end.

    On any failure nothing is left behind, not even ``folder`` where it was not there before. UserError where the place
    cannot be written.
    """
    partial = folder / f".{os.getpid()}.partial"
    with only_on_success(folder):
        make_empty(partial)
        try:
            yield partial
            written = sorted(partial.iterdir())
            for path in written:
                if (folder / path.name).is_dir():
                    raise UserError(
                        f"cannot write {folder / path.name} (is a folder): choose another place", "output-unwritable"
                    )
            for path in written:
                os.replace(path, folder / path.name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Gives an empty folder beside ``folder`` that takes its name on success; on any failure nothing is left behind.

    UserError where ``folder`` is there already, or the place cannot be written.
    """
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{folder}: is there already; remove it or choose another name", "output-exists")
    with only_on_success(folder.parent):
        make_empty(partial)
        try:
            yield partial
            os.rename(partial, folder)
        except OSError as error:
            raise UserError(
                f"cannot write {folder} ({error.strerror or error}): choose another place", "output-unwritable"
            ) from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def only_on_success(folder: Path) -> Iterator[None]:
    """Folders up to ``folder`` that are made meanwhile, and are empty, go again when the work fails."""
    absent = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        yield
    except BaseException:
        for each in absent:
            with suppress(OSError):  # somebody else has put something there
                each.rmdir()
        raise


@contextmanager
def only_one(lock: Path, what: str) -> Iterator[None]:
    """For one process at a time; the second one is refused. A process that ends in any way gives the lock back.

    Args:
        lock: file that is made for as long as the work lasts, and the folders above it.
        what: is under way, for the message, such as "out=runs/a: a training".

    Raises:
        UserError: another process holds the lock (its host and number are named), or the file cannot be made.
    """
    with only_on_success(lock.parent):
        file = _locked(lock, what)
        try:
            yield
        finally:
            with suppress(OSError):
                lock.unlink()  # while it is held: whoever waits for its name makes a new one
            file.close()


def _locked(lock: Path, what: str) -> TextIO:
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        while True:
            file = lock.open("a+", encoding="utf-8")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                    break
                file.close()  # the one before has just ended and taken its file away
            except BlockingIOError:
                file.seek(0)
                holder = file.read(200).strip() or "another process"
                file.close()
                raise UserError(
                    f"{what} is under way ({holder}): wait for it, or choose another folder", "output-busy"
                ) from None
            except FileNotFoundError:
                file.close()
        with suppress(OSError):  # on a full disk the lock holds all the same, without a name
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        return file
    except OSError as error:
        raise UserError(
            f"cannot write below {lock.parent} ({error.strerror or error}): choose another place", "output-unwritable"
        ) from None
