"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from isp_sim.recipe import Recipe
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


def main() -> None:
    """Entry point of ``isp-sim``."""
    app()


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
    from isp_sim.formats.reader import InputFault
    from isp_sim.recipe import RecipeError
    from isp_sim.registry import BrokenPlugin, UnknownPlugin
    from isp_sim.render.job import RenderFault
    from isp_sim.render.manifest import OutputFault

    if isinstance(error, RecipeError):
        _say("\n".join(map(str, error.faults)))
        count = len(error.faults)
        _fail(f"{count} fault{'s' if count > 1 else ''}; nothing was rendered", Exit.RECIPE)
    if isinstance(error, InputFault | OutputFault):
        _fail(str(error), Exit.PLACES)
    if isinstance(error, UnknownPlugin | BrokenPlugin):
        _fail(str(error), Exit.USAGE)
    if isinstance(error, RenderFault):
        _fail(str(error), Exit.SOME_FAILED)


def _say(text: str, style: str = "") -> None:
    err.print(escape(text), style=style)


def _fail(text: str, code: Exit) -> None:
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
    device: Annotated[str, typer.Option(help="where to compute: cpu, cuda, cuda:1, ...")] = "cpu",
    stages: Annotated[
        bool, typer.Option("--stages", help="also write the picture after every stage, to look at")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="stop at the first picture that fails")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace what another run left in the folder")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress and no summary")] = False,
) -> None:
    """Render a file or a folder. Run again, it goes on where it stopped.

    Exit code: 0 all is rendered, 1 some pictures failed (see manifest.jsonl), 2 wrong command line, 3 wrong recipe,
    4 input or output can't be used, 130 interrupted.
    """
    with _errors():
        from isp_sim.render import job

        _check_device(device)
        loaded = _recipe(recipe, input, output, seed)
        with _progress(quiet) as progress:
            summary = job.render(
                loaded,
                views=views,
                limit=limit,
                workers=workers,
                batch_size=batch_size,
                overwrite=overwrite,
                settings=job.Settings(device, stages, strict),
                progress=progress,
            )
        _summarise(summary, loaded, stages, quiet)


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
def explain(recipe: RecipeArgument) -> None:
    """Show what a recipe does: the signal after every stage, and each parameter with its support."""
    with _errors():
        from rich.table import Column, Table

        from isp_sim.recipe import walk

        loaded = _recipe(recipe)
        out.print(f"[bold]{escape(loaded.name)}[/]   seed {loaded.seed}   {loaded.hash[:12]}\n")
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
            from isp_sim.render.manifest import write_atomically

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


if __name__ == "__main__":
    main()
