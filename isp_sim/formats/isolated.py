"""Reading in a process that may be lost: a file that makes a decoder crash, hang or ask for memory costs itself only.

The process is given the reader and one item after the other, and sends back frames. It is no sandbox: what takes it
over can do what its user can. But nothing that it sends back is executed here.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isp_sim.formats.reader import InputFault, Item, Reader, Reading
from isp_sim.frame import Frame

MIB: Final = 1 << 20
START: Final = 300.0
"""How long the process may take to start, which takes seconds where nothing else goes on [s]."""
LARGEST_MESSAGE: Final = 64 * MIB
"""Bytes of an answer, beside its numbers."""
_LENGTH = struct.Struct(">Q")


@dataclass(frozen=True)
class Bounds:
    """What one picture may cost.

    Attributes
    ----------
    memory
        Address space beyond what the idle process has [MiB].
    seconds
        Time, by the clock.
    """

    memory: int = 4096
    seconds: float = 60.0


class Lost(InputFault):
    """A picture whose decoder crashed, hung or ran out of memory."""


class Unexpected(InputFault):
    """A picture that a reader refused in another way than by an InputFault."""


class Isolated:
    """Reads by a reader in one process of its own, which is replaced when it is lost.

    The frames are equal to the last bit to those that the reader itself would give. Not to be used by several threads
    at once. POSIX only; macOS does not keep the bound on memory.

    Raises
    ------
    InputFault
        On making one, where the system has no such bounds.
    """

    def __init__(self, reader: Reader, bounds: Bounds | None = None) -> None:
        if os.name != "posix":
            raise InputFault("reading in a process of its own needs a POSIX system, such as Linux")
        self.bounds = bounds or Bounds()
        self._made = pickle.dumps((type(reader), reader.params))
        self._child: _Child | None = None

    def read(self, item: Item) -> Reading:
        """Read one picture.

        Raises
        ------
        Lost
            If the process that reads it crashed, took too long or had too little memory.
        Unexpected
            If the reader raised another error than an InputFault.
        InputFault
            As the reader does.
        """
        if self._child is None:
            self._child = _Child(self._made, self.bounds)
        try:
            answer, tensors = self._child.ask(item, time.monotonic() + self.bounds.seconds)
        except BaseException as error:
            child, self._child = self._child, None
            code = child.end()
            if isinstance(error, TimeoutError):
                raise Lost(f"reading it took more than {self.bounds.seconds:g} s, and was given up") from None
            if isinstance(error, EOFError):
                raise Lost(_death(code)) from None
            if isinstance(error, _Nonsense):
                raise Lost(f"the process that read it answered nonsense: {error}") from None
            raise
        if answer["outcome"] == "read":
            try:
                return _reading(answer, tensors)
            except Exception as error:  # noqa: BLE001  a pickle that is none may raise anything
                self.close()
                raise Lost(f"the process that read it answered nonsense: {error}") from None
        if answer["outcome"] == "memory":
            raise Lost(f"reading it takes more than the {self.bounds.memory} MiB of memory that are allowed")
        raise (Unexpected if answer["outcome"] == "error" else InputFault)(str(answer["reason"]))

    def close(self) -> None:
        """End the process; the next picture starts another."""
        if self._child is not None:
            self._child.end()
            self._child = None


def _death(code: int) -> str:
    if code >= 0:
        return f"the process that read it ended with exit code {code}: the file is damaged, or made to do harm"
    try:
        name = f"{signal.Signals(-code).name}, {signal.strsignal(-code)}"
    except ValueError:
        name = f"signal {-code}"
    return f"the process that read it was ended by {name}: the file is damaged, or made to do harm"


# -- this side -------------------------------------------------------------------------------------------------


class _Nonsense(ValueError):
    """An answer that is none."""


class _Child:
    """The process, and the two pipes to it."""

    def __init__(self, made: bytes, bounds: Bounds) -> None:
        theirs, self._questions = os.pipe()
        self._answers, their_answers = os.pipe()
        # Not `-m`, and with -P: neither the working directory nor anything in it may decide what is imported.
        code = (
            "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
            "from isp_sim.formats.isolated import serve; serve(*map(int, sys.argv[2:]))"
        )
        numbers = [theirs, their_answers, bounds.memory, math.ceil(bounds.seconds)]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", code, json.dumps(sys.path), *map(str, numbers)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs, their_answers),
            start_new_session=True,  # Ctrl-C is for the run, which finishes the picture
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        os.close(theirs)
        os.close(their_answers)
        self._end = weakref.finalize(self, _end, self._process, self._questions, self._answers)
        try:
            _send(self._questions, made)
            if self._received(_LENGTH.size, time.monotonic() + START) != _LENGTH.pack(0):
                raise EOFError
        except (EOFError, TimeoutError, BrokenPipeError):
            raise InputFault(f"the process that reads pictures can't be started: {_death(self.end())}") from None

    def end(self) -> int:
        """End the process, also by itself when this is forgotten; returns its exit code."""
        self._end()
        return int(self._process.returncode)

    def ask(self, item: Item, until: float) -> tuple[dict[str, Any], list[Tensor]]:
        try:
            _send(self._questions, pickle.dumps(item))
        except BrokenPipeError:
            raise EOFError from None
        (length,) = _LENGTH.unpack(self._received(_LENGTH.size, until))
        if length > LARGEST_MESSAGE:
            raise _Nonsense(f"{length} bytes")
        try:
            answer = json.loads(self._received(length, until))
            shapes, _ = answer["tensors"], answer["outcome"]
            tensors = [self._tensor(str(kind), tuple(map(int, shape)), until) for kind, shape in shapes]
        except (ValueError, LookupError, TypeError, RecursionError, MemoryError) as error:
            raise _Nonsense(str(error)) from None
        return answer, tensors

    def _tensor(self, kind: str, shape: tuple[int, ...], until: float) -> Tensor:
        array = np.empty(shape, dtype=_KINDS[kind])
        self._receive(_bytes(array), until)
        return torch.from_numpy(array)

    def _received(self, count: int, until: float) -> bytes:
        data = bytearray(count)
        self._receive(memoryview(data), until)
        return bytes(data)

    def _receive(self, into: memoryview, until: float) -> None:
        while len(into):
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                raise TimeoutError
            if not (count := os.readv(self._answers, [into])):
                raise EOFError
            into = into[count:]


def _end(process: subprocess.Popen[bytes], *descriptors: int) -> None:
    """Close the pipes and end the process."""
    for descriptor in descriptors:
        os.close(descriptor)
    try:  # what has died ends by itself, and then says of what
        process.wait(0.2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _send(descriptor: int, data: bytes) -> None:
    _write(descriptor, _LENGTH.pack(len(data)))
    _write(descriptor, data)


def _write(descriptor: int, data: bytes | memoryview) -> None:
    left = memoryview(data)
    while len(left):
        left = left[os.write(descriptor, left) :]


def _bytes(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


# -- frames as numbers and names -------------------------------------------------------------------------------

_KINDS: Final = {"float32": "<f4", "float64": "<f8", "uint8": "u1", "int32": "<i4", "int64": "<i8", "bool": "?"}
"""Numbers that travel, by the name of torch and of NumPy."""


class _Packer(pickle.Pickler):
    """Writes a frame with numbers in the places of its tensors."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, protocol=5)
        self.tensors: list[Tensor] = []

    def persistent_id(self, value: Any) -> int | None:
        if not isinstance(value, Tensor):
            return None
        self.tensors.append(value)
        return len(self.tensors) - 1


