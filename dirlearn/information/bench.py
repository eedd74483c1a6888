"""Every estimator on variables of known mutual information, while it learns: bias, variance and a plot.

The staircase of Poole et al. 2019 and Song and Ermon 2020: 20 pairs of correlated Gaussians whose mutual information
rises in steps, the critic learning on, a new batch at each step of the training. Torch is imported by `run` only, so
that a command line may import this module for its help.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import typer

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.progress import Progress

    from dirlearn.critics.critic import Critic
    from dirlearn.information.estimator import Estimator, SampleEstimator
    from dirlearn.information.worlds import Map

LEVELS: Final = (2.0, 4.0, 6.0, 8.0, 10.0)
"""Mutual information of the stairs [nats]."""
CRITICS: Final = ("separable", "concatenated")
WORLDS: Final = ("gaussian", "cubic")
SCORED: Final = 500
"""Bias and variance are those of as many last steps of a level, where it has twice as many."""
SAMPLES: Final = 2000
"""An estimator without a critic gets as many samples at a time."""
REPEATS: Final = 5
SPAN: Final = 200
"""Steps over which the plot averages."""
COLUMNS: Final = 5
"""Panels of the plot side by side."""


@dataclass(frozen=True)
class Row:
    """One estimator at one level.

    Attributes
    ----------
    information
        True mutual information [nats].
    truth
        What the estimator should say, in its own unit.
    mean, bias, variance, mse
        Of the last steps of the level, one batch each.
    """

    estimator: str
    unit: str
    bound: str
    critic: str
    world: str
    information: float
    truth: float
    mean: float
    bias: float
    variance: float
    mse: float
    steps: int


@dataclass
class Outcome:
    """What a run measured: a row a level, and the curves by (estimator, critic, world)."""

    rows: list[Row] = field(default_factory=list)
    curves: dict[tuple[str, str, str], NDArray[np.float64]] = field(default_factory=dict)


def run(
    output: Path,
    *,
    estimators: Sequence[str] | None = None,
    critics: Sequence[str] = CRITICS,
    worlds: Sequence[str] = WORLDS,
    levels: Sequence[float] = LEVELS,
    dimensions: int = 20,
    steps: int = 4000,
    batch: int = 64,
    learning_rate: float = 5e-4,
    seed: int = 0,
    quick: bool = False,
    progress: bool = True,
) -> Outcome:
    """Train each estimator up the staircase; write ``mi_bench.json`` and ``mi_bench.png`` into a folder.

    Parameters
    ----------
    output
        The folder; made, if it is not there.
    estimators
        Names; all that are installed, if not given. One that takes log densities learns with `gaussian_conditional`,
        one that takes samples gets them without training.
    critics
        Critics of vectors, for the estimators that take scores. `concatenated` takes some ten times as long.
    worlds
        ``gaussian``, ``cubic``.
    levels
        Mutual information [nats].
    steps
        Of training, a level.
    batch
        Pairs a step.
    quick
        400 steps a level, one critic and one world, to see that it runs.

    Returns
    -------
    Outcome
        What the files hold.

    Raises
    ------
    isp_sim.registry.UnknownPlugin, isp_sim.registry.BrokenPlugin
        If a name is not installed.
    ValueError
        If a critic is not one for vectors, or if a world is not known.
    ImportError
        If there is no matplotlib to draw with.
    """
    from isp_sim import registry

    if find_spec("matplotlib") is None:
        raise ImportError("the bench draws a plot, which needs matplotlib: pip install 'isp-sim[learn]'")
    if quick:
        steps, critics, worlds = min(steps, 400), list(critics)[:1], list(worlds)[:1]
    if unknown := sorted(set(worlds) - set(WORLDS)):
        raise ValueError(f"unknown world {unknown[0]!r}: needed are some of {', '.join(WORLDS)}")
    names = list(estimators) if estimators else registry.names("dirlearn.estimators")
    settings = {
        "dimensions": dimensions,
        "levels": list(levels),
        "steps": steps,
        "batch": batch,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    tasks = []
    for name in names:
        plugin = registry.load(name, "dirlearn.estimators")
        suited = {"scores": list(critics), "log_density": ["gaussian_conditional"]}.get(plugin.takes, [""])
        tasks += [(name, critic, world) for critic in suited for world in worlds]
    _check(critic for _, critic, _ in tasks)

    outcome = Outcome()
    with _bar(progress) as bar:
        for name, critic, world in tasks:
            task = bar.add_task(" ".join(filter(None, (name, critic, world))), total=len(levels) * steps)

            def advance(done: int, task: Any = task) -> None:
                bar.advance(task, done)

            values, part = _measured(name, critic, world, settings, advance)
            outcome.curves[name, critic, world] = values
            outcome.rows += part
    output.mkdir(parents=True, exist_ok=True)
    _write(output / "mi_bench.json", settings, outcome)
    plot(output / "mi_bench.png", outcome)
    return outcome


def _check(critics: Iterator[str]) -> None:
    from isp_sim import registry

    for name in sorted(set(filter(None, critics))):
        if registry.load(name, "dirlearn.critics").takes != "vectors":
            raise ValueError(f"critic {name!r} is for maps: the bench needs critics of vectors, such as separable")


@contextmanager
def _bar(shown: bool) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as bar:
        yield bar


def _measured(
    name: str, critic: str, world: Any, settings: dict[str, Any], advance: Callable[[int], None]
) -> tuple[NDArray[np.float64], list[Row]]:
    from dirlearn.component import build
    from dirlearn.information.estimator import SampleEstimator
    from dirlearn.information.worlds import entropy

    dimensions, levels, steps = settings["dimensions"], settings["levels"], settings["steps"]
    node: Any = {name: {"entropy": entropy(dimensions, world)}} if name == "ba" else name
    estimator = build("dirlearn.estimators", node)
    if isinstance(estimator, SampleEstimator):
        values = _from_samples(estimator, world, settings, advance)
    else:
        values = _trained(estimator, critic, world, settings, advance)
    rows = []
    for level, estimates in zip(levels, values, strict=True):
        truth = _truth(estimator, level, dimensions)
        last = estimates[-min(SCORED, max(len(estimates) // 2, 1)) :]
        bias, variance = float(last.mean() - truth), float(last.var())
        rows.append(
            Row(
                name,
                estimator.unit,
                estimator.bound,
                critic,
                world,
                level,
                truth,
                float(last.mean()),
                bias,
                variance,
                bias**2 + variance,
                steps if critic else 0,
            )
        )
    return values, rows


def _trained(
    estimator: Estimator, critic_name: str, world: Map, settings: dict[str, Any], advance: Callable[[int], None]
) -> NDArray[np.float64]:
    """The estimates, (levels, steps), each of a batch that the critic has not seen."""
    import torch

    from dirlearn.component import build
    from dirlearn.information.worlds import correlated, correlation
    from isp_sim.randomness import generator

    d, seed = settings["dimensions"], settings["seed"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(seed, critic_name, 0, "mi_bench", "weights").integers(2**63)))
        critic: Critic = build("dirlearn.critics", critic_name, r_channels=d, x_channels=d)
    weights = [*critic.parameters(), *estimator.parameters()]
    optimiser = torch.optim.Adam(weights, lr=settings["learning_rate"])
    rng = generator(seed, world, 0, "mi_bench", "samples")
    values = np.empty((len(settings["levels"]), settings["steps"]))
    for stair, level in enumerate(settings["levels"]):
        rho = correlation(level, d)
        for step in range(settings["steps"]):
            scores = critic(*correlated(rng, settings["batch"], d, rho, world))
            loss = -estimator.objective(scores)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
            optimiser.step()
            with torch.no_grad():
                values[stair, step] = estimator(scores).item()
            if step % 20 == 19:
                advance(20)
    return values


def _from_samples(
    estimator: SampleEstimator, world: Map, settings: dict[str, Any], advance: Callable[[int], None]
) -> NDArray[np.float64]:
    from dirlearn.information.worlds import correlated, correlation
    from isp_sim.randomness import generator

    rng, d = generator(settings["seed"], world, 0, "mi_bench", "samples"), settings["dimensions"]
    values = np.empty((len(settings["levels"]), REPEATS))
    for stair, level in enumerate(settings["levels"]):
        for repeat in range(REPEATS):
            values[stair, repeat] = estimator(*correlated(rng, SAMPLES, d, correlation(level, d), world)).item()
        advance(settings["steps"])
    return values


def _truth(estimator: Any, information: float, dimensions: int) -> float:
    """What the best critic gives: mutual information, or in units of `jsd` its value over very many pairs."""
    if estimator.unit == "nats":
        return information
    import torch

    from dirlearn.information.worlds import correlated, correlation, exact_ratio
    from isp_sim.randomness import generator

    rng, rho = generator(0, str(information), 0, "mi_bench", "truth"), correlation(information, dimensions)
    x, y = correlated(rng, 200_000, dimensions, rho)
    joint = exact_ratio(x, y, rho)
    product = exact_ratio(x, y.roll(1, 0), rho)
    value: float = estimator.estimate(joint, product, torch.ones(len(product), dtype=torch.bool)).item()
    return value


def _write(path: Path, settings: dict[str, Any], outcome: Outcome) -> None:
    import torch

    environment = {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }
    rows = [asdict(row) for row in outcome.rows]
    content = {"environment": environment, "settings": settings, "rows": rows}
    path.write_text(json.dumps(content, indent=1) + "\n")


def plot(path: Path, outcome: Outcome) -> None:
    """Draw the curves beside the truth, a panel for each estimator, critic and world. Needs matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(outcome.curves))
    rows = -(-len(outcome.curves) // columns)
    figure = Figure(figsize=(2.8 * columns, 2.4 * rows), layout="tight")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, key in zip(axes, outcome.curves, strict=False):
        _draw(axis, outcome, *key)
    for axis in axes[len(outcome.curves) :]:
        axis.set_visible(False)
    figure.savefig(path, dpi=110)


def _draw(axis: Any, outcome: Outcome, name: str, critic: str, world: str) -> None:
    curve = outcome.curves[name, critic, world]
    rows = [r for r in outcome.rows if (r.estimator, r.critic, r.world) == (name, critic, world)]
    values, length = curve.reshape(-1), curve.shape[1]
    at = np.arange(values.size) / length
    axis.plot(at, values, color="tab:blue", alpha=0.25, linewidth=0.5)
    axis.plot(at, _smooth(values, min(SPAN, max(length // 4, 1))), color="tab:blue", linewidth=1.2)
    truths = [row.truth for row in rows]
    axis.stairs(truths, np.arange(len(truths) + 1), baseline=None, color="black", linewidth=1.2)
    low, high = min(*truths, 0.0), max(*truths, 0.0)
    margin = 0.35 * (high - low) or 1.0
    axis.set_ylim(low - margin, high + margin)
    axis.set_title(f"{name} [{rows[0].unit}]\n{' '.join(filter(None, (critic, world)))}", fontsize=8)
    axis.set_xticks(np.arange(len(truths)) + 0.5, [f"{row.information:g}" for row in rows])
    axis.set_xlabel("true MI [nats]", fontsize=7)
    axis.tick_params(labelsize=7)


def _smooth(values: NDArray[np.float64], span: int) -> NDArray[np.float64]:
    """Exponential average of a span, from the first value on."""
    from scipy.signal import lfilter

    weight = 2 / (span + 1)
    smooth, _ = lfilter([weight], [1, weight - 1], values, zi=[(1 - weight) * values[0]])
    return np.asarray(smooth, dtype=np.float64)


def mi_bench(
    output: Annotated[Path, typer.Option("--output", "-o", help="folder for mi_bench.json and mi_bench.png")] = Path(
        "out/mi_bench"
    ),
    estimator: Annotated[list[str] | None, typer.Option(help="name of an estimator; all, if not given")] = None,
    critic: Annotated[list[str] | None, typer.Option(help="critic of vectors; separable and concatenated")] = None,
    world: Annotated[list[str] | None, typer.Option(help="gaussian, cubic; both, if not given")] = None,
    steps: Annotated[int, typer.Option(min=1, help="steps of training a level")] = 4000,
    batch: Annotated[int, typer.Option(min=2, help="pairs a step")] = 64,
    seed: Annotated[int, typer.Option(help="seed of samples and weights")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="400 steps a level, one critic and one world")] = False,
) -> None:
    """Train mutual information estimators where the truth is known; write bias, variance and a plot."""
    from rich.console import Console
    from rich.table import Table

    outcome = run(
        output,
        estimators=estimator,
        critics=critic or CRITICS,
        worlds=world or WORLDS,
        steps=steps,
        batch=batch,
        seed=seed,
        quick=quick,
    )
    console = Console()
    table = Table("estimator", "unit", "critic", "world", "MI", "truth", "mean", "bias", "variance", "MSE")
    for row in outcome.rows:
        numbers = (f"{v:.3f}" for v in (row.truth, row.mean, row.bias, row.variance, row.mse))
        table.add_row(row.estimator, row.unit, row.critic, row.world, f"{row.information:g}", *numbers)
    console.print(table)
    console.print(f"{output / 'mi_bench.json'}\n{output / 'mi_bench.png'}")
