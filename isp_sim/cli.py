"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from isp_sim.ledger import Entry
    from isp_sim.recipe import Recipe
    from isp_sim.render.estimate import Estimate
    from isp_sim.render.invert import Inversion
    from isp_sim.render.job import Summary

app = typer.Typer(
    help="A camera ISP simulator: photos back to RAW, sensor noise, development and compression, from one YAML recipe.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
plugins = typer.Typer(help="Write a plugin, and check one.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(plugins, name="plugin")
camera_profiles = typer.Typer(help="Camera profiles: list, show, import.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(camera_profiles, name="cameras")

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class Exit(IntEnum):
    """What an exit code means."""

    DONE = 0
    SOME_FAILED = 1
    USAGE = 2
    RECIPE = 3
    PLACES = 4
    INTERRUPTED = 130
    TERMINATED = 143


class EngineName(StrEnum):
    """Who renders."""

    local = "local"
    ray = "ray"


class Form(StrEnum):
    """Kinds of files that pictures are written to."""

    png = "png"
    tiff = "tiff"
    npy = "npy"
    dng = "dng"


def main() -> None:
    """Entry point of ``isp-sim``."""
    app()


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        out.print(f"isp-sim {version('isp-sim')}")
        raise typer.Exit


@app.callback()
def _every_command(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="say which")] = False,
) -> None: ...


@contextmanager
def _errors() -> Iterator[None]:
    """Turn what can go wrong into a message and an exit code."""
    warnings.showwarning = lambda message, *_, **__: _say(f"warning: {message}", "yellow")
    try:
        yield
    except KeyboardInterrupt:
        _fail("stopped; the same command goes on where it stopped", Exit.INTERRUPTED)
    except Exception as error:
        _explain_error(error)
        raise


def _explain_error(error: Exception) -> None:
    """Exit with a message, if it is one of the errors that a user can mend. The types are imported only now, so
    that commands that go well do not wait for them."""
    from isp_sim.calibration import CalibrationFault
    from isp_sim.cameras.loaders import LoaderFault
    from isp_sim.cameras.profile import ProfileFault
    from isp_sim.formats.reader import InputFault
    from isp_sim.recipe import RecipeError
    from isp_sim.registry import BrokenPlugin, UnknownPlugin
    from isp_sim.render.invert import OptionFault
    from isp_sim.render.manifest import OutputFault
    from isp_sim.render.stop import Stopped
    from isp_sim.render.worker import RenderFault

    if isinstance(error, RecipeError):
        _say("\n".join(map(str, error.faults)))
        count = len(error.faults)
        _fail(f"{count} fault{'s' if count > 1 else ''}; nothing was rendered", Exit.RECIPE)
    if isinstance(error, InputFault | OutputFault | LoaderFault | CalibrationFault):
        _fail(str(error), Exit.PLACES)
    if isinstance(error, UnknownPlugin | BrokenPlugin | OptionFault | ProfileFault):
        _fail(str(error), Exit.USAGE)
    if isinstance(error, RenderFault):
        _fail(str(error), Exit.SOME_FAILED)
    if isinstance(error, Stopped):
        _fail(str(error), 128 + error.number)


def _say(text: str, style: str = "") -> None:
    # file names may hold what a terminal takes for commands
    shown = "".join(c if c == "\n" or c.isprintable() else repr(c)[1:-1] for c in text)
    err.print(escape(shown), style=style)


def _fail(text: str, code: int) -> None:
    _say(text, "bold red")
    raise typer.Exit(code)


RecipeArgument = Annotated[Path, typer.Argument(metavar="RECIPE", help="recipe file")]
InputOption = Annotated[Path | None, typer.Option("--input", "-i", help="file or folder, in place of the recipe's")]
SeedOption = Annotated[int | None, typer.Option(min=0, help="seed, in place of the recipe's")]


def _recipe(path: Path, input: Path | None = None, output: Path | None = None, seed: int | None = None) -> Recipe:
    from isp_sim import recipe

    found = recipe.read(path)
    for warning in found.warnings:
        _say(f"warning: {warning}", "yellow")
    return found.with_places(None if input is None else str(input), None if output is None else str(output), seed)


@app.command()
def render(
    recipe: Annotated[Path, typer.Option("--recipe", "-r", help="recipe file")],
    input: InputOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="folder, in place of the recipe's")] = None,
    seed: SeedOption = None,
    views: Annotated[int, typer.Option(min=1, help="renderings of each picture, with draws of their own")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="render only the first so many inputs")] = None,
    workers: Annotated[int, typer.Option(min=1, help="processes; the result does not depend on it")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="pictures at once; the result does not depend on it")] = 1,
    engine: Annotated[
        EngineName, typer.Option(help="who renders: processes of this machine, or a Ray cluster")
    ] = EngineName.local,
    device: Annotated[str, typer.Option(help="where to compute: cpu, cuda, cuda:1, ...")] = "cpu",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would be made, how large and how long; write nothing")
    ] = False,
    isolate: Annotated[
        bool, typer.Option("--isolate", help="decode in an expendable process: for files from strangers")
    ] = False,
    isolate_memory: Annotated[int, typer.Option(min=64, help="what decoding a picture may take there [MiB]")] = 4096,
    isolate_seconds: Annotated[float, typer.Option(min=0.1, help="how long it may take there [s]")] = 60.0,
    stages: Annotated[
        bool, typer.Option("--stages", help="also write the picture after every stage, to look at")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="stop at the first picture that fails")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace what another run left in the folder")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress and no summary")] = False,
) -> None:
    """Render a file or a folder. Run again, it goes on where it stopped.

    Exit code: 0 all is rendered, 1 some pictures failed (see manifest.jsonl), 2 wrong command line, 3 wrong recipe,
    4 input or output can't be used, 130 stopped by Ctrl-C, 143 stopped by SIGTERM: the same command goes on.
    """
    with _errors():
        from isp_sim.formats.isolated import Bounds
        from isp_sim.render import job
        from isp_sim.render.worker import Settings

        _check_device(device)
        loaded = _recipe(recipe, input, output, seed)
        bounds = Bounds(isolate_memory, isolate_seconds) if isolate else None
        settings = Settings(device, stages, strict, batch_size, bounds)
        if dry_run:
            from isp_sim.render.estimate import estimate

            _say_estimate(estimate(loaded, views=views, limit=limit, workers=workers, settings=settings))
            return
        with _progress(quiet) as progress:
            summary = job.render(
                loaded,
                views=views,
                limit=limit,
                workers=workers,
                engine=engine.value,
                overwrite=overwrite,
                settings=settings,
                progress=progress,
            )
        _summarise(summary, loaded, stages, quiet)


