"""What a writer is: it turns a picture into the bytes of one file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from pydantic import Field

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
    @abstractmethod
    def suffix(self) -> str:
        """The end of the file names, with its dot."""

    @abstractmethod
    def encode(self, frame: Frame) -> bytes:
        """The file that holds a batch of one."""

    def refuses(self, signal: Signal) -> str | None:
        """Why a picture of this signal can't be written; None if it can."""
        return None

    def remarks(self, signal: Signal) -> list[str]:
        """What is odd, though not wrong, about writing a picture of this signal."""
        return []
