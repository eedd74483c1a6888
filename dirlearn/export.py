"""A method of a run as one graph that needs no dirlearn: torch.export (.pt2), ONNX, or both, checked by numbers."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor, nn

from dirlearn.component import Component
from dirlearn.encoders.encoder import Posterior
from dirlearn.recipe import Recipe
from dirlearn.run import METHODS, STAGE1, load_restorer
from dirlearn.training import checkpoint as checkpoints
from dirlearn.training.job import Job
from dirlearn.training.loop import FINAL, TrainingFault
from dirlearn.training.samples import VIEW
from dirlearn.views import Views

Format = Literal["torch", "onnx"]
FILES: Final[Mapping[Format, str]] = {"torch": "restore.pt2", "onnx": "restore.onnx"}
ABOUT: Final = "export.json"
ONNX: Final = ("onnx", "onnxscript", "onnxruntime")
INPUT, OUTPUT = "degraded", "restored"
AXES: Final = ("batch", 3, "height", "width")
TOLERANCE: Final = 1e-4
"""Largest difference from the networks as they were trained: a fortieth of a step of 8 bits."""
PHOTOS: Final = ("astronaut", "coffee")
Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Difference:
    """What an exported file makes of photos, beside what the networks themselves make of them."""

    format: Format
    batch: int
    height: int
    width: int
    largest: float
    mean: float


class Restoring(nn.Module):
    """Degraded pictures (B, 3, H, W) in [0, 1] to restored ones, clipped to [0, 1].

    Attributes
    ----------
    multiple
        The networks extend pictures to a multiple of this [px].
    smallest
        Shortest side of a picture for a graph of open sizes [px].
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job
        # a job holds them where nn.Module does not see them; a graph has to take their weights along
        self.frozen = nn.ModuleDict(job.__dict__["frozen"])
        self.requires_grad_(False).eval()
        self.multiple = max((_multiple(part) for _, part in self.parts()), default=1)
        # a representation of one pixel would be a constant to the tracer
        self.smallest = self.multiple + 1

    def parts(self) -> Iterator[tuple[str, Component]]:
        """The parts that a recipe names, with their places."""
        for name, module in self.named_modules():
            if isinstance(module, Component):
                yield name.removeprefix("job.").removeprefix("frozen."), module

    def forward(self, degraded: Tensor) -> Tensor:
        return self.job.pictures(degraded, degraded)["restored"].clamp(0, 1)


def _multiple(part: nn.Module) -> int:
    return int(getattr(part, "multiple", getattr(part, "stride", 1)))


def export_method(
    recipe: Recipe,
    method: str | None,
    output: Path | None,
    formats: Sequence[Format] = ("torch", "onnx"),
    size: tuple[int, int] | None = None,
    tolerance: float = TOLERANCE,
) -> tuple[Path, list[Difference]]:
    """Write a method of a run as ``restore.pt2``, ``restore.onnx`` and ``export.json``; returns folder and differences.

    Files are compared with the networks on photos of several sizes before they get their names: one that differs is
    never left behind.

    Parameters
    ----------
    method
        The last of the recipe, if not given.
    output
        Folder; ``export/METHOD`` in the run's, if not given.
    size
        Height and width, if they are to be fixed. The batch stays open.

    Raises
    ------
    TrainingFault
        If the method has no networks, a part can't be exported, a package is missing, or a file differs by more than
        `tolerance`.
    """
    name = method or recipe.methods[-1].name
    job = load_restorer(recipe, name)
    if job is None:
        raise TrainingFault(f"{name} has no networks to export; there are {', '.join(_trained(recipe))}")
    missing = [package for package in ONNX if find_spec(package) is None]
    if "onnx" in formats and missing:
        raise TrainingFault(f"ONNX needs {', '.join(missing)}: pip install 'isp-sim[export]', or take --format torch")
    graph = Restoring(job)
    found = next(m for m in recipe.methods if name in (m.name, m.folder))
    place = output or recipe.folder / "export" / found.folder
    about = {
        **_described(graph, size),
        **_origin(recipe, found.name, found.kind, found.folder, found.needs_representation),
    }
    place.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".export.", dir=place))
    try:
        differences = write(graph, draft, formats, about, recipe.views, size)
        worst = max(differences, key=lambda d: d.largest)
        if not all(d.largest <= tolerance for d in differences):  # a NaN fails, too
            raise TrainingFault(
                f"{FILES[worst.format]} differs from {name} by {worst.largest:.3g} at {worst.height}x{worst.width}, "
                f"and may by {tolerance:g}; nothing was written"
            )
        files = {FILES[kind]: checksum(draft / FILES[kind]) for kind in formats}
        facts = {**about, "tolerance": tolerance, "files": files, "differences": [asdict(d) for d in differences]}
        (draft / ABOUT).write_text(json.dumps(facts, indent=1) + "\n")
        for made in (*files, ABOUT):
            (draft / made).replace(place / made)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return place, differences