class _Unpacker(pickle.Unpickler):
    """Builds frames, and refuses whatever else a pickle names before it is looked up."""

    NAMES: Final = {
        "isp_sim.formats.reader": ("Reading",),
        "isp_sim.frame": ("Frame", "Capture", "Masks", "Boxes", "Points"),
        "isp_sim.signal": ("Signal",),
    }

    def __init__(self, data: bytes, tensors: Sequence[Tensor]) -> None:
        super().__init__(io.BytesIO(data))
        self.tensors = tensors

    def persistent_load(self, pid: Any) -> Tensor:
        return self.tensors[int(pid)]

    def find_class(self, module: str, name: str) -> Any:
        if name not in self.NAMES.get(module, ()):
            raise pickle.UnpicklingError(f"a frame holds no {module}.{name}")
        return super().find_class(module, name)


def _reading(answer: dict[str, Any], tensors: Sequence[Tensor]) -> Reading:
    found = _Unpacker(answer["frame"].encode("latin1"), tensors).load()
    if not (isinstance(found, Reading) and isinstance(found.frame, Frame)):
        raise TypeError("no reading")
    return replace(found, frame=replace(found.frame))  # a frame that is made is checked, one that is unpickled is not


# -- the other side --------------------------------------------------------------------------------------------


def serve(questions: int, answers: int, memory: int, seconds: int) -> None:
    """Read what is asked for until nobody asks any more: what the process runs."""
    import resource

    for number in (signal.SIGINT, signal.SIGTERM):  # the run decides when it ends, and this process with it
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    torch.set_num_threads(1)
    with open(questions, "rb") as source:
        kind, params = pickle.loads(_next(source) or b"")
        reader: Reader = kind(params)
        _load_decoders()
        _limit(resource, memory)
        _write(answers, _LENGTH.pack(0))
        while (question := _next(source)) is not None:
            signal.alarm(seconds + 30)  # ends it even if whoever started it has been killed
            about, tensors = _answer(reader, pickle.loads(question))
            _send(answers, json.dumps(about).encode())
            for tensor in tensors:
                _write(answers, _bytes(tensor.numpy()))
            signal.alarm(0)


