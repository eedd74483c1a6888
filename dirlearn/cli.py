"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

app = typer.Typer(
    help="Learns degradation-independent representations of pictures, and restores by them, from one YAML recipe.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class Exit(IntEnum):
    """What an exit code means."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    RECIPE = 3
    PLACES = 4
    INTERRUPTED = 130


def main() -> None:
    """Entry point of ``dirlearn``."""
    app()


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        out.print(f"dirlearn of isp-sim {version('isp-sim')}")
        raise typer.Exit


@app.callback()
def _every_command(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="say which")] = False,
) -> None: ...


GOES_ON = "the same command with --resume auto goes on after its newest checkpoint"


@contextmanager
def _errors(stopped: str = GOES_ON) -> Iterator[None]:
    """Turn what can go wrong into a message and an exit code; `stopped` is said of an interruption."""
    warnings.showwarning = lambda message, *_, **__: _say(f"warning: {message}", "yellow")
    try:
        yield
    except KeyboardInterrupt:
        _fail(f"stopped; {stopped}", Exit.INTERRUPTED)
    except Exception as error:
        _explain_error(error)
        raise


def _explain_error(error: Exception) -> None:
    """Exit with a message, if it is one of the errors that a user can mend."""
    from isp_sim.recipe import RecipeError
    from isp_sim.registry import BrokenPlugin, UnknownPlugin

    if isinstance(error, RecipeError):
        _say("\n".join(map(str, error.faults)))
        count = len(error.faults)
        _fail(f"{count} fault{'s' if count > 1 else ''}; nothing was computed", Exit.RECIPE)
    if isinstance(error, UnknownPlugin | BrokenPlugin):
        _fail(str(error), Exit.USAGE)
    if isinstance(error, ModuleNotFoundError) and error.name in LEARN:
        _fail(f"dirlearn needs {error.name}: pip install 'isp-sim[learn]'", Exit.USAGE)
    from dirlearn.datasets.dataset import DatasetFault
    from dirlearn.targets import TaskFault
    from dirlearn.training.checkpoint import CheckpointFault
    from dirlearn.training.loop import TrainingFault

    if isinstance(error, DatasetFault | CheckpointFault | TaskFault):
        _fail(str(error), Exit.PLACES)
    if isinstance(error, TrainingFault):
        _fail(str(error), Exit.FAILED)


LEARN = ("accelerate", "safetensors", "tensorboard", "torchmetrics", "matplotlib", "sklearn")


def _say(text: str, style: str = "") -> None:
    err.print(escape(text), style=style)


def _fail(text: str, code: Exit) -> None:
    _say(text, "bold red")
    raise typer.Exit(code)


class Progress:
    """A bar with rate and time left on a terminal; elsewhere a line now and then."""

    def __init__(self, quiet: bool = False) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[about]}"),
        )
        self.bars = Bars(*columns, console=err, disable=quiet or not err.is_terminal)
        self.quiet, self.tasks = quiet, dict[str, Any]()
        self.bars.start()

    def step(self, name: str, done: int, total: int, values: Mapping[str, float] | None) -> None:
        if name not in self.tasks:
            self.tasks[name] = self.bars.add_task(name, total=total, completed=done, rate="", about="")
        task = self.tasks[name]
        if values is None:
            self.bars.update(task, completed=done)
            return
        shown = " ".join(
            f"{k} {v:.4g}" for k, v in values.items() if "norm" not in k and k not in ("rate", "steps_per_second")
        )
        rate = values.get("steps_per_second")
        left = f", {(total - done) / rate:.0f} s left" if rate else ""
        self.bars.update(task, completed=done, rate=f"{rate:.2f} steps/s" if rate else "", about=shown)
        if not self.quiet and not err.is_terminal:
            _say(f"{name}: {done}/{total}, {rate or 0:.2f} steps/s{left}: {shown}")

    def say(self, text: str) -> None:
        self.bars.console.print(escape(text))

    def close(self) -> None:
        self.bars.stop()


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress]:
    progress = Progress(quiet)
    try:
        yield progress
    finally:
        progress.close()


RecipeArgument = Annotated[Path, typer.Argument(metavar="RECIPE", help="recipe file")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="folder of a run")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="a value in place of the recipe's: stage2.gamma1=5"),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="no progress and no table")]


@app.command()
def run(
    recipe: RecipeArgument,
    set: SetOption = None,
    resume: Annotated[str, typer.Option(help="auto: go on after the newest checkpoint; never: start anew")] = "never",
    quiet: QuietOption = False,
) -> None:
    """Train both stages and every method of a recipe, measure them, and write report.html.

    Under torchrun or `accelerate launch` on several devices. Exit code: 0 done, 1 a training can't go on, 2 wrong
    command line, 3 wrong recipe, 4 data or checkpoints can't be used, 130 interrupted.
    """
    if resume not in ("auto", "never"):
        _fail(f"--resume takes auto or never; found {resume!r}", Exit.USAGE)
    with _errors():
        from dirlearn import recipe as recipes
        from dirlearn.run import Runner, is_main
        from dirlearn.training.loop import Silent

        loaded = recipes.read(recipe, set or [])
        with _progress(quiet or not is_main()) as progress:
            reporter = progress if is_main() else Silent()  # one of several processes speaks
            results = Runner(loaded, reporter, resume == "auto").everything()
        if results and not quiet:
            _table(results)
            if "probes" in results:
                _probed(results["probes"])
            out.print(escape(str(loaded.folder / "report.html")))


@app.command("tune-isp")
def tune_isp(
    recipe: RecipeArgument,
    set: SetOption = None,
    resume: Annotated[str, typer.Option(help="auto: go on after the newest trial; never: start anew")] = "never",
    quiet: QuietOption = False,
) -> None:
    """Tune the ISPs of a recipe for its task: its rows `isp`, and the rows whose heads they start from, alone.

    Prints what was found; report.html has the curves of every parameter. Exit codes as of `run`.
    """
    if resume not in ("auto", "never"):
        _fail(f"--resume takes auto or never; found {resume!r}", Exit.USAGE)
    with _errors():
        from dirlearn import recipe as recipes
        from dirlearn.developing import DevelopedTask
        from dirlearn.run import Runner, load_method

        loaded = recipes.read(recipe, set or [])
        wanted = {m.name for m in loaded.methods if m.kind == "isp"}
        if not wanted:
            _fail(f"{recipe} has no row of an ISP: methods: {{NAME: {{isp: {{after: ..., stages: ...}}}}}}", Exit.USAGE)
        wanted |= {getattr(m.training, "head_from", None) or m.name for m in loaded.methods if m.name in wanted}
        loaded = loaded.only(wanted)
        with _progress(quiet) as progress:
            results = Runner(loaded, progress, resume == "auto").everything()
        if not quiet:
            _table(results)
            for method in loaded.methods:
                job = load_method(loaded, method.name) if method.kind == "isp" else None
                if isinstance(job, DevelopedTask):
                    for name, value in job.said().items():
                        out.print(escape(f"{method.name}: {name.removeprefix('isp/')} {float(value):.4g}"))
            out.print(escape(str(loaded.folder / "report.html")))


@app.command()
def validate(
    recipes: Annotated[list[Path], typer.Argument(metavar="RECIPE...", help="recipe files")], set: SetOption = None
) -> None:
    """Check recipes from end to end, without reading a picture. Prints every fault at once."""
    wrong = 0
    with _errors():
        from dirlearn import recipe as module
        from isp_sim.recipe import RecipeError

        for path in recipes:
            try:
                module.read(path, set or [])
                out.print(f"{escape(str(path))}: valid")
            except RecipeError as error:
                _say("\n".join(map(str, error.faults)))
                wrong += 1
    if wrong:
        raise typer.Exit(Exit.RECIPE)


@app.command()
def evaluate(
    run: RunArgument,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", "-r", help="isp_sim recipe that degrades, in place of the run's")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", "-d", help="folder of pictures, in place of the run's sets")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Measure every method of a run again, on its own test sets or on others."""
    with _errors():
        from dirlearn.datasets.dataset import build_dataset
        from dirlearn.evaluate import RESULTS, evaluate_run
        from dirlearn.report import write_report
        from dirlearn.run import open_run
        from dirlearn.views import load_views

        loaded = open_run(run)
        sets = None if data is None else {data.name: build_dataset({"images": {"path": str(data)}})}
        degradations = None if recipe is None else {recipe.stem: load_views(str(recipe.resolve()), Path())[0]}
        own = sets is None and degradations is None
        name = RESULTS if own else f"results-{data.name if data else 'own'}-{recipe.stem if recipe else 'own'}.json"
        with _progress(quiet) as progress:
            results = evaluate_run(loaded, progress, sets, degradations, name)
        if own:
            write_report(run)
        _table(results)


def _table(results: dict[str, Any]) -> None:
    from rich.table import Table

    from dirlearn.metrics.picture_metric import columns

    scores = list(dict.fromkeys(name for row in results["rows"] for name in row.get("scores", ())))
    measures = columns(results)
    labels = (facts["label"] for facts in measures.values())
    table = Table("set", "degradation", "method", *labels, *scores, "pictures", box=None, pad_edge=False)
    for row in results["rows"]:
        table.add_row(
            *(escape(row[k]) for k in ("set", "degradation", "method")),
            *(f"{row[name]:.{facts['digits']}f}" for name, facts in measures.items()),
            *(_percent(row.get("scores", {}).get(name)) for name in scores),
            str(row["pictures"]),
        )
    out.print(table)


def _percent(score: float | None) -> str:
    return "" if score is None else f"{100 * score:.2f} %"


@app.command()
def robustness(
    output: Annotated[Path, typer.Option("--output", "-o", help="folder to write to; what is there is not done again")],
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="folder of a run")] = None,
    head: Annotated[
        list[str] | None,
        typer.Option("--head", "-H", metavar="YAML", help="a head with `weights`, beside RUN or alone"),
    ] = None,
    method: Annotated[list[str] | None, typer.Option("--method", "-m", help="of RUN; all if none")] = None,
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="data set as YAML, or folder of pictures; RUN's if not given")
    ] = None,
    degradation: Annotated[list[str] | None, typer.Option(help="name of a degradation; all if none")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="pictures of each set; as RUN says if not given")] = None,
    reference: Annotated[str | None, typer.Option(help="model by whose errors those of the others are divided")] = None,
    quiet: QuietOption = False,
) -> None:
    """Hold methods and heads against every degradation at severities 1 to 5: metric, curves, mCE.

    Writes robustness.json, robustness.png and figures.jsonl. Stopped, the same command goes on.
    """
    if run is None and (not head or data is None):
        _fail("give the folder of a run, or --head with --data", Exit.USAGE)
    if run is None and method:
        _fail("--method names one of a run; give its folder", Exit.USAGE)
    with _errors(stopped="the same command goes on"):
        from dirlearn import robustness as module
        from dirlearn.recipe import read_part
        from dirlearn.run import open_run
        from dirlearn.settings import Evaluation

        loaded = None if run is None else open_run(run)
        models = [] if loaded is None else module.models_of_run(loaded, method or ())
        models += module.models_of_heads([read_part(text, "dirlearn.heads", "--head") for text in head or ()])
        settings = Evaluation() if loaded is None else loaded.evaluation
        settings = settings.model_copy(update={} if limit is None else {"limit": limit})
        sets = module.data_sets(loaded, data)
        device = "auto" if loaded is None else loaded.run.device
        with _progress(quiet) as progress:
            results = module.measure_robustness(
                models, sets, settings, output, degradation or (), reference, device, progress
            )
        _robust(results, quiet)
        out.print(escape(str(output / module.PICTURE)))


