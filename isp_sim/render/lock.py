"""One run at a time in an output folder."""

from __future__ import annotations

import errno
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from isp_sim.render.manifest import OutputFault

try:
    import fcntl
except ImportError:  # another system than POSIX
    fcntl = None  # type: ignore[assignment]

LOCK: Final = ".lock"
_NO_LOCKS: Final = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. The system takes it back when the process ends, however it ends.

    Raises
    ------
    OutputFault
        If another run holds it.
    """
    descriptor = _taken(folder)
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)  # while it is held: another run then finds its own file gone
        os.close(descriptor)


def _taken(folder: Path) -> int:
    path = folder / LOCK
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _lock(descriptor, folder)
            if _is_at(descriptor, path):
                _sign(descriptor, path)
                return descriptor
            os.close(descriptor)  # its holder has just finished and removed it
        except BaseException:
            os.close(descriptor)
            raise


def _sign(descriptor: int, path: Path) -> None:
    """Say in the lock's file who holds it."""
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _lock(descriptor: int, folder: Path) -> None:
    try:
        if fcntl is None:
            raise OSError(errno.ENOSYS, "no locks")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 200).decode("utf-8", "replace").strip() or "another process"
        raise OutputFault(
            f"{holder} is rendering into {folder}: wait until it has finished, or give another --output"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(f"{folder} can't be locked: see that no other run writes there", stacklevel=2)
