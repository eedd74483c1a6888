"""The way back for pictures in files: what a recipe rendered, or photos that it is said to have made."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isp_sim import ledger, registry
from isp_sim import recipe as recipes
from isp_sim.cameras import profile as cameras
from isp_sim.formats.files import png
from isp_sim.formats.reader import InputFault, Item, Reader
from isp_sim.formats.writer import Writer
from isp_sim.frame import Frame, MissingFact
from isp_sim.ledger import HALF_A_CODE, INPUT, Entry, Ledger
from isp_sim.parameters import Parameters, collate
from isp_sim.pipeline import StageStep, Step, walk
from isp_sim.randomness import generator
from isp_sim.recipe import Recipe
from isp_sim.render.atomic import sha256, write_atomically
from isp_sim.render.manifest import MANIFEST, RECIPE, OutputFault, Row, content, read, versions
from isp_sim.render.plan import Names
from isp_sim.render.view import viewable
from isp_sim.signal import OPEN, Signal
from isp_sim.stage import LOST
from isp_sim.stages.unprocess import camera_facts

LEDGER: Final = "ledger.json"
OUTPUT: Final = "output"
"""The line of a ledger that says what the file kept of the picture."""


@dataclass(frozen=True)
class Options:
    """How to go back.

    Attributes
    ----------
    to
        The id of the step after which the picture is asked for, or ``input``; None for as far as makes sense: all the
        way for what the recipe rendered, the sensor's linear light for a photo.
    profile
        The camera whose state is taken for photos; None for the recipe's own.
    cfa
        The CFA of the mosaic that photos came from, where the recipe leaves that to a file.
    originals
        Where the inputs of a rendered folder are now, if they have moved.
    rows
        The lines of the manifest to take, from 1; all if empty.
    form
        Kind of the files to write: ``png``, ``tiff``, ``npy`` or ``dng``.
    tolerance
        How far off a pixel may be before it counts, as a share of the range.
    limit
        The number of pictures to take at the most.
    """

    to: str | None = None
    profile: str | None = None
    cfa: str | None = None
    originals: str | None = None
    rows: tuple[int, ...] = ()
    form: str = "png"
    tolerance: float = HALF_A_CODE
    limit: int | None = None


@dataclass(frozen=True)
class Picture:
    """One picture, gone back."""

    key: str
    view: int
    stem: str
    ledger: Ledger
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """One line of the summary: a step over all pictures; medians of dB, means of shares."""

    entry: Entry
    pictures: int
    alone: float | None
    together: float | None
    again: float | None
    off_alone: float
    off_together: float
    marked: float


@dataclass(frozen=True)
class Inversion:
    """What a run did.

    Attributes
    ----------
    measured
        Whether there was a recorded picture to measure against.
    lines
        The summary.
    written
        The number of pictures.
    failed
        The keys of those that failed, and why.
    notes
        What is odd, with the number of pictures it was said of.
    stopped
        The steps at which pictures stopped before the step that was asked for.
    """

    measured: bool
    lines: tuple[Line, ...]
    written: int
    failed: tuple[tuple[str, str], ...]
    notes: dict[str, int]
    stopped: tuple[str, ...]


def invert(
    recipe: Recipe,
    input: Path,
    output: Path,
    options: Options | None = None,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Inversion:
    """Go back through a recipe, and write the pictures, the masks and the ledger.

    Parameters
    ----------
    input
        A folder that the recipe rendered, or its manifest: every picture is rendered again from its original, and
        each step back from its file is measured beside what was recorded. Any other picture or folder: photos, of
        which the recipe's last signal is taken to be true.

    Raises
    ------
    InputFault, OutputFault
        If input or output can't be used, or the recipe does not end in such pictures.
    OptionFault, isp_sim.cameras.profile.ProfileFault
        If an option names what is not there.
    """
    options = options or Options()
    writer = _writer(options.form)
    manifest = _manifest(input)
    if manifest is None:
        source: Source = Photos(recipe, input, options)
    else:
        source = Rendered(recipe, manifest, options)
    _open(output, overwrite)
    pictures: list[Picture] = []
    failed: list[tuple[str, str]] = []
    progress(0, len(source))
    try:
        for key, make in source:
            try:
                picture = make()
                _write(picture, output, writer)
                pictures.append(picture)
            except (OSError, OptionFault):
                raise
            except Exception as error:  # noqa: BLE001 - a picture that fails costs itself, not the run
                failed.append(
                    (key, str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}")
                )
            progress(len(pictures) + len(failed), len(source))
        about = {
            "recipe": recipe.hash,
            "input": str(input),
            "measured": manifest is not None,
            "to": options.to,
            "tolerance": options.tolerance,
            "versions": versions(),
        }
        rows = [_row(picture, writer) for picture in pictures]
        failures = [{"key": key, "reason": reason} for key, reason in failed]
        text = json.dumps({**about, "pictures": rows, "failed": failures}, indent=1, allow_nan=False)
        write_atomically(output / LEDGER, (text + "\n").encode())
    except OSError as error:
        raise OutputFault(f"can't write to output {output}: {error.strerror or error}") from None
    notes: dict[str, int] = {}
    for note in (note for picture in pictures for note in picture.notes):
        notes[note] = notes.get(note, 0) + 1
    stopped = [p.ledger.stopped.step for p in pictures if p.ledger.stopped is not None]
    return Inversion(
        manifest is not None,
        tuple(summary([picture.ledger for picture in pictures])),
        len(pictures),
        tuple(failed),
        notes,
        tuple(dict.fromkeys(stopped)),
    )


class OptionFault(ValueError):
    """What was asked for can't be had of this recipe or this input."""


