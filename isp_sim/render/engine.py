"""Who makes the parts: this process, or a pool of processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import ClassVar, Final

import torch

from isp_sim.recipe import Recipe
from isp_sim.render.output import Make, Part, Receipt
from isp_sim.render.stop import SIGNALS, Asked
from isp_sim.render.worker import RenderFault, Settings, Worker

POLL: Final = 0.1
"""How often a wish to stop is looked for while workers work [s]."""


@dataclass(frozen=True)
class Setup:
    """What a process needs to become a worker."""

    recipe: Recipe
    folder: Path
    settings: Settings
    make: Make

    def worker(self) -> Worker:
        return Worker(self.recipe, self.folder, self.settings)


class Engine(ABC):
    """Makes parts. What is made does not depend on which engine makes it, nor in which order."""

    part_size: ClassVar[int] = 1
    """Batches that a part should have, where they are not shards."""

    @abstractmethod
    def run(self, setup: Setup, parts: Iterable[Part], asked: Asked) -> Iterator[Receipt]:
        """The receipt of each part. Once a stop is asked for, of those that could be finished soon.

        Raises
        ------
        OSError
            If a part can't be written.
        RenderFault
            If a picture fails in a strict run, or a worker dies.
        """


class Local(Engine):
    """This machine: one process, or several of one thread each."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

    def run(self, setup: Setup, parts: Iterable[Part], asked: Asked) -> Iterator[Receipt]:
        if self.workers > 1:
            yield from self._pool(setup, parts, asked)
            return
        worker = setup.worker()
        for part in parts:
            receipt = setup.make(worker, part, asked)
            if receipt is None:
                return
            yield receipt

    def _pool(self, setup: Setup, parts: Iterable[Part], asked: Asked) -> Iterator[Receipt]:
        context = multiprocessing.get_context("spawn")
        stop = context.Event()
        pool = ProcessPoolExecutor(self.workers, context, initializer=_start, initargs=(setup, stop))
        waiting: deque[Future[Receipt | None]] = deque()
        upcoming = iter(parts)
        try:
            while True:
                while not asked() and len(waiting) < 2 * self.workers and (part := next(upcoming, None)) is not None:
                    with _signals_held():
                        waiting.append(pool.submit(_make, part))
                if not waiting:
                    return
                while not wait([waiting[0]], POLL).done:
                    if asked():
                        stop.set()
                if asked():
                    stop.set()
                if (receipt := waiting.popleft().result()) is not None:
                    yield receipt
        except BrokenProcessPool:
            raise RenderFault(
                "a worker process died, perhaps for want of memory; the same command goes on where it stopped"
            ) from None
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Processes started meanwhile never see the signals that ask to stop: the parent tells them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_state: tuple[Setup, Worker, Event] | None = None
"""What this process was made for, if it is a worker."""


def _start(setup: Setup, stop: Event) -> None:
    global _state
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _state = setup, setup.worker(), stop


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for ever, and write into a folder that another run has taken up."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def _make(part: Part) -> Receipt | None:
    if _state is None:
        raise RuntimeError("this process is no worker")
    setup, worker, stop = _state
    return setup.make(worker, part, stop.is_set)