def _say_estimate(found: Estimate) -> None:
    shards = f" in {found.shards} shards" if found.shards else ""
    out.print(f"{found.pictures} pictures{shards}, about {_size(found.bytes)}, about {_duration(found.seconds)}")
    out.print(f"by {found.measured} of them, rendered and not written; the disk has {_size(found.free)} left")
    for row in found.failed:
        _say(f"would fail: {row['key']}: {row['reason']}", "red")
    if found.bytes > found.free:
        _fail("there is not enough room for all of them", Exit.PLACES)
    if found.failed:
        raise typer.Exit(Exit.SOME_FAILED)


def _size(count: float) -> str:
    """Bytes for the eye."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while count >= 1000 and len(units) > 1:
        count /= 1000
        units.pop(0)
    return f"{count:.3g} {units[0]}"


def _duration(seconds: float) -> str:
    """A time for the eye."""
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _check_device(device: str) -> None:
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise typer.BadParameter(
            f"{device!r} can't be used: {str(error).splitlines()[0]}", param_hint="--device"
        ) from None


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar with rate and time left, on standard error."""
    if quiet:
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(
                "" if speed is None else f"{speed:.1f} pictures/s" if speed >= 1 else f"{1 / speed:.1f} s/picture"
            )

    bar = Progress(BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn(), console=err)
    task = bar.add_task("", total=None)

    def update(done: int, total: int) -> None:
        if not bar.live.is_started:  # what an earlier run made does not count into the rate
            bar.reset(task, total=total, completed=done)
            bar.start()
        bar.update(task, total=total, completed=done)

    try:
        yield update
    finally:
        bar.stop()


