"""What a writer is: it turns a picture into the bytes of one file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from pydantic import Field
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.signal import Signal


class OutputParams(StageParams):
    """Parameters of a writer of files."""

    path: str | None = Field(None, description="folder, from the working directory; `--output` replaces it")
    keep: tuple[str, ...] = Field((), description="ids of steps after which the picture is written too")


class Writer(ABC):
    """Encodes pictures of one kind."""

    class Params(OutputParams):
        """Where to write."""

    def __init__(self, params: Any) -> None:
        self.params = params

    @property
    def shard_size(self) -> int | None:
        """Pictures in each tar file; None if every picture is a file of its own."""
        return None

    @property
    @abstractmethod
    def suffix(self) -> str:
        """The end of the file names, with its dot."""

    @abstractmethod
    def encode(self, frame: Frame) -> bytes:
        """The file that holds a batch of one."""

    def decode(self, data: bytes, frame: Frame) -> Tensor | None:
        """The pixels (1, C, H, W) that a file of `encode` holds, in the units of the frame it was made of; None if
        this writer does not read its files again. InputFault if the file is damaged or holds another picture."""
        return None

    def refuses(self, signal: Signal) -> str | None:
        """Why a picture of this signal can't be written; None if it can."""
        return None

    def remarks(self, signal: Signal) -> list[str]:
        """What is odd, though not wrong, about writing a picture of this signal."""
        return []
