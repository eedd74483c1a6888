"""Every estimator of mutual information beside the truth, while its critic learns.

python benchmarks/mi_bench.py --json FILE --picture FILE

The staircase of `dirlearn mi-bench`: 20 pairs of correlated Gaussians, 2 to 10 nats, one seed. Bias and variance are
those of the last 500 steps of a level, a batch each. The targets are what the literature says of each estimator.
"""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

from report import Target, arguments, at_least, at_most, publish

from dirlearn.information.bench import LEVELS, Outcome, Row, run
from isp_sim import registry

GROUP = "dirlearn.estimators"


def targets(outcome: Outcome, batch: int) -> list[Target]:
    at: dict[tuple[str, float], Row] = {(row.estimator, row.information): row for row in outcome.rows}
    first, last = LEVELS[0], LEVELS[-1]
    spread = {name: math.sqrt(at[name, last].variance) for name in ("nwj", "dv", "infonce", "smile")}
    rising = min(at["jsd", high].mean - at["jsd", low].mean for low, high in pairwise(LEVELS))
    bias = {(row.estimator, row.information): row.bias for row in outcome.rows}
    learnt = max(abs(bias[name, first]) for name in ("nwj", "dv", "infonce"))
    beside = abs(bias["smile", last] / bias["infonce", last])
    return [
        at_most("infonce at 10 nats, over log K [nats]", at["infonce", last].mean - math.log(batch), 0),
        at_least("infonce at 10 nats, part of log K", at["infonce", last].mean / math.log(batch), 0.8),
        at_least("nwj at 10 nats, deviation over that of infonce", spread["nwj"] / spread["infonce"], 5),
        at_most("smile at 10 nats, deviation over that of nwj", spread["smile"] / spread["nwj"], 0.5),
        at_most("smile at 10 nats, |bias| over that of infonce", beside, 0.5),
        at_least("jsd, its smallest rise from a level to the next [jsd]", rising, 0),
        at_most("nwj, dv and infonce at 2 nats, largest |bias| [nats]", learnt, 0.5),
        at_least("club, its smallest bias: an upper bound [nats]", min(bias["club", level] for level in LEVELS), 0),
        at_most("ba, its largest bias: a lower bound [nats]", max(bias["ba", level] for level in LEVELS), 0),
        at_most("gaussian, largest |bias| [nats]", max(abs(bias["gaussian", level]) for level in LEVELS), 0.3),
        at_most("ksg at 10 nats, part of the truth", at["ksg", last].mean / last, 0.7),
    ]


def main() -> int:
    parser = arguments(__doc__ or "", data=False)
    parser.add_argument("--picture", type=Path, help="file to write the plot to")
    parser.add_argument("--steps", type=int, default=4000, help="of training, a level")
    parser.add_argument("--batch", type=int, default=64, help="pairs a step")
    parser.add_argument("--seed", type=int, default=0, help="of samples and weights")
    options = parser.parse_args()
    names = [name for name in registry.names(GROUP) if registry.origin(name, GROUP) == "isp-sim"]
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(
            Path(folder),
            estimators=names,
            critics=["separable"],
            worlds=["gaussian"],
            steps=options.steps,
            batch=options.batch,
            seed=options.seed,
        )
        if options.picture is not None:
            options.picture.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(folder) / "mi_bench.png", options.picture)
    rows = [{**asdict(row), "batch": options.batch, "seed": options.seed} for row in outcome.rows]
    title = f"{options.steps} steps a level, batches of {options.batch}, seed {options.seed}"
    return publish(rows, targets(outcome, options.batch), options.json, title)


if __name__ == "__main__":
    sys.exit(main())
