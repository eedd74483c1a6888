"""From YAML to a checked training: every fault at once, each with file and line, before anything is computed."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast, get_args

from pydantic import BaseModel, ValidationError

from dirlearn.settings import (
    Data,
    Developing,
    Evaluation,
    Heading,
    Networks,
    Pairs,
    Probes,
    Refinement,
    Run,
    Section,
    StageOne,
    Task,
    Training,
)
from dirlearn.views import Views, load_views
from isp_sim import located_yaml, registry
from isp_sim.parameters import ParameterFaults, Parameters
from isp_sim.recipe import Fault, RecipeError

VERSION: Final = 1
SECTIONS: Final = (
    "version",
    "description",
    "seed",
    "views",
    "data",
    "networks",
    "stage1",
    "stage2",
    "methods",
    "evaluation",
    "run",
)
NAME: Final = re.compile(r"[\w][\w .+*-]*")
SEEN: Final = "seen"
"""The name of the recipe's own views among the degradations of the evaluation."""
Path_ = tuple[str | int, ...]
S = TypeVar("S", bound=Section)
Kind = Literal["degraded", "clean", "isp", "autoencoder", "r0", "refine", "restorer"]
KINDS: Final = ("degraded", "clean", "isp", "autoencoder", "r0", "refine", "restorer")

GROUPS: Final[Mapping[str, str]] = {
    "encoder": "dirlearn.encoders",
    "decoder": "dirlearn.decoders",
    "estimator": "dirlearn.estimators",
    "critic": "dirlearn.critics",
    "alignment": "dirlearn.alignments",
    "head": "dirlearn.heads",
    "metrics": "dirlearn.metrics",
    "pictures": "dirlearn.picture_metrics",
    "network": "dirlearn.restorers",
    "train": "dirlearn.datasets",
    "validation": "dirlearn.datasets",
}
"""Where the names in a section are looked up."""


class Supervised(Training):
    """A baseline that learns from pairs."""

    network: str | dict[str, Any] = "nafnet"


class SupervisedPairs(Pairs):
    """The same, and then with a head."""

    network: str | dict[str, Any] = "nafnet"


@dataclass(frozen=True)
class Method:
    """One row of the results: what it is, and how it is trained (None: not at all)."""

    name: str
    kind: Kind
    training: Training | None

    @property
    def folder(self) -> str:
        return re.sub(r"\W+", "_", self.name).strip("_")

    @property
    def needs_representation(self) -> bool:
        return self.kind in ("r0", "refine")


@dataclass(frozen=True)
class Recipe:
    """A checked recipe of a training.

    Attributes
    ----------
    name
        The file it came from.
    resolved
        The recipe with every default explicit and the simulator's recipes inside; read again, it is the same recipe.
    """

    name: str
    seed: int
    views: Views
    data: Data
    networks: Networks
    stage1: StageOne
    methods: tuple[Method, ...]
    evaluation: Evaluation
    degradations: Mapping[str, Views]
    run: Run
    resolved: dict[str, Any] = field(repr=False)

    @property
    def folder(self) -> Path:
        return Path(self.run.path)

    def only(self, names: Collection[str]) -> Recipe:
        """The recipe with some of its rows."""
        methods = {name: node for name, node in self.resolved["methods"].items() if name in names}
        kept = tuple(m for m in self.methods if m.name in names)
        return replace(self, methods=kept, resolved={**self.resolved, "methods": methods})