def _summarise(summary: Summary, recipe: Recipe, stages: bool, quiet: bool) -> None:
    folder = Path(recipe.writer.params.path)
    if not quiet:
        for note, count in sorted(summary.notes.items()):
            _say(f"note: {note}" + (f" ({count} pictures)" if count > 1 else ""))
        known = f", {summary.kept} were there already" if summary.kept else ""
        _say(f"{summary.rendered} rendered{known}: {folder}")
        if stages and summary.rendered:
            _say(f"every stage: {folder / 'stages'}")
    if summary.failed:
        for row in summary.failed[:10]:
            _say(f"failed: {row['key']}: {row['reason']}", "red")
        if len(summary.failed) > 10:
            _say(f"... and {len(summary.failed) - 10} more", "red")
        _fail(f"{len(summary.failed)} failed; reasons are in {folder / 'manifest.jsonl'}", Exit.SOME_FAILED)


@app.command()
def validate(recipes: Annotated[list[Path], typer.Argument(metavar="RECIPE...", help="recipe files")]) -> None:
    """Check recipes from end to end, without reading a picture. Prints every fault at once."""
    from isp_sim import recipe as module

    wrong = 0
    with _errors():
        for path in recipes:
            try:
                _recipe(path)
                out.print(f"{escape(str(path))}: valid")
            except module.RecipeError as error:
                _say("\n".join(map(str, error.faults)))
                wrong += 1
    if wrong:
        raise typer.Exit(Exit.RECIPE)


@app.command()
def explain(
    recipe: RecipeArgument,
    inverse: Annotated[
        bool, typer.Option("--inverse", help="show the way back: how far each step can be undone, and what is lost")
    ] = False,
) -> None:
    """Show what a recipe does: the signal after every stage, and each parameter with its support."""
    with _errors():
        from rich.table import Column, Table

        from isp_sim.pipeline import walk

        loaded = _recipe(recipe)
        out.print(f"[bold]{escape(loaded.name)}[/]   seed {loaded.seed}   {loaded.hash[:12]}\n")
        if inverse:
            _explain_inverse(loaded)
            return
        table = Table("step", "signal after it", box=None, pad_edge=False)
        for id, signal in loaded.signals:
            table.add_row(escape(id), escape(str(signal)))
        out.print(table)
        out.print()
        table = Table(Column("parameter", no_wrap=True), "value", "meaning", box=None, pad_edge=False)
        for step in walk(loaded.pipeline.steps):
            for name, value, law, about in _parameter_rows(step):
                table.add_row(escape(f"{step.id}.{name}"), escape(value), escape(about), style="bold" if law else "")
        out.print(table)


def _explain_inverse(recipe: Recipe) -> None:
    """A line for each step, last first, and how far back the recipe leads."""
    from rich.table import Table

    from isp_sim import ledger

    entries = ledger.symbolic(recipe.pipeline)
    table = Table("step", "how", "undone by", "lost", box=None, pad_edge=False)
    for entry in entries:
        table.add_row(*map(escape, (entry.step, entry.how, entry.by or "-", entry.lost or "-")), style=_style(entry))
    out.print(table)
    stop = next((entry for entry in entries if entry.how == "stop"), None)
    exact = sum(entry.how == "exact" for entry in entries)
    out.print(f"\n{exact} of {len(entries)} steps are undone exactly.")
    if stop is not None:
        out.print(escape(f"The way back ends after {stop.step}: {stop.lost}."))


def _style(entry: Entry) -> str:
    return {"exact": "", "approximate": "yellow", "stop": "bold red"}[entry.how]


