"""What a run would make, how large and how long, by a measured sample; nothing is written."""

from __future__ import annotations

import shutil
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from isp_sim.recipe import Recipe
from isp_sim.render.job import output_folder
from isp_sim.render.manifest import Row, line
from isp_sim.render.plan import plan
from isp_sim.render.worker import Rendered, Settings, Worker

SAMPLE: Final = 8
"""Pictures that are rendered, evenly taken from all."""


@dataclass(frozen=True)
class Estimate:
    """What is to be expected.

    Attributes
    ----------
    pictures, shards
        To make; no shards where every picture is a file.
    measured
        Pictures that were rendered for the estimate.
    bytes
        On the disk, manifest included.
    seconds
        By the given number of workers, if each has a core.
    free
        Bytes that the output's disk has left.
    failed
        Rows of the pictures of the sample that failed.
    """

    pictures: int
    shards: int
    measured: int
    bytes: int
    seconds: float
    free: int
    failed: tuple[Row, ...]


def estimate(
    recipe: Recipe,
    *,
    views: int = 1,
    limit: int | None = None,
    workers: int = 1,
    settings: Settings | None = None,
    sample: int = SAMPLE,
) -> Estimate:
    """Render a sample in memory, and reckon.

    Raises
    ------
    InputFault, OutputFault
        If input or output can't be used.
    """
    folder = output_folder(recipe)
    tasks, _ = plan(recipe, views, limit)
    worker = Worker(recipe, folder, settings)
    per_shard = recipe.writer.shard_size
    count = min(sample, len(tasks))
    chosen = [tasks[i * len(tasks) // count] for i in range(count)]
    worker.render(chosen[:1])  # the first picture takes longer: it loads what all need
    size, failed = 0, []
    start = time.perf_counter()
    for task in chosen:
        (one,) = worker.render([task])
        if isinstance(one, Rendered):
            row = line(one.row)
            members = [*one.files.values(), row] if per_shard else []
            files = [] if per_shard else [*one.files.values()]
            size += sum(map(len, [*files, *one.views.values(), row])) + sum(map(_in_shard, members))
        else:
            failed.append(one)
            size += len(line(one))
    seconds = time.perf_counter() - start
    share = len(tasks) / count
    shards = 0 if per_shard is None else -(-len(tasks) // per_shard)
    return Estimate(
        len(tasks),
        shards,
        count,
        round(size * share) + shards * tarfile.RECORDSIZE // 2,
        seconds * share / min(workers, len(tasks)),
        shutil.disk_usage(_existing(folder)).free,
        tuple(failed),
    )


def _in_shard(data: bytes) -> int:
    """Bytes of a member with its header."""
    return tarfile.BLOCKSIZE * (1 - -len(data) // tarfile.BLOCKSIZE)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    absolute = folder.absolute()
    return next(path for path in (absolute, *absolute.parents) if path.is_dir())