class Source:
    """The pictures to go back from, each as a function that does it."""

    def __len__(self) -> int:
        raise NotImplementedError

    def __iter__(self) -> Iterator[tuple[str, Callable[[], Picture]]]:
        raise NotImplementedError


class Rendered(Source):
    """Pictures that the recipe rendered, by the manifest beside them."""

    def __init__(self, recipe: Recipe, manifest: Path, options: Options) -> None:
        self.options, self.folder = options, manifest.parent
        try:
            rows = read(manifest)
        except OSError as error:
            raise InputFault(f"can't read {manifest}: {error.strerror}") from None
        for number in options.rows:
            if not 1 <= number <= len(rows):
                raise OptionFault(f"{manifest} has rows 1 to {len(rows)}, not {number}")
        chosen = [rows[number - 1] for number in options.rows] or rows
        self.rows = [row for row in chosen if row.get("status") == "ok"][: options.limit]
        if not self.rows:
            raise InputFault(f"{manifest} lists no picture that was rendered")
        if strange := [row for row in self.rows if row.get("recipe") != recipe.hash]:
            raise InputFault(
                f"{strange[0]['key']} was rendered by another recipe ({str(strange[0].get('recipe'))[:12]}, not "
                f"{recipe.hash[:12]}): give {self.folder / RECIPE}"
            )
        self.recipe = recipes.read(self.folder / RECIPE).with_places(input=options.originals)
        _check_step(self.recipe, options.to)
        self.items = {item.key: item for item in self.recipe.reader.items()}

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[str, Callable[[], Picture]]]:
        for row in self.rows:
            yield row["key"], partial(self._picture, row)

    def _picture(self, row: Row) -> Picture:
        if row["key"] not in self.items:
            raise InputFault("its original is not there: say with --originals where it is now")
        reading = self.recipe.reader.read(self.items[row["key"]])
        writer, notes = self.recipe.writer, list[str]()
        data = content(self.folder, row, row["output"])
        if sha256(data) != row["files"][row["output"]]:
            notes.append("the file is not as it was rendered")

        def written(frame: Frame) -> tuple[Entry, Tensor]:
            if sha256(writer.encode(frame)) != row["files"][row["output"]]:
                notes.append("rendered again, it is not the same: `isp-sim replay` says why")
            pixels = writer.decode(data, frame)
            kind = f"{self.recipe.writer_name} {writer.suffix}"
            if pixels is None:
                lost = "unknown: such files are not read again, so the picture is taken as it was rendered"
                return Entry(OUTPUT, kind, "approximate", "the picture as rendered", lost), frame.pixels
            return Entry(OUTPUT, kind, "approximate", "the file's samples", "what its samples round and clip"), pixels

        pipeline = replace(self.recipe.pipeline, seed=row["seed"])
        gone = ledger.measure(
            pipeline,
            reading.frame,
            view=row["view"],
            to=self.options.to or INPUT,
            written=written,
            tolerance=self.options.tolerance,
        )
        return Picture(row["key"], row["view"], str(PurePosixPath(row["output"]).with_suffix("")), gone, tuple(notes))


