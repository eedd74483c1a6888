"""A reader whose files say what goes wrong; a module of its own, because another process imports it."""

import ctypes
import os
import signal
import time
from pathlib import Path

import torch

from isp_sim.formats.images import Images
from isp_sim.formats.reader import InputFault, Item, Reading
from isp_sim.frame import Boxes, Masks, Points


class Misbehaving(Images):
    """Reads pictures, but a file of a few bytes is a command."""

    def read(self, item: Item) -> Reading:
        command = Path(item.path).read_bytes()
        if len(command) > 20:
            return super().read(item)
        if command == b"crash":
            ctypes.string_at(0)
        if command == b"memory":
            bytearray(1 << 40)
        if command == b"tensor":
            torch.empty(1 << 38)
        if command == b"hang":
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM, signal.SIGTERM])
            time.sleep(600)
        if command == b"exit":
            os._exit(3)
        if command == b"fault":
            raise InputFault("damaged")
        if command == b"error":
            raise KeyError("a reader's own mistake")
        if command == b"global":
            return Reading(None, (os.system,))  # type: ignore[arg-type]
        raise InputFault(f"no such command: {command!r}")


class Labelled(Images):
    """Adds what else a frame can carry."""

    def read(self, item: Item) -> Reading:
        frame = super().read(item).frame
        height, width = frame.size
        masks = Masks(torch.arange(height * width).reshape(1, height, width), outside=7)
        boxes = Boxes((torch.tensor([[0.5, 1, 2, 3]], dtype=torch.float64),), (torch.tensor([5]),))
        object.__setattr__(frame, "targets", {"m": masks, "b": boxes, "p": Points((torch.empty(0, 2),))})
        object.__setattr__(frame, "maps", {"clipped": frame.pixels[:, :1] > 0.5})
        return Reading(frame, ("noted",))