def read(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe file.

    Parameters
    ----------
    overrides
        ``stage2.gamma1=5``: values in place of the recipe's, as YAML.

    Raises
    ------
    isp_sim.recipe.RecipeError
        With every fault that was found.
    """
    try:
        document = located_yaml.read(Path(path))
    except OSError as error:
        raise RecipeError([Fault(str(path), 1, f"can't read the recipe: {error.strerror}")]) from None
    return _Parser(document, Path(path).parent, overrides).recipe()


def parse(text: str, name: str = "<text>", base: Path | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """Check a recipe given as text; paths in it are relative to `base`. See `read`."""
    return _Parser(located_yaml.parse(text, name), base or Path(), overrides).recipe()


def read_part(text: str, group: str, option: str) -> Any:
    """A part, or a list of parts, that an option of the command line names: checked, as a recipe would hold it.

    Raises
    ------
    isp_sim.recipe.RecipeError
        With every fault that was found.
    """
    parser = _Parser(located_yaml.parse(text, "command line"), Path(), ())
    node = parser.document.data
    if not parser.faults:
        if not node or not all(isinstance(part, str | dict) for part in (node if isinstance(node, list) else [node])):
            parser.fault((), f"{option}: a part is a name, or {{name: {{parameter: value}}}}; found {text!r}")
        else:
            parser.parts(node, group, (option,))
    if parser.faults:
        raise RecipeError(parser.faults)
    return node


class _Parser:
    def __init__(self, document: located_yaml.Document, base: Path, overrides: Sequence[str]) -> None:
        self.document, self.base = document, base
        self.faults = [Fault(document.name, line, message) for line, message in document.faults]
        self.replaced: dict[Path_, str] = {}
        for text in overrides:
            self.override(text)

    def fault(self, path: Path_, message: str) -> None:
        for place, text in self.replaced.items():
            if path[: len(place)] == place:
                self.faults.append(Fault(f"-s {text}", 1, message))
                return
        self.faults.append(Fault(self.document.name, self.document.line(path), message))

    def override(self, text: str) -> None:
        """Put a value from the command line into the document."""
        dotted, equals, value = text.partition("=")
        keys = tuple(dotted.split("."))
        if not equals or not all(keys):
            self.faults.append(
                Fault(f"-s {text}", 1, "an override is a dotted name and a value, as in stage2.gamma1=5")
            )
            return
        parsed = located_yaml.parse(value, f"-s {text}")
        self.faults += [Fault(f"-s {text}", line, message) for line, message in parsed.faults]
        if not isinstance(self.document.data, dict):
            return
        node = self.document.data
        for key in keys[:-1]:
            if isinstance(node.get(key), str):  # a part by its name alone
                node[key] = {node[key]: {}}
            if node.get(key) is None:
                node[key] = {}
            if not isinstance(node[key], dict):
                self.faults.append(Fault(f"-s {text}", 1, f"{key!r} holds {node[key]!r}, in which nothing can be set"))
                return
            node = node[key]
        node[keys[-1]] = parsed.data
        self.replaced[keys] = text

    def recipe(self) -> Recipe:
        data = self.document.data
        if not isinstance(data, dict):
            if not self.faults:
                self.fault((), f"a recipe is a mapping with {', '.join(SECTIONS)}")
            raise RecipeError(self.faults)
        for key in data:
            if key not in SECTIONS:
                self.fault((key,), f"unknown key {key!r}: {_nearest(key, SECTIONS)}")
        if data.get("version") != VERSION or type(data["version"]) is not int:
            self.fault(("version",), f"needs version: {VERSION}, found {data.get('version')!r}")
        if not isinstance(data.get("description", ""), str):
            self.fault(("description",), "description must be a text")
        seed = data.get("seed", 0)
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            self.fault(("seed",), f"seed must be a whole number from 0, found {seed!r}")

        views = self.views(data.get("views"), ("views",))
        about = self.section("data", Data)
        networks = self.section("networks", Networks)
        if networks is not None:
            self.fitting(networks)
        stage1 = self.section("stage1", StageOne)
        methods = self.methods(data)
        if views is not None:
            methods = self.developing(methods, views)
        evaluation = self.section("evaluation", Evaluation)
        run = self.section("run", Run)
        degradations = {} if views is None else {SEEN: views}
        if evaluation is not None:
            for name, node in evaluation.degradations.items():
                if name == SEEN:
                    self.fault(
                        ("evaluation", "degradations", name), f"{SEEN!r} is the recipe's own views; take another name"
                    )
                elif (found := self.views(node, ("evaluation", "degradations", name))) is not None:
                    degradations[name] = found
            for name, pictures in evaluation.sets.items():
                self.parts(pictures, "dirlearn.datasets", ("evaluation", "sets", name))
            self.probes(evaluation)
        if self.faults or not (views and about and networks and stage1 and evaluation and run):
            raise RecipeError(self.faults)
        resolved = {
            "version": VERSION,
            "seed": seed,
            "views": self.inlined[("views",)],
            "data": _resolved(about),
            "networks": _resolved(networks),
            "stage1": _resolved(stage1),
            "methods": {m.name: {m.kind: _resolved(m.training) if m.training else {}} for m in methods},
            "evaluation": {
                **_resolved(evaluation),
                "sets": {name: explicit(node, "dirlearn.datasets") for name, node in evaluation.sets.items()},
                "degradations": {n: self.inlined[("evaluation", "degradations", n)] for n in evaluation.degradations},
                "probes": _resolved_probes(evaluation.probes),
            },
            "run": _resolved(run),
        }
        return Recipe(
            self.document.name, seed, views, about, networks, stage1, methods, evaluation, degradations, run, resolved
        )

    def probes(self, evaluation: Evaluation) -> None:
        asked, path = evaluation.probes, ("evaluation", "probes")
        if asked is None:
            return
        if asked.pictures is not None:
            self.parts(asked.pictures, "dirlearn.datasets", (*path, "pictures"))
        if asked.degradation not in (known := (SEEN, *evaluation.degradations)):
            self.fault(
                (*path, "degradation"),
                f"unknown degradation {asked.degradation!r}: {_nearest(asked.degradation, known)}",
            )

    inlined: dict[Path_, dict[str, Any]]

    def views(self, node: Any, path: Path_) -> Views | None:
        """An isp_sim recipe; its faults keep their own file and line where it has them."""
        self.__dict__.setdefault("inlined", {})
        if not isinstance(node, str | dict):
            self.fault(path, "needs an isp_sim recipe: a path relative to this file, or a mapping with `stages`")
            return None
        try:
            found, self.inlined[path] = load_views(node, self.base)
        except RecipeError as error:
            for fault in error.faults:
                if isinstance(node, str):
                    self.faults.append(fault)
                else:
                    self.fault(path, fault.message)
            return None
        return found

    def section(self, key: str, model: type[S]) -> S | None:
        return self.checked((self.document.data or {}).get(key, {}), model, (key,))

    def checked(self, node: Any, model: type[S], path: Path_) -> S | None:
        """A section and the parts that it names."""
        if not isinstance(node, dict):
            self.fault(path, f"{'.'.join(map(str, path))} must be a mapping; found {node!r}")
            return None
        try:
            found = model.model_validate(node)
        except ValidationError as error:
            for item in error.errors():
                where = (*path, *(k for k in item["loc"] if k in ("from", "to") or not _is_type(k)))
                self.fault(where, _said(model, where[len(path) :], item))
            return None
        before = len(self.faults)
        for name, group in GROUPS.items():
            if name in model.model_fields and getattr(found, name) is not None:
                self.parts(getattr(found, name), group, (*path, name))
        return found if len(self.faults) == before else None

    def parts(self, node: Any, group: str, path: Path_) -> None:
        """A part, or a list of parts."""
        if isinstance(node, list):
            for i, item in enumerate(node):
                self.part(item, group, (*path, i))
        else:
            self.part(node, group, path)

    def part(self, node: Any, group: str, path: Path_) -> None:
        kind = ".".join(map(str, path))
        if isinstance(node, dict) and len(node) != 1:
            self.fault(
                path, f"{kind}: a part is a name, or {{name: {{parameter: value}}}}; found {', '.join(node) or '{}'}"
            )
            return
        ((name, values),) = ({node: {}} if isinstance(node, str) else node).items()
        if values is not None and not isinstance(values, dict):
            self.fault((*path, name), f"{kind} ({name}): parameters are a mapping; found {values!r}")
            return
        try:
            plugin = registry.load(name, group)
            parameters = Parameters.bind(plugin.Params, values)
            if parameters.laws:
                raise ParameterFaults([(p, "no distribution may stand here") for p in parameters.laws])
        except LookupError as error:
            self.fault(path, f"{kind}: {error}")
        except ParameterFaults as error:
            for where, message in error.faults:
                self.fault((*path, name, *where), f"{kind} ({name}): {message}")

    def fitting(self, networks: Networks) -> None:
        """Whether the critic gives what the estimator takes, and the estimate can be maximised."""
        estimator, critic = (
            registry.load(node if isinstance(node, str) else next(iter(node)), GROUPS[kind])
            for kind, node in (("estimator", networks.estimator), ("critic", networks.critic))
        )
        if getattr(critic, "takes", "maps") != "maps":
            self.fault(("networks", "critic"), "networks.critic: scores vectors; needed is one of maps, such as local")
        if estimator.takes != critic.gives:
            said = f"the estimator takes {estimator.takes}, and the critic gives {critic.gives}"
            self.fault(("networks", "critic"), f"networks: {said}")
        elif estimator.bound == "upper":
            self.fault(
                ("networks", "estimator"), "networks.estimator: an upper bound can't be maximised; take a lower one"
            )

    def methods(self, data: Mapping[str, Any]) -> tuple[Method, ...]:
        node = data.get("methods", {"degraded": "degraded", "dirlearn": "refine"})
        self.section("stage2", Refinement)
        if not isinstance(node, dict) or not node:
            self.fault(("methods",), "methods are a mapping: the name of a row, and one of " + ", ".join(KINDS))
            return ()
        base = data.get("stage2") if isinstance(data.get("stage2"), dict) else {}
        steps = self.steps(data)
        methods: list[Method] = []
        for name, entry in node.items():
            path: Path_ = ("methods", name)
            entry = {entry: {}} if isinstance(entry, str) else entry
            if not NAME.fullmatch(name):
                self.fault(path, f"a name is made of letters, digits, spaces and '_.+*-'; found {name!r}")
            if not isinstance(entry, dict) or len(entry) != 1:
                self.fault(path, f"a method is one of {', '.join(KINDS)}, with what it changes in stage2")
                continue
            ((kind, changes),) = entry.items()
            if kind not in KINDS:
                self.fault(path, f"unknown method {kind!r}: {_nearest(kind, KINDS)}")
                continue
            method = self.method(name, cast(Kind, kind), changes or {}, base or {}, steps, (*path, kind))
            if method is not None and any(method.folder == other.folder for other in methods):
                self.fault(path, f"{name!r} would share the folder {method.folder!r} with another method")
            if method is not None:
                self.start_of_head(method, methods, (*path, kind))
                methods.append(method)
        return tuple(methods)

    def developing(self, methods: Sequence[Method], views: Views) -> tuple[Method, ...]:
        """The methods, the stages of their ISPs with every default explicit."""
        from dirlearn.developing import Tuned, TuningFault, developed

        found = []
        for method in methods:
            training, path = method.training, ("methods", method.name, method.kind)
            if isinstance(training, Developing):
                try:
                    own, stages = developed(views, training.after, training.stages)
                except TuningFault as error:
                    self.fault((*path, "after"), f"isp: {error}")
                    continue
                except RecipeError as error:
                    for fault in error.faults:
                        self.fault((*path, "stages"), f"isp: {fault.message}")
                    continue
                for name, bounds in training.tune.items():
                    try:
                        Tuned.find(own, name, *bounds)
                    except TuningFault as error:
                        self.fault((*path, "tune", name), f"isp: tune: {error}")
                if training.search is not None and not (training.tune and training.head and training.head_rate == 0):
                    said = "isp: a search needs what to tune, and a frozen head: head_from and head_rate: 0"
                    self.fault((*path, "search"), said)
                method = replace(method, training=training.model_copy(update={"stages": stages}))
            found.append(method)
        return tuple(found)

    def start_of_head(self, method: Method, earlier: Sequence[Method], path: Path_) -> None:
        """Whether the head that a row starts from is there, and a frozen one has learnt something."""
        training = method.training
        if not isinstance(training, Heading) or training.head is None:
            return
        if training.head_from is not None:
            rows = {m.name: m.training for m in earlier if isinstance(m.training, Heading) and m.training.head_rate}
            source = rows.get(training.head_from)
            if source is None:
                known = ", ".join(map(repr, rows)) or "none"
                said = f"{training.head_from!r} is no earlier row with a head that is trained; there are {known}"
                self.fault((*path, "head_from"), said)
            elif source.head is None or explicit(source.head, GROUPS["head"]) != explicit(
                training.head, GROUPS["head"]
            ):
                self.fault((*path, "head_from"), f"the head of {training.head_from!r} is another one")
        elif training.head_rate == 0 and not _parameter(training.head, "weights"):
            self.fault(
                (*path, "head_rate"), "a frozen head must have learnt something: give head_from, or weights of the head"
            )

    def steps(self, data: Mapping[str, Any]) -> tuple[int, int]:
        """Steps of Stage I and of Stage II, as far as they can be read."""
        models: dict[str, type[Training]] = {"stage1": StageOne, "stage2": Refinement}
        found = []
        for key, model in models.items():
            node = data.get(key)
            own = node.get("steps") if isinstance(node, dict) else None
            found.append(own if isinstance(own, int) else int(model.model_fields["steps"].default))
        return found[0], found[1]

    def method(
        self, name: str, kind: Kind, changes: Any, base: Mapping[str, Any], steps: tuple[int, int], path: Path_
    ) -> Method | None:
        if not isinstance(changes, dict):
            self.fault(path, f"{kind}: what it changes is a mapping; found {changes!r}")
            return None
        headed = changes.get("head", base.get("head")) is not None
        if kind in ("degraded", "clean") and not headed:
            if changes or kind == "clean":
                self.fault(path, f"{kind} pictures are not trained without a head; nothing can be set")
            return Method(name, kind, None)
        models: dict[Kind, tuple[type[Training], type[Training]]] = {
            "degraded": (Training, Heading),
            "clean": (Training, Heading),
            "isp": (Developing, Developing),
            "autoencoder": (Training, Pairs),
            "r0": (Training, Task),
            "refine": (Refinement, Refinement),
            "restorer": (Supervised, SupervisedPairs),
        }
        model = models[kind][headed]
        common = {key: value for key, value in base.items() if key in model.model_fields}
        if kind in ("autoencoder", "restorer"):
            # as many steps as both stages together, and as many with a head as every other row
            common |= {"alone": steps[0]} if headed else {"steps": sum(steps)}
        if kind != "refine" and "rate" not in common:
            common["rate"] = Refinement.model_fields["rate"].default.model_dump()
        training = self.checked({**common, **changes}, model, path)
        if isinstance(training, Task) and training.head is not None and training.gamma1 == 0:
            self.fault(path, "a head needs gamma1 over 0, the weight of its loss")
        return None if training is None else Method(name, kind, training)


def _parameter(node: Any, name: str) -> Any:
    """A parameter of a part, as the recipe has it."""
    ((_, values),) = ({node: {}} if isinstance(node, str) else node).items()
    return (values or {}).get(name)


def _is_type(step: Any) -> bool:
    """Whether a step of a pydantic location is the name of a branch of a union, not a key."""
    return isinstance(step, str) and (step in ("str", "dict[str,any]") or "[" in step)


def _said(model: type[BaseModel], where: Path_, item: Any) -> str:
    """One fault of pydantic's, said as the other faults are."""
    dotted = ".".join(map(str, where))
    if item["type"] == "extra_forbidden":
        known = _known(model, where[:-1])
        return f"unknown key {str(where[-1])!r}: {_nearest(str(where[-1]), known)}"
    if item["type"] == "missing":
        return f"needs {dotted}"
    text = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return (
        f"{dotted}: {item['input']!r}: {text}"
        if item["type"] == "value_error"
        else f"{dotted}: {item['input']!r} {text}"
    )


def _known(model: type[BaseModel], where: Path_) -> list[str]:
    """The keys that may stand at a place."""
    for step in where:
        annotation = next((f.annotation for n, f in model.model_fields.items() if step in (n, f.alias)), None)
        kinds = (annotation, *get_args(annotation))  # a section, or a section that may be null
        found = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if found is None:
            return []
        model = found
    return [field.alias or name for name, field in model.model_fields.items()]


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known) or 'none'}"


def _resolved(section: Section) -> dict[str, Any]:
    """A section with every default and every parameter of its parts explicit."""
    found: dict[str, Any] = json.loads(section.model_dump_json(by_alias=True))
    for name, field_ in type(section).model_fields.items():
        value = getattr(section, name)
        key = field_.alias or name
        if hasattr(value, "to_recipe"):
            found[key] = value.to_recipe()
        elif name in GROUPS and value is not None:
            found[key] = explicit(value, GROUPS[name])
    return found


def _resolved_probes(probes: Probes | None) -> dict[str, Any] | None:
    if probes is None:
        return None
    pictures = None if probes.pictures is None else explicit(probes.pictures, "dirlearn.datasets")
    return {**_resolved(probes.model_copy(update={"pictures": None})), "pictures": pictures}


def explicit(node: Any, group: str) -> Any:
    """A part, or a list of parts, with every parameter explicit."""
    if isinstance(node, list):
        return [explicit(item, group) for item in node]
    ((name, values),) = ({node: {}} if isinstance(node, str) else node).items()
    return {name: Parameters.bind(registry.load(name, group).Params, values).resolved()}