class Photos(Source):
    """Pictures of which nothing is known but that the recipe's last signal is theirs."""

    def __init__(self, recipe: Recipe, input: Path, options: Options) -> None:
        self.recipe, self.options = recipe, options
        if options.rows:
            raise OptionFault(f"rows are of a manifest, and {input} holds none")
        _check_step(recipe, options.to)
        last = recipe.signals[-1][1]
        self.reader = _reader_of(last, input)
        self.items = self.reader.items()[: options.limit]
        self.source = recipe.signals[0][1]
        if OPEN in (self.source.layout, self.source.cfa):
            if options.cfa is None:
                raise OptionFault("the recipe leaves the CFA to the files it develops: say with --cfa which it was")
            try:
                self.source = self.source.changed({"layout": "mosaic", "cfa": options.cfa})
            except ValueError as error:
                raise OptionFault(str(error)) from None
        elif options.cfa is not None:
            raise OptionFault(f"the recipe starts from {self.source}, and so leaves no CFA to be given")
        self.to = options.to or _sensor(recipe)
        self.profile = None if options.profile is None else cameras.load(options.profile).state_at(None)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[tuple[str, Callable[[], Picture]]]:
        for item in self.items:
            yield item.key, partial(self._picture, item)

    def _picture(self, item: Item) -> Picture:
        reading = self.reader.read(item)
        frame = self._with_state(reading.frame)
        try:
            gone = ledger.estimate(
                self.recipe.pipeline, frame, self.source, to=self.to, tolerance=self.options.tolerance
            )
        except MissingFact as fault:
            if self.profile is not None:
                advice = "no profile tells that: say"
            else:
                advice = f"say with --profile whose is to be taken ({', '.join(cameras.names())}), or"
            raise OptionFault(
                f"going back takes {fault.name}, which the picture does not tell: {advice} with --to where to stop"
            ) from None
        return Picture(item.key, 0, Names.stem(item.key, 0), gone, reading.notes)

    def _with_state(self, frame: Frame) -> Frame:
        """The picture with a camera's state: the profile's, or what the recipe itself draws for this key."""
        if self.profile is not None:
            facts = camera_facts(drawn_state(self.profile, self.recipe.seed, frame))
            return replace(frame, capture=frame.capture.with_facts(facts))
        if self.source.layout == "rgb":
            # what a photo of this name would be developed with again
            chain = self.recipe.pipeline.taken(frame.keys[0])
            count = max((i + 1 for i, step in enumerate(chain.steps) if _writes(step)), default=0)
            forth = replace(chain, steps=chain.steps[:count]).run(replace(frame, signal=self.source))
            return replace(frame, capture=forth.frame.capture)
        return frame


def _writes(step: Step) -> bool:
    """Whether a step writes facts into the capture."""
    return isinstance(step, StageStep) and bool(step.stage.facts_written(step.parameters.constants))


def drawn_state(state: Parameters, seed: int, frame: Frame) -> SimpleNamespace:
    """A camera's state, drawn for each sample."""
    drawn = [state.draw(partial(generator, seed, key, 0, "profile")) for key in frame.keys]
    ((_, values),) = collate(state.model.model_fields, drawn, frame.pixels)
    return values


def summary(ledgers: Sequence[Ledger]) -> Iterator[Line]:
    """A line for each step that a picture passed, in the order of the longest way."""
    order = dict.fromkeys(e.step for one in sorted(ledgers, key=lambda o: -len(o.entries)) for e in one.entries)
    for step in order:
        found = [entry for one in ledgers for entry in one.entries if entry.step == step]

        def median(kind: str, entries: Sequence[Entry] = found) -> float | None:
            losses = [loss for entry in entries if (loss := getattr(entry, kind)) is not None]
            values = [math.inf if loss.psnr is None else loss.psnr for loss in losses]
            return statistics.median(values) if values else None

        def off(kind: str, entries: Sequence[Entry] = found) -> float:
            return statistics.fmean([loss.off if (loss := getattr(entry, kind)) else 0.0 for entry in entries])

        more = ", and others" if len({entry.lost for entry in found}) > 1 else ""
        yield Line(
            replace(found[0], lost=found[0].lost + more),
            len(found),
            median("alone"),
            median("together"),
            median("again"),
            off("alone"),
            off("together"),
            statistics.fmean(entry.marked for entry in found),
        )