def _next(source: BinaryIO) -> bytes | None:
    head = source.read(_LENGTH.size)
    return source.read(_LENGTH.unpack(head)[0]) if len(head) == _LENGTH.size else None


def _load_decoders() -> None:
    """Before memory is bounded, so that the bound is on pictures alone."""
    import imagecodecs
    import rawpy  # noqa: F401
    import tifffile  # noqa: F401

    imagecodecs.png_decode(imagecodecs.png_encode(np.zeros((8, 8, 3), np.uint8)))
    imagecodecs.cms_profile("srgb")


def _limit(resource: Any, memory: int) -> None:
    """Bound the address space, by so many MiB beyond what is taken already."""
    with contextlib.suppress(OSError, ValueError):  # no Linux: the whole process then counts
        taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: PTH123, SIM115
        bound = taken + memory * MIB
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))


def _answer(reader: Reader, item: Item) -> tuple[dict[str, Any], list[Tensor]]:
    """What is sent: in place of each tensor of the frame its kind and shape, then the numbers."""
    try:
        reading = reader.read(item)
        buffer = io.BytesIO()
        packer = _Packer(buffer)
        packer.dump(reading)
        tensors = [tensor.detach().cpu().contiguous() for tensor in packer.tensors]
        shapes = [(str(t.dtype).removeprefix("torch."), list(t.shape)) for t in tensors]
        return {"outcome": "read", "frame": buffer.getvalue().decode("latin1"), "tensors": shapes}, tensors
    except InputFault as fault:
        return {"outcome": "refused", "reason": str(fault), "tensors": []}, []
    except MemoryError:
        return {"outcome": "memory", "tensors": []}, []
    except Exception as error:  # noqa: BLE001  a reader's own fault costs its picture
        if "can't allocate memory" in str(error):  # torch's way to say it
            return {"outcome": "memory", "tensors": []}, []
        return {"outcome": "error", "reason": f"{type(error).__name__}: {error}", "tensors": []}, []