def write(
    graph: Restoring,
    folder: Path,
    formats: Sequence[Format],
    about: Mapping[str, Any],
    views: Views | None = None,
    size: tuple[int, int] | None = None,
) -> list[Difference]:
    """Write the files of a graph, load each again, and say by how much it differs from the graph on photos."""
    differences = []
    pictures = list(photos(graph.smallest, views, size))
    with torch.no_grad():
        wanted = [graph(x) for x in pictures]
        traced = _traced(graph, size)
        for kind in formats:
            path = folder / FILES[kind]
            if kind == "torch":
                torch.export.save(traced, path, extra_files={ABOUT: json.dumps(about)})
                run = load_torch(path)
            else:
                _write_onnx(graph, traced, path, about, size)
                run = load_onnx(path)
            for x, y in zip(pictures, wanted, strict=True):
                gap = (run(x) - y).abs()
                batch, _, height, width = x.shape
                differences.append(Difference(kind, batch, height, width, float(gap.max()), float(gap.mean())))
    return differences


def photos(smallest: int, views: Views | None = None, size: tuple[int, int] | None = None) -> Iterator[Tensor]:
    """Sample photos of several sizes and batches, as a run's views degrade them; a multiple of nothing among them."""
    from dirlearn.datasets.dataset import build_dataset

    scenes = build_dataset({"samples": {"names": list(PHOTOS)}})
    sides = [(smallest, smallest), (96, 160), (131, 97), (97, 254)] if size is None else [size]
    shapes = [(1 + i % 2, max(h, smallest), max(w, smallest)) for i, (h, w) in enumerate(sides)]
    if size is not None:
        shapes = [(1, *size), (2, *size)]
    for batch, height, width in shapes:
        clean = []
        for number in range(batch):
            pixels = scenes.read(number).pixels
            repeats = (-(-height // pixels.shape[0]), -(-width // pixels.shape[1]), 1)
            clean.append(np.tile(pixels, repeats)[:height, :width].transpose(2, 0, 1))
        x = torch.from_numpy(np.stack(clean)).float() / 255
        yield x if views is None else views.render(x, PHOTOS[:batch], [VIEW] * batch, 0, 1)


def load_torch(path: Path) -> Run:
    """The graph of a .pt2 file as a function."""
    run: Run = torch.export.load(path).module()
    return run


def load_onnx(path: Path) -> Run:
    """The graph of an .onnx file as a function, by ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run([OUTPUT], {INPUT: x.numpy()})[0])


def _traced(graph: Restoring, size: tuple[int, int] | None) -> torch.export.ExportedProgram:
    height, width = size or (4 * graph.multiple + 1, 6 * graph.multiple + 2)
    x = torch.rand(2, 3, height, width)
    dims: dict[int, Any] = {0: torch.export.Dim("batch", min=1)}
    if size is None:
        dims |= {axis: torch.export.Dim(str(AXES[axis]), min=graph.smallest) for axis in (2, 3)}
    try:
        return program(graph, (x,), ({**dims},))
    except Exception as error:
        raise TrainingFault(_blame(graph, x, size, onnx=False, error=error)) from error


def program(module: nn.Module, inputs: tuple[Tensor, ...], dims: tuple[Any, ...]) -> torch.export.ExportedProgram:
    """The graph of a module, traced with example inputs; `dims` says of each which axes are open."""
    with _calm():
        return torch.export.export(
            module,
            inputs,
            dynamic_shapes=dims if len(dims) == 1 else (dims,),
            # what can't be proved of open sizes, the file checks when it is run
            prefer_deferred_runtime_asserts_over_guards=True,
        )


def _write_onnx(
    graph: Restoring,
    traced: torch.export.ExportedProgram,
    path: Path,
    about: Mapping[str, Any],
    size: tuple[int, int] | None,
) -> None:
    import onnx

    try:
        model = onnx_model(traced)
    except Exception as error:
        raise TrainingFault(_blame(graph, torch.rand(2, 3, 64, 64), size, onnx=True, error=error)) from error
    for value in (*model.graph.input, *model.graph.output):
        for axis, name in enumerate(AXES):
            dimension = value.type.tensor_type.shape.dim[axis]
            if isinstance(name, str) and not dimension.dim_value:
                dimension.dim_param = name
    del model.graph.value_info[:]  # sizes in between, in the tracer's names
    onnx.helper.set_model_props(model, {key: _text(value) for key, value in about.items()})
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def onnx_model(traced: torch.export.ExportedProgram) -> Any:
    """A graph as `onnx.ModelProto`."""
    with _calm():
        made = torch.onnx.export(traced, input_names=[INPUT], output_names=[OUTPUT], dynamo=True, verbose=False)
    if made is None:
        raise TrainingFault("torch.onnx gave nothing")
    return made.model_proto


@contextmanager
def _calm() -> Iterator[None]:
    """Without what torch says of itself: its own deprecations, and packages that are not needed here."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class _Alone(nn.Module):
    """One part with what it is called with; what is no tensor is kept as it was."""

    def __init__(self, part: nn.Module, arguments: tuple[Any, ...]) -> None:
        super().__init__()
        self.part, self.arguments = part, arguments

    def forward(self, *tensors: Tensor) -> Tensor:
        given = iter(tensors)
        made = self.part(*(next(given) if isinstance(a, Tensor) else a for a in self.arguments))
        found: Tensor = made.mean if isinstance(made, Posterior) else made
        return found


def _blame(graph: Restoring, x: Tensor, size: tuple[int, int] | None, onnx: bool, error: Exception) -> str:
    """Which part can't be exported: each is tried alone, on what it is called with."""
    said = "to ONNX" if onnx else "by torch.export"
    advice = "" if size is not None else "; with a fixed --size it may be"
    for name, alone, inputs in _calls(graph, x):
        try:
            dims = tuple(
                {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC} if i.ndim == 4 else None for i in inputs
            )
            traced = program(alone, inputs, (dims if size is None else (None,) * len(inputs),))
            if onnx:
                onnx_model(traced)
        except Exception as cause:  # noqa: BLE001  # whatever a part from outside does wrong
            kind = type(alone.part)
            return f"{name} ({kind.__module__}.{kind.__qualname__}) can't be exported {said}{advice}: {_first(cause)}"
    return f"the networks can't be exported {said}{advice}: {_first(error)}"


def _calls(graph: Restoring, x: Tensor) -> list[tuple[str, _Alone, tuple[Tensor, ...]]]:
    """Each part with the tensors it is called with for a picture."""
    calls: list[tuple[str, _Alone, tuple[Tensor, ...]]] = []

    @contextmanager
    def watched(name: str, part: Component) -> Iterator[None]:
        def note(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            tensors = tuple(a for a in arguments if isinstance(a, Tensor))
            calls.append((name, _Alone(module, arguments), tensors))

        handle = part.register_forward_pre_hook(note)
        try:
            yield
        finally:
            handle.remove()

    with ExitStack() as stack, torch.no_grad():
        for name, part in graph.parts():
            stack.enter_context(watched(name, part))
        graph(x)
    return calls


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__


def _described(graph: Restoring, size: tuple[int, int] | None) -> dict[str, Any]:
    """What a user of the file must know."""
    shape = [axis if size is None or axis == "batch" or axis == 3 else size[i - 2] for i, axis in enumerate(AXES)]
    pictures = {"layout": "NCHW, RGB", "dtype": "float32", "domain": "sRGB code values in [0, 1]", "shape": shape}
    return {
        "format": 1,
        "input": {"name": INPUT, **pictures},
        "output": {"name": OUTPUT, **pictures, "clipped": True},
        "stride": max((int(getattr(part, "stride", 1)) for _, part in graph.parts()), default=1),
        "smallest_side": graph.smallest if size is None else None,
    }


def _origin(recipe: Recipe, name: str, kind: str, folder: str, staged: bool) -> dict[str, Any]:
    """Where the file comes from."""
    # where a run lies and how it was computed change nothing
    decides = {key: value for key, value in recipe.resolved.items() if key != "run"}
    canonical = json.dumps(decides, sort_keys=True, separators=(",", ":"))
    places = [recipe.folder / METHODS / folder, *([recipe.folder / STAGE1] if staged else [])]
    return {
        "method": name,
        "kind": kind,
        "recipe_sha256": hashlib.sha256(canonical.encode()).hexdigest(),
        "weights_sha256": [json.loads((place / FINAL / checkpoints.ABOUT).read_bytes())["sha256"] for place in places],
        "versions": checkpoints.versions(ONNX),
    }


def _trained(recipe: Recipe) -> list[str]:
    return [m.name for m in recipe.methods if m.training is not None]


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