def _manifest(input: Path) -> Path | None:
    if input.is_dir() and (input / MANIFEST).is_file():
        return input / MANIFEST
    return input if input.is_file() and input.suffix == ".jsonl" else None


def _check_step(recipe: Recipe, to: str | None) -> None:
    known = [INPUT, *(step.id for step in walk(recipe.pipeline.steps) if not step.inner())]
    if to is not None and to not in known:
        raise OptionFault(f"the recipe has no step {to!r} to go back to; it has {', '.join(known)}")


def _sensor(recipe: Recipe) -> str:
    """The last step after which the picture is the sensor's linear light, not balanced; the input if there is none."""
    for id, signal in reversed(recipe.signals):
        if signal.colour == "camera" and signal.transfer == "linear" and signal.white_balanced is False:
            return id
    return INPUT


def _reader_of(signal: Signal, input: Path) -> Reader:
    """A reader whose pictures are of a signal."""
    path = str(input)
    for name in ("images", "raw"):
        plugin: type[Reader] = registry.load(name, "isp_sim.readers")
        reader = plugin(plugin.Params(path=path))
        mine, asked = reader.signal.to_dict(), signal.to_dict()
        if all(OPEN in (mine[f], asked[f]) or mine[f] == asked[f] for f in asked if f != "bit_depth"):
            return reader
    raise InputFault(
        f"the recipe ends in {signal}, and neither image files nor RAW files hold that: "
        "to go back from what it rendered, give the folder with its manifest"
    )


def _writer(form: str) -> Writer:
    values = {"format": form, "bits": None if form == "npy" else 16}
    plugin: Any = registry.load("dng" if form == "dng" else "files", "isp_sim.writers")
    writer: Writer = plugin(plugin.Params(**({} if form == "dng" else values)))
    return writer


def _open(output: Path, overwrite: bool) -> None:
    try:
        if output.exists() and not output.is_dir():
            raise OutputFault(f"output {output} is a file; give a folder with --output")
        output.mkdir(parents=True, exist_ok=True)
        if any(output.iterdir()) and not overwrite:
            raise OutputFault(f"output {output} is not empty: give another --output, or --overwrite")
    except OSError as error:
        raise OutputFault(f"can't write to output {output}: {error.strerror or error}") from None


def _files(picture: Picture, writer: Writer) -> dict[str, str]:
    """What is written of a picture: kind to path below the output folder."""
    paths = {"picture": f"{picture.stem}{writer.suffix}", "view": f"views/{picture.stem}.png"}
    paths["lost"] = f"masks/{picture.stem}.lost.png"
    if picture.ledger.off is not None:
        paths["off"] = f"masks/{picture.stem}.off.png"
    return paths


def _write(picture: Picture, output: Path, writer: Writer) -> None:
    frame, paths = picture.ledger.frame, _files(picture, writer)
    if reason := writer.refuses(frame.signal):
        raise InputFault(f"after {picture.ledger.reached}, {reason}")
    write_atomically(output / paths["picture"], writer.encode(frame))
    write_atomically(output / paths["view"], png(viewable(frame)))
    write_atomically(output / paths["lost"], png(_mask(frame.maps[LOST])))
    if picture.ledger.off is not None:
        write_atomically(output / paths["off"], png(_mask(picture.ledger.off)))


def _mask(mask: Tensor) -> NDArray[np.uint8]:
    """White where a mask is set."""
    return np.ascontiguousarray(mask[0, 0].to("cpu", torch.uint8).numpy() * 255)


def _row(picture: Picture, writer: Writer) -> dict[str, Any]:
    gone = picture.ledger
    return {
        "key": picture.key,
        "view": picture.view,
        "reached": gone.reached,
        "signal": gone.frame.signal.to_dict(),
        "files": _files(picture, writer),
        "lost": float(gone.frame.maps[LOST].double().mean()),
        "off": None if gone.off is None else float(gone.off.double().mean()),
        "capture": {n: f[0].tolist() for n, f in gone.frame.capture.items() if f[0].numel() <= 64},
        "notes": list(picture.notes),
        "steps": [asdict(entry) for entry in gone.entries],
    }