def _parameter_rows(step: Any) -> Iterator[tuple[str, str, bool, str]]:
    """Name, value or law, whether it is a law, and meaning, of each parameter; a profile's too."""
    from isp_sim.parameters import Static, is_marked
    from isp_sim.pipeline import StageStep

    sets = [("", step.parameters)]
    if isinstance(step, StageStep):
        constants = step.parameters.constants
        further = step.stage.further({name: getattr(constants, name) for name in type(constants).model_fields})
        sets += [(f"{constants.profile}." if hasattr(constants, "profile") else "", further)] if further else []
    for prefix, parameters in sets:
        for name, value in parameters.resolved().items():
            if prefix and is_marked(parameters.model.model_fields[name], Static):
                continue  # the data of a profile, such as its matrices
            about = parameters.model.model_fields[name].description or ""
            drawn = any(path[0] == name for path in parameters.laws)
            yield prefix + name, _text(value), drawn, about
    if isinstance(step, StageStep) and step.deviations is not None:
        for name, value in step.deviations.resolved().items():
            yield f"deviate {name}", _text(value), True, "error on top of what is right, in this stage alone"


def _text(value: Any) -> str:
    """A value or a law as YAML in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


@app.command()
def preview(
    recipe: RecipeArgument,
    input: InputOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="picture to write")] = Path("preview.png"),
    seed: SeedOption = None,
    inputs: Annotated[int, typer.Option(min=1, help="rows: the first so many inputs")] = 3,
    draws: Annotated[int, typer.Option(min=1, help="columns: renderings of each")] = 3,
    size: Annotated[int, typer.Option(min=32, help="longer side of each picture [px]")] = 320,
) -> None:
    """Make a contact sheet: a few inputs by a few draws, with the drawn values under each."""
    with _errors():
        from isp_sim.preview import contact_sheet

        loaded = _recipe(recipe, input, seed=seed)
        with _progress(quiet=False) as progress:
            sheet = contact_sheet(loaded, inputs, draws, size, progress)
        _save(sheet, output)


def _save(sheet: Any, output: Path) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(output)
    except (OSError, ValueError) as error:
        _fail(f"can't write {output}: {error}", Exit.PLACES)
    out.print(escape(str(output)))


@app.command()
def gallery(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAMES...", help="degradations; all if none")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="picture to write")] = Path("gallery.png"),
    size: Annotated[int, typer.Option(min=64, help="side of each picture [px]")] = 176,
) -> None:
    """Show degradations at severities 1 to 5 on a sample photo, with their values and the PSNR."""
    with _errors():
        from isp_sim import gallery as module

        try:
            shown, left = module.showable(names or ())
            for reason in left.values():
                _say(f"left out: {reason}", "yellow")
            with _progress(quiet=False) as progress:
                sheet = module.contact_sheet(shown, size, progress)
        except module.GalleryFault as error:
            _fail(str(error), Exit.USAGE)
        _save(sheet, output)


@app.command("list")
def list_plugins(
    group: Annotated[str | None, typer.Argument(help="stages, degradations, demosaicers, readers or writers")] = None,
) -> None:
    """List what is installed, by group."""
    from isp_sim import registry

    groups = {name.rpartition(".")[2]: name for name in registry.GROUPS}
    if group is not None and group not in groups:
        _fail(f"no group {group!r}; there are {', '.join(groups)}", Exit.USAGE)
    for short, name in groups.items():
        if group in (None, short):
            if group is None:
                out.print(f"[bold]{short}[/]")
            for plugin in registry.names(name):
                origin = registry.origin(plugin, name)
                out.print(escape(f"  {plugin}" + ("" if origin == "isp-sim" else f"   ({origin})")))


@app.command()
def show(name: Annotated[str, typer.Argument(help="name of a plugin, as `list` shows it")]) -> None:
    """Show a plugin: what it does, its parameters with bounds and units, its source."""
    with _errors():
        import inspect

        from isp_sim import registry

        plugin = registry.load(name, *registry.GROUPS)
        out.print(f"[bold]{escape(name)}[/]   {escape(registry.origin(name, *registry.GROUPS))}\n")
        out.print(escape(inspect.getdoc(plugin) or "no description"))
        out.print()
        for label, value in _facts(plugin):
            out.print(f"{label:<18}{escape(value)}")
        model = getattr(plugin, "Params", None)
        if model is not None and model.model_fields:
            from rich.table import Table

            table = Table("parameter", "default", "bounds", "meaning", box=None, pad_edge=False)
            for parameter, field in model.model_fields.items():
                default = "required" if field.is_required() else _text(field.get_default())
                table.add_row(parameter, escape(default), escape(_bounds(field)), escape(field.description or ""))
            out.print()
            out.print(table)


def _facts(plugin: Any) -> Iterator[tuple[str, str]]:
    from isp_sim.stage import Stage

    if isinstance(plugin, type) and issubclass(plugin, Stage):
        needs = ", ".join(f"{k} {' or '.join(map(str, v))}" for k, v in plugin.needs.accepted.items())
        gives = ", ".join(f"{k} {v}" for k, v in plugin.gives.items() if v != "?")
        yield "needs", needs or "any signal"
        yield "gives", gives or "the signal it got"
        depends = plugin.is_differentiable is not Stage.is_differentiable
        yield "differentiable", "depends on parameters" if depends else "yes" if plugin.differentiable else "no"
        if plugin.soft_gap is not None:
            yield "soft gap", f"{plugin.soft_gap:g} mean absolute difference from mode exact, with default parameters"
        yield "invertible", "yes" if plugin.is_invertible() else "no"
        for name, values in getattr(plugin, "severities", {}).items():
            yield "severity 1 to 5", f"{name} {', '.join(map(_text, values))}"
    for fact in ("preserves_samples", "linear", "border"):
        if hasattr(plugin, fact):
            value = getattr(plugin, fact)
            yield fact.replace("_", " "), {True: "yes", False: "no"}.get(value, str(value))
    if getattr(plugin, "source", ""):
        yield "source", plugin.source


def _bounds(field: Any) -> str:
    """The bounds of a number, or the words that may stand there."""
    import math
    import typing

    from isp_sim.parameters import Static, bounds, is_marked

    low, high = bounds(field)
    words = [
        str(word)
        for a in (field.annotation, *typing.get_args(field.annotation))
        if typing.get_origin(a) is typing.Literal
        for word in typing.get_args(a)
    ]
    ends = [f">= {low:g}" if math.isfinite(low) else "", f"<= {high:g}" if math.isfinite(high) else ""]
    text = ", ".join(words) if words else " and ".join(end for end in ends if end)
    return text + (" (fixed)" if is_marked(field, Static) else "")


@app.command()
def replay(
    manifest: Annotated[Path, typer.Argument(help="manifest.jsonl of an output folder")],
    row: Annotated[int, typer.Argument(min=1, help="line of the manifest, from 1")],
    input: InputOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="file to write the picture to")] = None,
) -> None:
    """Render one row of a manifest again, alone, and compare it bit by bit. Exit code 1 if it differs."""
    with _errors():
        from isp_sim.render.replay import replay as again

        result = again(manifest, row, None if input is None else str(input))
        if output is not None:
            from isp_sim.render.atomic import write_atomically

            try:
                write_atomically(output, result.data)
            except OSError as error:
                _fail(f"can't write {output}: {error.strerror or error}", Exit.PLACES)
        for difference in result.differences:
            _say(difference, "red")
        if result.differences:
            raise typer.Exit(Exit.SOME_FAILED)
        out.print(escape(f"{result.key} view {result.view}: bit-equal"))


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="folder that was rendered")],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="print only what is wrong")] = False,
) -> None:
    """Compare every row of the manifest with its file, and every shard with its index, by their hashes.

    Exit code: 0 all is as the manifest says, 1 something is not, 4 the folder holds no run.
    """
    with _errors():
        from isp_sim.render.verify import verify as check

        with _progress(quiet) as progress:
            verdict = check(folder, progress)
        for fault in verdict.faults[:20]:
            _say(fault, "red")
        if len(verdict.faults) > 20:
            _say(f"... and {len(verdict.faults) - 20} more", "red")
        if not quiet:
            failed = f", {verdict.failed} failed when they were rendered" if verdict.failed else ""
            _say(f"{verdict.pictures} pictures in {verdict.files} files compared{failed}")
        if verdict.faults:
            raise typer.Exit(Exit.SOME_FAILED)


@app.command()
def invert(
    recipe: RecipeArgument,
    input: Annotated[
        Path, typer.Option("--input", "-i", help="folder that the recipe rendered, its manifest, or photos")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="folder for pictures, masks and ledger.json")],
    to: Annotated[
        str | None,
        typer.Option(help="id of the step after which the picture is asked for, or input; else as far as makes sense"),
    ] = None,
    row: Annotated[list[int] | None, typer.Option(min=1, help="line of the manifest, from 1; may be repeated")] = None,
    profile: Annotated[str | None, typer.Option(help="camera profile, for photos; else the recipe's own")] = None,
    cfa: Annotated[str | None, typer.Option(help="CFA of the mosaic that photos came from, such as RGGB")] = None,
    originals: Annotated[
        Path | None, typer.Option(help="where the inputs of a rendered folder are now, if they have moved")
    ] = None,
    format: Annotated[Form, typer.Option(help="of the pictures; npy keeps what lies beyond [0, 1]")] = Form.png,
    tolerance: Annotated[
        float, typer.Option(min=0, help="how far off a pixel may be before it counts, as a share of the range")
    ] = 0.5 / 255,
    seed: SeedOption = None,
    limit: Annotated[int | None, typer.Option(min=1, help="take only the first so many pictures")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="write into a folder that is not empty")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress and no table")] = False,
) -> None:
    """Go back through a recipe, and keep a ledger of what each step loses.

    From a folder that the recipe rendered, each step is measured beside what was recorded when the picture is rendered
    again. From photos, it estimates the RAW picture that the recipe would have developed into them.

    Exit code: 0 all is done, 1 some pictures failed or did not get as far back as --to asks, 2 wrong command line, 3
    wrong recipe, 4 input or output can't be used, 130 interrupted.
    """
    with _errors():
        from isp_sim.render import invert as module

        loaded = _recipe(recipe, seed=seed)
        options = module.Options(
            to,
            profile,
            cfa,
            None if originals is None else str(originals),
            tuple(row or ()),
            format.value,
            tolerance,
            limit,
        )
        with _progress(quiet) as progress:
            done = module.invert(loaded, input, output, options, overwrite=overwrite, progress=progress)
        if not quiet:
            _print_ledger(done)
            for note, count in sorted(done.notes.items()):
                _say(f"note: {note}" + (f" ({count} pictures)" if count > 1 else ""))
            _say(f"{done.written} written: {output}; every figure: {output / module.LEDGER}")
        for key, reason in done.failed[:10]:
            _say(f"failed: {key}: {reason}", "red")
        if done.failed:
            _fail(f"{len(done.failed)} failed; reasons are in {output / module.LEDGER}", Exit.SOME_FAILED)
        if to is not None and done.stopped:
            _fail(f"the way back ends after {', '.join(done.stopped)}, before {to}", Exit.SOME_FAILED)


def _print_ledger(done: Inversion) -> None:
    from rich.table import Column, Table

    def right(name: str) -> Column:
        return Column(name, justify="right", no_wrap=True)

    def decibel(value: float | None) -> str:
        return "-" if value is None else "equal" if value == float("inf") else f"{value:.1f}"

    figures = ["alone [dB]", "off", "so far [dB]", "off"] if done.measured else ["comes back [dB]"]
    columns = [right(name) for name in (*figures, "marked")]
    number = max((line.pictures for line in done.lines), default=0)
    title = "medians of dB, means of shares" if number > 1 else None
    table = Table("step", "undone by", "lost", *columns, title=title, box=None, pad_edge=False)
    for line in done.lines:
        entry = line.entry
        cells = [decibel(line.again)]
        if done.measured:
            cells = [decibel(line.alone), f"{line.off_alone:.2%}", decibel(line.together), f"{line.off_together:.2%}"]
        if entry.how == "stop":
            cells = ["-"] * len(cells)
        cells.append(f"{line.marked:.2%}")
        table.add_row(*map(escape, (entry.step, entry.by or "nothing", entry.lost or "-")), *cells, style=_style(entry))
    out.print(table)


@app.command()
def schema() -> None:
    """Print the JSON Schema of recipes, for editors."""
    with _errors():
        import json

        from isp_sim.schema import recipe_schema

        sys.stdout.write(json.dumps(recipe_schema(), indent=2) + "\n")


@plugins.command("new")
def plugin_new(
    name: Annotated[str, typer.Argument(help="name of the package, such as my-degradation")],
    kind: Annotated[str, typer.Option(help="stage, degradation or demosaicer")] = "degradation",
    folder: Annotated[Path, typer.Option(help="where to make its folder")] = Path(),
) -> None:
    """Write an installable package with a working plugin and its test."""
    from isp_sim import scaffold

    try:
        made = scaffold.new(name, kind, folder)
    except ValueError as error:
        _fail(str(error), Exit.USAGE)
    except OSError as error:
        _fail(str(error), Exit.PLACES)
    out.print(escape(f"{made}: see its README.md"))


@plugins.command("check")
def plugin_check(name: Annotated[str, typer.Argument(help="name of an installed plugin")]) -> None:
    """Run the conformance kit on an installed plugin."""
    with _errors():
        from isp_sim import testing

        try:
            report = testing.check(name)
        except TypeError as error:
            _fail(str(error), Exit.USAGE)
        out.print(escape(str(report)))
        if not report.passed:
            raise typer.Exit(Exit.SOME_FAILED)


@camera_profiles.command("list")
def cameras_list() -> None:
    """List the profiles that come with the program, and your own."""
    with _errors():
        from rich.table import Table

        from isp_sim.cameras import profile

        own = profile.own()
        table = Table("profile", "says", "ISO", "licence", box=None, pad_edge=False)
        for name in profile.names():
            try:
                found = profile.load(name)
            except profile.ProfileFault as error:
                _say(f"warning: {error}", "yellow")
                continue
            says = [what for what, there in (("colour", found.state), ("noise", found.has_noise)) if there]
            speeds = "-" if found.noise is None else "{:g} to {:g}".format(*found.noise.speeds)
            label = f"{name} (own)" if name in own else name
            table.add_row(escape(label), " and ".join(says), speeds, escape(found.licence))
        out.print(table)
        out.print(escape(f"\nyour own: YAML files in {profile.own_folder()}, or any below the working directory"))


@camera_profiles.command("show")
def cameras_show(name: Annotated[str, typer.Argument(help="name of a profile, or path of one")]) -> None:
    """Show a profile: what it says, where its figures come from, and its noise by ISO speed."""
    with _errors():
        from rich.table import Table

        from isp_sim.cameras import profile

        found = profile.load(name)
        out.print(f"[bold]{escape(found.name)}[/]\n\n{escape(found.description)}\n")
        for label, value in (("source", found.source), ("licence", found.licence)):
            out.print(f"{label:<18}{escape(value)}")
        sensor = found.sensor
        for label, known in (
            ("CFA", sensor.cfa),
            ("black level", sensor.black_level),
            ("white level", sensor.white_level),
        ):
            if known is not None:
                out.print(f"{label:<18}{escape(_text(known))}")
        if found.state is not None:
            out.print()
            table = Table("parameter", "value", "meaning", box=None, pad_edge=False)
            for parameter, value in found.state.resolved().items():
                if value is not None:
                    about = found.state.model.model_fields[parameter].description or ""
                    table.add_row(parameter, escape(_text(value)), escape(about))
            out.print(table)
        if found.noise is not None:
            out.print()
            out.print(_noise_table(found.noise))


def _noise_table(law: Any) -> Any:
    """A noise law at each full stop."""
    from rich.table import Table

    from isp_sim.cameras.noise import noise_profile_of

    unit = "1" if law.dn is None else "DN"
    table = Table(
        *("ISO", f"K [{unit}/e-]", f"read [{unit}]", "shape", "rows [DN]", "S [1]", "O [1]"), box=None, pad_edge=False
    )
    low, high = law.speeds
    speeds, speed = [], low
    while speed < high * 0.999:
        speeds.append(speed)
        speed *= 2
    for iso in (*speeds, high):
        state = law.at(iso)
        planes = noise_profile_of(state, law.dn)
        shot, dark = (" ".join(dict.fromkeys(f"{plane[i]:.3g}" for plane in planes)) for i in (0, 1))
        gain, read = (" ".join(f"{value:.3g}" for value in values) for values in (state.gain, state.read))
        shape = "normal" if state.shape is None else f"{state.shape:.3g}"
        table.add_row(f"{iso:g}", gain, read, shape, f"{state.row:.3g}", shot, dark)
    return table


@camera_profiles.command("import")
def cameras_import(
    format: Annotated[str, typer.Argument(metavar="FORMAT", help="darktable, eld, rawspeed, rawtoaces or raw_file")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="table or RAW file")],
    camera: Annotated[str | None, typer.Option(help="which camera of the table, or how to call the only one")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="profile to write; else standard output")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a file that is there")] = False,
) -> None:
    """Make a profile of what a table or a RAW file says of a camera. Nothing in the file is executed."""
    with _errors():
        from isp_sim.cameras import loaders
        from isp_sim.cameras.document import to_yaml

        if format not in loaders.FORMATS:
            known = "\n".join(f"  {name:<12}{about}" for name, about in loaders.FORMATS.items())
            _fail(f"no format {format!r}; there are\n{known}", Exit.USAGE)
        text = to_yaml(loaders.read(format, file, camera), str(output or file))
        if output is None:
            sys.stdout.write(text)
        else:
            _write_new(output, text, overwrite)


def _write_new(path: Path, text: str, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        _fail(f"{path} is there already; --overwrite replaces it", Exit.PLACES)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        _fail(f"can't write {path}: {error}", Exit.PLACES)
    out.print(escape(str(path)))


@app.command()
def calibrate(
    flats: Annotated[Path, typer.Option(help="folder of flats: pairs of equal exposure, one after the other by name")],
    darks: Annotated[Path, typer.Option(help="folder of darks")],
    output: Annotated[Path, typer.Option("--output", "-o", help="profile to write")],
    iso: Annotated[
        float | None, typer.Option(min=1, help="ISO speed; else folders named by it, such as iso800")
    ] = None,
    name: Annotated[str | None, typer.Option(help="name of the profile; else that of the file")] = None,
    plot: Annotated[
        bool, typer.Option("--plot/--no-plot", help="also draw what was fitted, as a PNG beside it")
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace files that are there")] = False,
) -> None:
    """Measure a sensor's noise on RAW files of flats and darks, and write it as a camera profile."""
    with _errors():
        from rich.table import Table

        from isp_sim import calibration
        from isp_sim.cameras.document import to_yaml

        if output.exists() and not overwrite:
            _fail(f"{output} is there already; --overwrite replaces it", Exit.PLACES)
        found = calibration.calibrate(flats, darks, iso)
        if plot:
            from isp_sim.calibration.plot import draw

            output.parent.mkdir(parents=True, exist_ok=True)
            draw(found, output.with_suffix(".png"))
        table = Table("ISO", "K [DN/e-]", "read [DN]", "shape [1]", "rows [DN]", "PPCC", box=None, pad_edge=False)
        for c in found:
            d = c.darks
            table.add_row(f"{c.iso:g}", str(c.gain), str(d.scale), str(d.shape), str(d.row), f"{d.correlation:.5f}")
        out.print(table)
        _write_new(output, to_yaml(calibration.document(found, name or output.stem), str(output)), True)


if __name__ == "__main__":
    main()