def _robust(results: dict[str, Any], quiet: bool) -> None:
    from rich.table import Table

    from dirlearn.robustness import remarks, tables

    for text in remarks(results):
        _say(text, "yellow")
    for columns, rows in () if quiet else tables(results):
        table = Table(*map(escape, columns), box=None, pad_edge=False)
        for row in rows:
            table.add_row(*map(escape, row))
        out.print(table)
        out.print()


@app.command()
def restore(
    run: RunArgument,
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURES...", help="files, or folders of pictures")],
    output: Annotated[Path, typer.Option("--output", "-o", help="folder to write to")],
    method: Annotated[
        str | None, typer.Option("--method", "-m", help="which method; the last of the recipe if not given")
    ] = None,
    tile: Annotated[int, typer.Option(min=64, help="larger pictures are restored in tiles of this side [px]")] = 512,
    halo: Annotated[int, typer.Option(min=0, help="edge of a tile that is thrown away [px]")] = 64,
) -> None:
    """Restore pictures of any size."""
    with _errors():
        from dirlearn.restore import restore_files
        from dirlearn.run import open_run

        count = restore_files(open_run(run), pictures, output, method, tile, halo, lambda text: _say(text))
        out.print(escape(f"{count} restored: {output}"))


@app.command()
def embed(
    run: RunArgument,
    data: Annotated[
        Path | None, typer.Option("--data", "-d", help="folder of pictures, in place of the run's held-back ones")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="folder to write to; RUN/embedding if not given")
    ] = None,
    method: Annotated[
        str | None, typer.Option("--method", "-m", help="whose r+; the last with one, if not given")
    ] = None,
    scenes: Annotated[int, typer.Option(min=1, max=20, help="scenes that are drawn")] = 4,
    copies: Annotated[int, typer.Option(min=1, max=1000, help="degraded copies of each that are drawn")] = 200,
    limit: Annotated[int, typer.Option(min=1, help="pictures that are probed at the most")] = 64,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="with --data: degrade nothing; only write vectors.npz, a row a picture")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Draw latents of held-back scenes by t-SNE, and probe them: what they tell of degradation and of scene.

    Writes tsne.png, points.csv, points.json and vectors.npz. Probes of the run's own pictures also go into its
    results.json and report.html; those of others into probes.json.
    """
    if as_is and data is None:
        _fail("--as-is takes the pictures of --data", Exit.USAGE)
    with _errors():
        from dirlearn.embed import FOLDER, embed_files, look_again, write_probes
        from dirlearn.run import open_run
        from dirlearn.settings import Shown

        loaded, place = open_run(run), output or run / FOLDER
        if as_is and data is not None:
            count = embed_files(loaded, [data], place / "vectors.npz", method)
            out.print(escape(f"{count} pictures: {place / 'vectors.npz'}"))
            return
        with _progress(quiet) as progress:
            shown = Shown(scenes=scenes, copies=copies)
            probes = look_again(loaded, progress, data, place, shown, method, limit)
        write_probes(run, probes, place, own=data is None)
        if not quiet:
            _probed(probes)
            out.print(escape(str(place)))


def _probed(probes: dict[str, Any]) -> None:
    from rich.table import Table

    names = list(dict.fromkeys(name for own in probes["latents"].values() for name in own.get("r2", {})))
    table = Table("latent", *(f"R2 {escape(n)}" for n in names), "scene found", "active", box=None, pad_edge=False)
    for latent, own in probes["latents"].items():
        shares = [[v for v in own.get("r2", {}).get(n, {}).values() if v is not None] for n in names]
        table.add_row(
            escape(latent),
            *(f"{round(max(found), 2) + 0.0:.2f}" if found else "-" for found in shares),
            f"{found:.1%}" if (found := own.get("retrieval", {}).get("spatial")) is not None else "-",
            (f"{own['active']:.0%}" + (" collapsed" if own["collapsed"] else "")) if "active" in own else "-",
        )
    out.print(table)


@app.command()
def export(
    run: RunArgument,
    method: Annotated[
        str | None, typer.Option("--method", "-m", help="which method; the last of the recipe if not given")
    ] = None,
    format: Annotated[str, typer.Option("--format", "-f", help="torch, onnx or both")] = "both",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="folder to write to; RUN/export/METHOD if not given")
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="fix height and width, as in 720x1280 [px]")] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="largest difference that passes, of pictures in [0, 1]")
    ] = 1e-4,
) -> None:
    """Write a method as one graph that needs no dirlearn: .pt2, ONNX. Compared with the networks before it is kept."""
    sides = size.split("x") if size else []
    if format not in ("torch", "onnx", "both") or (
        size and not (len(sides) == 2 and all(s.isdigit() and int(s) for s in sides))
    ):
        _fail(f"--format takes torch, onnx or both, --size HxW; found {format!r}, {size!r}", Exit.USAGE)
    with _errors():
        from rich.table import Table

        from dirlearn.export import FILES, export_method
        from dirlearn.run import open_run

        wanted = [kind for kind in FILES if format in (kind, "both")]
        fixed = (int(sides[0]), int(sides[1])) if sides else None
        place, differences = export_method(open_run(run), method, output, wanted, fixed, tolerance)
        table = Table("file", "pictures", "size", "largest difference", "mean", box=None, pad_edge=False)
        for d in differences:
            numbers = (str(d.batch), f"{d.height}x{d.width}", f"{d.largest:.2e}", f"{d.mean:.2e}")
            table.add_row(FILES[d.format], *numbers)
        out.print(table)
        out.print(escape(str(place)))


@app.command(
    "mi-bench",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def mi_bench(context: typer.Context) -> None:
    """Train mutual information estimators where the truth is known."""
    with _errors():
        from importlib import import_module

        try:
            bench = import_module("dirlearn.information.bench").mi_bench
        except (ModuleNotFoundError, AttributeError):
            _fail("this installation has no dirlearn.information.bench", Exit.USAGE)
        own = typer.Typer(rich_markup_mode=None, add_completion=False)
        own.command()(bench)
        own(context.args, prog_name="dirlearn mi-bench")


data_app = typer.Typer(help="What recipes learn from and are measured on.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")


@data_app.command("check")
def check_data(
    recipe: RecipeArgument,
    set: SetOption = None,
    read: Annotated[bool, typer.Option("--read", help="also read every picture and check every label")] = False,
) -> None:
    """Say what is in the data sets of a recipe, and how to get those that are missing."""
    with _errors():
        from dirlearn import recipe as recipes
        from dirlearn.datasets import check

        loaded = recipes.read(recipe, set or [])
        faults = check.check_data(loaded.data, loaded.evaluation, read, lambda text: out.print(escape(text)))
    if faults:
        raise typer.Exit(Exit.PLACES)


plugin_app = typer.Typer(help="Check a plugin.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(plugin_app, name="plugin")


@plugin_app.command("check")
def check_plugin(
    name: Annotated[str, typer.Argument(help="name of an installed part, as `list` shows it; or group/name")],
    parameters: Annotated[
        str | None, typer.Option("--parameters", "-p", metavar="JSON", help='such as {"width": 8}; see `show NAME`')
    ] = None,
) -> None:
    """Run the conformance kit on an estimator, a critic, a head or a metric."""
    try:
        given = json.loads(parameters) if parameters else None
    except ValueError as error:
        _fail(f"--parameters is no JSON: {error}", Exit.USAGE)
    if given is not None and not isinstance(given, dict):
        _fail(f"--parameters takes a mapping; found {parameters}", Exit.USAGE)
    with _errors():
        from dirlearn import testing
        from isp_sim.parameters import ParameterFaults

        group, _, short = name.rpartition("/")
        try:
            report = testing.check(
                short, group=f"dirlearn.{group}" if group else None, parameters=[] if given is None else [given]
            )
        except (TypeError, ParameterFaults) as error:
            _fail(str(error), Exit.USAGE)
        out.print(escape(str(report)))
    if not report.passed:
        raise typer.Exit(Exit.FAILED)


@app.command("list")
def list_parts(
    group: Annotated[str | None, typer.Argument(help="encoders, alignments, estimators, ...")] = None,
) -> None:
    """List what is installed, by group."""
    from dirlearn.groups import GROUPS
    from isp_sim import registry

    groups = {name.rpartition(".")[2]: name for name in GROUPS}
    if group is not None and group not in groups:
        _fail(f"no group {group!r}; there are {', '.join(groups)}", Exit.USAGE)
    note = "" if _learning() else "   (needs pip install 'isp-sim[learn]')"
    for short, name in groups.items():
        if group in (None, short):
            if group is None:
                out.print(f"[bold]{short}[/]{escape(note)}")
            for plugin in registry.names(name):
                origin = registry.origin(plugin, name)
                out.print(escape(f"  {plugin}" + ("" if origin == "isp-sim" else f"   ({origin})")))


def _learning() -> bool:
    """Whether the extra [learn] is installed."""
    from importlib.util import find_spec

    return all(find_spec(name) is not None for name in ("accelerate", "safetensors", "torchmetrics"))


@app.command()
def show(name: Annotated[str, typer.Argument(help="name of a part, as `list` shows it; or group/name")]) -> None:
    """Show a part: what it does, its parameters with bounds, its source."""
    with _errors():
        import inspect

        from dirlearn.groups import GROUPS
        from isp_sim import registry

        group, _, short = name.rpartition("/")
        among = [g for g in GROUPS if g.rpartition(".")[2] == group] if group else list(GROUPS)
        homes = [g for g in among if short in registry.names(g)]
        if not homes:
            raise registry.UnknownPlugin(short, tuple(among or GROUPS))
        for home in homes:
            plugin = registry.load(short, home)
            out.print(f"[bold]{escape(home.rpartition('.')[2])}/{escape(short)}[/]\n")
            out.print(escape(inspect.getdoc(plugin) or "no description"))
            if source := getattr(plugin, "source", ""):
                out.print(escape(f"\nsource  {source}"))
            _parameters(plugin.Params)
            out.print()


def _parameters(model: Any) -> None:
    from rich.table import Table

    if not model.model_fields:
        return
    table = Table("parameter", "default", "meaning", box=None, pad_edge=False)
    for parameter, field in model.model_fields.items():
        default = "required" if field.is_required() else json.dumps(field.get_default())
        table.add_row(parameter, escape(default), escape(field.description or ""))
    out.print()
    out.print(table)


if __name__ == "__main__":
    main()
