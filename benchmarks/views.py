"""How much of a training step goes into rendering the degraded views.

python benchmarks/views.py --json FILE

Every method at the default sizes (batch, patch, networks) on the views of recipes/ablation_noise_jpeg.yaml: steps on
batches that are there already, and steps that render their views first, as a training without worker processes does.
They take turns, so a busy machine slows both; a share is the median over the turns of what views add to a step, as a
part of the step.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator

import torch
from report import ROOT, Target, arguments, at_most, publish

from dirlearn.baselines import AutoEncoder, DecodedRepresentation, Restorer
from dirlearn.datasets.dataset import build_dataset
from dirlearn.refine import Refine
from dirlearn.represent import Represent
from dirlearn.settings import Data, Networks, Refinement, StageOne, Training
from dirlearn.training.data import Batch, Stream
from dirlearn.training.job import Job
from dirlearn.views import load_views

LARGEST = 0.15


def jobs() -> dict[str, tuple[Job, Training]]:
    networks, stage1, stage2 = Networks(), StageOne(), Refinement()
    first = Represent(networks, stage1, patch())
    found = first.representation
    return {
        "stage1": (first, stage1),
        "refine": (Refine(found, stage2), stage2),
        "r0": (DecodedRepresentation(found, networks), stage2),
        "autoencoder": (AutoEncoder(networks), stage2),
        "restorer": (Restorer("nafnet"), stage2),
    }


def patch() -> int:
    return int(Data.model_fields["patch"].default)


def steps(job: Job, source: Iterator[Batch], optimiser: torch.optim.Optimizer) -> float:
    """Seconds a step."""
    start, count = time.perf_counter(), 0
    for batch in source:
        job(batch, count).loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        count += 1
    return (time.perf_counter() - start) / count


def measured(name: str, job: Job, stream: Stream, turns: int, length: int) -> dict[str, float | str]:
    optimiser = torch.optim.Adam(p for p in job.parameters() if p.requires_grad)
    kept = [stream[number] for number in range(length)]
    ways: dict[str, Callable[[], Iterator[Batch]]] = {
        "no views": lambda: iter(kept),
        "views": lambda: map(stream.complete, kept),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(turns + 1):
        for way, source in ways.items():
            took = steps(job, source(), optimiser)
            if turn:  # the first turn warms up
                times[way].append(took)

    shares = [1 - bare / took for bare, took in zip(times["no views"], times["views"], strict=True)]
    row: dict[str, float | str] = {"method": name}
    row |= {f"{way} [ms]": 1000 * statistics.median(found) for way, found in times.items()}
    return row | {"share of views": statistics.median(shares)}


def main() -> int:
    parser = arguments(__doc__ or "", data=False)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="of a turn")
    options = parser.parse_args()
    dataset = build_dataset({"dead_leaves": {"count": 16, "size": 2 * patch()}})
    views, _ = load_views("ablation_noise_jpeg.yaml", ROOT / "recipes")
    rows = []
    for name, (job, training) in jobs().items():
        stream = Stream(dataset, views, job.needs, 1, training.batch, patch())
        rows.append(measured(name, job, stream, options.turns, options.steps))
    targets: list[Target] = [
        at_most(f"{row['method']}: views, part of a step", float(row["share of views"]), LARGEST) for row in rows
    ]
    return publish(rows, targets, options.json, f"Views in a step, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    sys.exit(main())
