"""From YAML to a checked recipe: every fault at once, each with file and line, before any input is read."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from isp_sim import located_yaml, registry
from isp_sim.cameras import profile as cameras
from isp_sim.combinators import Combinator
from isp_sim.formats.reader import Reader
from isp_sim.formats.writer import Writer
from isp_sim.parameters import ParameterFaults, Parameters
from isp_sim.parameters import Path as ParameterPath
from isp_sim.pipeline import Pipeline, StageStep, State, Step, walk
from isp_sim.signal import Signal
from isp_sim.stage import Stage

VERSION: Final = 1
MOST_STEPS: Final = 1000
"""Steps that a recipe may have, those within others counted too."""
ID: Final = re.compile(r"\w[\w.-]*")
KEYS: Final = ("version", "description", "seed", "input", "stages", "output")


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a recipe."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class RecipeError(ValueError):
    """Everything that is wrong with a recipe."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(dict.fromkeys(faults), key=lambda fault: fault.line))
        super().__init__("\n".join(map(str, self.faults)))


@dataclass(frozen=True)
class Recipe:
    """A checked recipe.

    Attributes
    ----------
    name
        The file it came from.
    text
        The YAML it was read from.
    pipeline
        The steps and the seed.
    reader, writer
        Where pictures come from and go to.
    signals
        The id of each step with the signal after it; first that of the input.
    warnings
        What is odd, though not wrong.
    """

    name: str
    text: str
    pipeline: Pipeline
    reader: Reader
    reader_name: str
    writer: Writer
    writer_name: str
    signals: tuple[tuple[str, Signal], ...]
    warnings: tuple[Fault, ...] = field(default=(), compare=False)

    @property
    def seed(self) -> int:
        return self.pipeline.seed

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """The recipe with every default explicit; read again, it is the same recipe."""

        def entry(kind: str, name: str, params: Any) -> dict[str, Any]:
            return {kind: name, **json.loads(params.model_dump_json())}

        return {
            "version": VERSION,
            "seed": self.seed,
            "input": entry("reader", self.reader_name, self.reader.params),
            "stages": [step.resolved() for step in self.pipeline.steps],
            "output": entry("writer", self.writer_name, self.writer.params),
        }

    @cached_property
    def hash(self) -> str:
        """Identity of what the recipe does: over everything but the seed and the places of input and output, and over
        the camera profiles of the user's own that it names."""
        about = json.loads(json.dumps(self.resolved))
        del about["seed"], about["input"]["path"], about["output"]["path"]
        if own := self._own_profiles():
            about["profiles"] = own
        canonical = json.dumps(about, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def _own_profiles(self) -> dict[str, str]:
        """A digest of each camera profile that does not come with the package."""
        steps = [step for step in walk(self.pipeline.steps) if isinstance(step, StageStep)]
        names = {getattr(p, "profile", None) for step in steps for p in step.parameters.alternatives()}
        found = {name: cameras.content(name) for name in names if isinstance(name, str)}
        return {name: hashlib.sha256(text).hexdigest() for name, text in found.items() if text is not None}

    def with_places(self, input: str | None = None, output: str | None = None, seed: int | None = None) -> Recipe:
        """The same recipe with another input, output or seed."""
        reader, writer = self.reader, self.writer
        if input is not None:
            reader = type(reader)(reader.params.model_copy(update={"path": input}))
        if output is not None:
            writer = type(writer)(writer.params.model_copy(update={"path": output}))
        pipeline = self.pipeline if seed is None else replace(self.pipeline, seed=seed)
        return replace(self, reader=reader, writer=writer, pipeline=pipeline)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its text, so that worker processes and data loaders make their own."""
        places = (getattr(self.reader.params, "path", None), self.writer.params.path, self.seed)
        return _again, (self.text, self.name, *places)


def _again(text: str, name: str, input: str | None, output: str | None, seed: int) -> Recipe:
    return parse(text, name).with_places(input, output, seed)


def read(path: str | Path) -> Recipe:
    """Read and check a recipe file.

    Raises
    ------
    RecipeError
        With every fault that was found, or if the file can't be read.
    """
    try:
        data = located_yaml.contents(Path(path))
    except OSError as error:
        raise RecipeError([Fault(str(path), 1, f"can't read the recipe: {error.strerror}")]) from None
    return _Parser(located_yaml.parse(data, str(path)), data.decode("utf-8", "replace")).recipe()


def parse(text: str, name: str = "<text>") -> Recipe:
    """Check a recipe given as text; see `read`."""
    return _Parser(located_yaml.parse(text, name), text).recipe()


class _Parser:
    """Collects faults while it builds; a fault in one place does not hide those in others."""

    def __init__(self, document: located_yaml.Document, text: str) -> None:
        self.document, self.text = document, text
        self.faults = [Fault(document.name, line, message) for line, message in document.faults]
        self.places: dict[str, ParameterPath] = {}

    def fault(self, path: ParameterPath, message: str) -> None:
        self.faults.append(Fault(self.document.name, self.document.line(path), message))

    def recipe(self) -> Recipe:
        data = self.document.data
        if not isinstance(data, dict):
            if not self.faults:
                self.fault((), f"a recipe is a mapping with {', '.join(KEYS)}")
            raise RecipeError(self.faults)
        for key in data:
            if key not in KEYS:
                self.fault((key,), f"unknown key {key!r}: {_nearest(key, KEYS)}")
        if data.get("version") != VERSION or type(data["version"]) is not int:
            self.fault(("version",), f"needs version: {VERSION}, found {data.get('version')!r}")
        if not isinstance(data.get("description", ""), str):
            self.fault(("description",), "description must be a text")
        seed = data.get("seed", 0)
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            self.fault(("seed",), f"seed must be a whole number from 0, found {seed!r}")
            seed = 0
        reader_name, reader = self.plugin("input", "reader", "isp_sim.readers", "images", Reader)
        writer_name, writer = self.plugin("output", "writer", "isp_sim.writers", "files", Writer)
        steps = self.stages(data)
        pipeline = Pipeline(steps, seed)
        signals, warnings = self.check(pipeline, reader, writer)
        if self.faults or reader is None or writer is None:
            raise RecipeError(self.faults)
        return Recipe(
            self.document.name,
            self.text,
            pipeline,
            reader,
            reader_name,
            writer,
            writer_name,
            signals,
            tuple(warnings),
        )

    def plugin(self, key: str, kind: str, group: str, default: str, base: type[Any]) -> tuple[str, Any]:
        """The reader or the writer; None if it is wrong."""
        node = (self.document.data or {}).get(key, {})
        if not isinstance(node, dict):
            self.fault((key,), f"{key} must be a mapping, such as {{{kind}: {default}}}; found {node!r}")
            return default, None
        name = node.get(kind, default)
        try:
            loaded = registry.load(str(name), group)
            if not (isinstance(loaded, type) and issubclass(loaded, base)):
                raise registry.BrokenPlugin(f"{kind} {name!r} is no {base.__name__}")
            plugin: Any = loaded
            parameters = Parameters.bind(plugin.Params, {k: v for k, v in node.items() if k != kind})
            if parameters.laws:
                raise ParameterFaults([(path, "no distribution may stand here") for path in parameters.laws])
            return str(name), plugin(parameters.constants)
        except LookupError as error:
            self.fault((key, kind), str(error))
        except ParameterFaults as error:
            for path, message in error.faults:
                self.fault((key, *path), f"{key} ({name}): {message}")
        return str(name), None

    def stages(self, data: Mapping[str, Any]) -> tuple[Step, ...]:
        node = data.get("stages")
        if not isinstance(node, list) or not node:
            self.fault(("stages",), "needs stages, a list of at least one")
            return ()
        return self.chain(node, ("stages",), "")

    def chain(self, node: Any, path: ParameterPath, scope: str) -> tuple[Step, ...]:
        """The steps of a list, or of a single entry. Ids are the entry's own, or name and occurrence."""
        entries = [((*path, i), entry) for i, entry in enumerate(node)] if isinstance(node, list) else [(path, node)]
        steps, seen = [], dict[str, int]()
        for place, entry in entries:
            if len(self.places) >= MOST_STEPS:
                self.fault(place, f"a recipe has at most {MOST_STEPS} steps")
                break
            name, value, own = self.entry(entry, place)
            if name is None:
                continue
            seen[name] = seen.get(name, 0) + 1
            id = scope + (own or (name if seen[name] == 1 else f"{name}_{seen[name]}"))
            if id in self.places:
                self.fault(place, f"two steps have the id {id!r}; give one of them another `id`")
                continue
            self.places[id] = place
            if (step := self.step(id, name, value, (*place, name), place)) is not None:
                steps.append(step)
        return tuple(steps)

    def entry(self, entry: Any, place: ParameterPath) -> tuple[str | None, Any, str | None]:
        """Name, value and own id of an entry: ``name``, ``{name: value}`` or ``{name: value, id: own}``."""
        if isinstance(entry, str):
            return entry, None, None
        if isinstance(entry, dict):
            names = [key for key in entry if key != "id"]
            own = entry.get("id")
            if len(names) == 1 and (own is None or (isinstance(own, str) and ID.fullmatch(own))):
                return names[0], entry[names[0]], own
            if len(names) == 1:
                self.fault((*place, "id"), f"an id is made of letters, digits, '_', '-' and '.'; found {own!r}")
                return names[0], entry[names[0]], None
        self.fault(place, f"a step is a name, or a mapping with one name and its parameters; found {_short(entry)}")
        return None, None, None

    def step(self, id: str, name: str, value: Any, path: ParameterPath, place: ParameterPath) -> Step | None:
        """The step; one that is wrong is replaced, for the checks that follow, by the nearest that is right."""
        try:
            plugin = registry.load(name, *registry.STAGE_GROUPS)
        except registry.UnknownPlugin as error:
            self.fault(place, str(error))
            return self.stand_in(id, error.nearest)
        except LookupError as error:
            self.fault(place, str(error))
            return None
        if isinstance(plugin, type) and issubclass(plugin, Combinator):
            return self.combinator(plugin, id, name, value, path)
        if not (isinstance(plugin, type) and issubclass(plugin, Stage)):
            self.fault(place, f"{name!r}, as {registry.origin(name, *registry.STAGE_GROUPS)} registers it, is no stage")
            return None
        if value is not None and not isinstance(value, dict):
            self.fault(place, f"{name}: parameters are a mapping, found {_short(value)}")
            return self.stand_in(id, name)
        try:
            return StageStep.read(id, name, plugin, value)
        except ParameterFaults as error:
            for where, message in error.faults:
                self.fault((*path, *where), f"{name}: {message}")
            return self.stand_in(id, name)

    def stand_in(self, id: str, name: str | None) -> Step | None:
        """A step with its defaults, in the place of one that is wrong."""
        if name is None:
            return None
        try:
            plugin = registry.load(name, *registry.STAGE_GROUPS)
            return StageStep(id, name, plugin(), Parameters.bind(plugin.Params))
        except (LookupError, ParameterFaults, TypeError):
            return None

    def combinator(self, plugin: type[Combinator], id: str, name: str, value: Any, path: ParameterPath) -> Step | None:
        def inner(node: Any, below: ParameterPath) -> tuple[Step, ...]:
            branch = "".join(f"{part}/" for part in below if isinstance(part, int))
            place = (*path, *(below if isinstance(value, dict) else below[1:]))
            return self.chain(node, place, f"{id}/{branch}")

        try:
            return plugin.read(id, name, value, inner)
        except ParameterFaults as error:
            for where, message in error.faults:
                self.fault((*path, *where), f"{name}: {message}")
        except ValueError as error:
            self.fault(path, str(error))
        return None

    def check(
        self, pipeline: Pipeline, reader: Reader | None, writer: Writer | None
    ) -> tuple[tuple[tuple[str, Signal], ...], list[Fault]]:
        """Check the chain from the reader's signal to the writer; returns the signals and the warnings."""
        if reader is None:
            return (), []
        state = State(reader.signal, reader.facts)
        signals, problems = pipeline.check(state)
        warnings: list[Fault] = []
        for problem in problems:
            place = self.places.get(problem.step, ())
            fault = Fault(self.document.name, self.document.line(place), problem.message)
            (self.faults if problem.fatal else warnings).append(fault)
        last = signals[-1][1] if signals else reader.signal
        if writer is not None and not self.faults:
            after = dict(signals)
            for i, id in enumerate(writer.params.keep):
                if id not in after:
                    self.fault(
                        ("output", "keep", i),
                        f"output: no step has the id {id!r}: {_nearest(id, list(after))}",
                    )
                elif reason := writer.refuses(after[id]):
                    self.fault(("output", "keep", i), f"output: after {id}, {reason}")
            if reason := writer.refuses(last):
                self.fault(("output",), f"output: {reason}")
            warnings += [
                Fault(self.document.name, self.document.line(("output",)), f"output: {remark}")
                for remark in writer.remarks(last)
            ]
        return (("input", reader.signal), *signals), warnings


def _nearest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
