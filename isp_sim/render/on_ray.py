"""Who makes the parts: a Ray cluster whose machines share the input and the output folder."""

from __future__ import annotations

import pickle
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

import torch

from isp_sim.render.atomic import remove_parts
from isp_sim.render.engine import POLL, Engine, Setup
from isp_sim.render.output import Part, Receipt
from isp_sim.render.stop import SIGNALS, Asked
from isp_sim.render.worker import RenderFault, Worker

ATTEMPTS: Final = 3
"""How often a part whose machine is lost is made again: it is written whole or not at all, so that does no harm."""


class OnRay(Engine):
    """A Ray cluster: the one that RAY_ADDRESS names, else this machine. Descriptions go out, receipts come back."""

    part_size = 16

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

    def run(self, setup: Setup, parts: Iterable[Part], asked: Asked) -> Iterator[Receipt]:
        try:
            import ray
        except ImportError:
            raise RenderFault("--engine ray needs Ray: pip install 'isp-sim[ray]'") from None
        started_here = not ray.is_initialized()
        if started_here:
            with _handlers_kept():
                ray.init(log_to_driver=False, include_dashboard=False)
        try:
            yield from self._run(ray, setup, parts, asked)
        finally:
            if started_here:
                ray.shutdown()
            remove_parts(setup.folder)  # of machines that were lost

    def _run(self, ray: Any, setup: Setup, parts: Iterable[Part], asked: Asked) -> Iterator[Receipt]:
        remote = ray.remote(num_cpus=1, max_retries=ATTEMPTS)(_make)
        shared = ray.put(pickle.dumps(setup))
        waiting: list[Any] = []
        upcoming = iter(parts)
        while True:
            while not asked() and len(waiting) < 2 * self.workers and (part := next(upcoming, None)) is not None:
                waiting.append(remote.remote(shared, part))
            if not waiting:
                return
            done, waiting = ray.wait(waiting, timeout=POLL)
            for reference in done:
                try:
                    yield ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from None
                except ray.exceptions.RayError as error:
                    raise RenderFault(f"Ray lost a worker for good: {error}") from None
            if asked():
                for reference in waiting:
                    ray.cancel(reference, force=True)
                return


def _make(setup: bytes, part: Part) -> Receipt | None:
    made, worker = _worker(setup)
    return made.make(worker, part, lambda: False)


@lru_cache(maxsize=1)
def _worker(setup: bytes) -> tuple[Setup, Worker]:
    """The worker of this process, made once."""
    torch.set_num_threads(1)
    made: Setup = pickle.loads(setup)
    return made, made.worker()


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself when it starts; a run's own wish to stop has to get through."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
