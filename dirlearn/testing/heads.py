"""Laws of heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import torch
from torch import Tensor

from dirlearn.heads.head import Head
from dirlearn.targets import IGNORE, Boxes, Masks, ScoredBoxes, ScoredMasks, SemanticMap, Target
from dirlearn.testing.component import DECLARED, Subject, check_generators
from isp_sim.parameters import Parameters
from isp_sim.randomness import generator
from isp_sim.testing.law import Broken, Law, NotApplicable, law

CLASSES: Final = 4
SIZES: Final = ((45, 70), (64, 64))
"""One that no stride divides, and one that most do."""
KINDS: Final = (SemanticMap, Boxes, Masks)
RUNS: Final = ("class facts", "runs")
NEAR: Final = 1e-3
"""How far scores may move with what else is in the batch: convolutions of another shape add in another order."""


class HeadSubject(Subject):
    """A head of four classes. Parameters that are given take the place of the defaults, which may be large networks."""

    plugin: Any

    def __init__(self, name: str, plugin: Any, given: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(name, plugin)
        self.settings = [{"classes": CLASSES, **setting} for setting in (given or [{}])]
        if given:
            for setting in self.settings:
                Parameters.bind(self.model, setting)

    @cached_property
    def heads(self) -> list[tuple[str, Any]]:
        """Made once: no law leaves its weights other than it found them."""
        return [(str(setting), self.make(setting)) for setting in self.settings]

    def cases(self) -> Iterator[tuple[str, Any, Tensor]]:
        """A name, a head, two pictures."""
        for setting, head in self.heads:
            for height, width in SIZES:
                yield f"{setting}, {height}x{width}", head, pictures(height, width)

    def labels(self, picture: Tensor, classes: Sequence[Sequence[int]], crowd: int | None = None) -> list[Any]:
        """A target for each picture, with an object or a stripe of each class."""
        return [target(self.plugin.takes, picture.shape[-2:], one, crowd) for one in classes]


def pictures(height: int, width: int, count: int = 2) -> Tensor:
    rng = generator(0, f"{height}x{width}", 0, "kit", "pictures")
    return torch.from_numpy(rng.random((count, 3, height, width))).float()


def target(kind: type[Target], size: torch.Size, classes: Sequence[int], crowd: int | None = None) -> Any:
    """Labels with an object of each class, of which one may be a crowd; without any, a map in which nothing counts."""
    height, width = size
    if kind is SemanticMap:
        labelled = torch.full((height, width), IGNORE)
        for i, number in enumerate(classes):
            labelled[height * i // len(classes) : height * (i + 1) // len(classes)] = number
        labelled[:2] = IGNORE
        return SemanticMap(labelled)
    count = len(classes)
    corners = torch.tensor([[2.0 + 5 * i, 3.0 + 4 * i, 22.0 + 6 * i, 27.0 + 4 * i] for i in range(count)])
    corners = corners.double().reshape(-1, 4)
    about = (torch.tensor(list(classes), dtype=torch.int64), torch.arange(count) == (-1 if crowd is None else crowd))
    areas = (corners[:, 2:] - corners[:, :2]).prod(dim=1)
    if kind is Boxes:
        return Boxes(corners, *about, areas)
    masks = torch.zeros(count, height, width, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, corners.long().tolist(), strict=True):
        mask[y0:y1, x0:x1] = True
    return Masks(masks, *about, areas)


@law(
    "class facts",
    "takes is SemanticMap, Boxes or Masks, needs a tuple of names of packages, Params is derived from Head.Params",
    "takes forgotten; a text in place of a tuple of one text; Params of one's own without `classes`",
)
def class_facts(s: Subject) -> str | None:
    faults, plugin = [], s.plugin
    if getattr(plugin, "takes", None) not in KINDS:
        faults.append(f"takes is {getattr(plugin, 'takes', 'missing')!r}")
    needs: Any = getattr(plugin, "needs", None)
    if not (isinstance(needs, tuple) and all(isinstance(name, str) for name in needs)):
        faults.append(f"needs is {needs!r}")
    if not (isinstance(plugin.Params, type) and issubclass(plugin.Params, Head.Params)):
        faults.append(f"Params is {plugin.Params!r}")
    if faults:
        raise Broken("; ".join(faults))
    return None


@law(
    "runs",
    "of pictures of any size and labels in their pixels, the loss is one finite number above 0",
    "a size that the network's stride must divide: extend the picture; a loss for each picture in place of one",
    after=("class facts",),
)
def runs(s: HeadSubject) -> str | None:
    for where, head, picture in s.cases():
        loss = head.train().loss(picture, s.labels(picture, [[0, 3], [2]])).detach()
        if loss.shape != () or not bool(loss.isfinite()) or float(loss) <= 0:
            raise Broken(f"{where}: the loss is {loss!r}")
    return None


@law(
    "gradients",
    "finite gradients reach the pictures and every weight that is trained",
    "torch.no_grad or detach before the network; a weight that is not used: several processes would wait for it",
    after=RUNS,
)
def gradients(s: HeadSubject) -> str | None:
    for where, head, picture in s.cases():
        picture.requires_grad_()
        check_gradients(s, head, picture, s.labels(picture, [[0, 3], [2]]), where)
        if picture.grad is None or not bool(picture.grad.isfinite().all()):
            raise Broken(f"{where}: no finite gradient reaches the pictures")
        if missing := [i for i, gradient in enumerate(picture.grad) if not bool(gradient.any())]:
            raise Broken(f"{where}: that of picture {missing[0]} is 0")
    return None


@law(
    "nothing labelled",
    "pictures without objects, and maps in which nothing counts, have a finite loss, with a gradient at every weight",
    "a mean over nothing; a branch without objects in which weights are not used",
    after=RUNS,
)
def nothing_labelled(s: HeadSubject) -> str | None:
    for where, head, picture in s.cases():
        check_gradients(s, head, picture, s.labels(picture, [[], []]), where)
        check_gradients(s, head, picture, s.labels(picture, [[1], []]), where)
    return None


def check_gradients(s: HeadSubject, head: Any, picture: Tensor, labels: list[Any], where: str) -> None:
    """Broken, if the loss is not finite, or a trained weight has no finite gradient."""
    head.train().zero_grad()
    loss = head.loss(picture, labels)
    if not bool(loss.isfinite()):
        raise Broken(f"{where}: the loss is {loss.item()}")
    loss.backward()
    for name, parameter in head.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            raise Broken(f"{where}: none reaches {name}")
        if parameter.requires_grad and not bool(parameter.grad.isfinite().all()):
            raise Broken(f"{where}: that of {name} is not finite")
    head.zero_grad()


@law(
    "crowds",
    "an object that is a crowd changes the loss by nothing",
    "the flag `crowd` of the labels overlooked",
    after=RUNS,
)
def crowds(s: HeadSubject) -> str | None:
    if s.plugin.takes is SemanticMap:
        raise NotApplicable("maps know no crowds")
    for where, head, picture in s.cases():
        losses = []
        for labels in (s.labels(picture, [[0], [2]]), s.labels(picture, [[0, 1], [2, 3]], crowd=1)):
            torch.manual_seed(0)
            losses.append(float(head.eval().loss(picture, labels).detach()))
        if losses[0] != losses[1]:
            raise Broken(f"{where}: without crowds the loss is {losses[0]:.6g}, with them {losses[1]:.6g}")
    return None


@law(
    "predictions",
    "there is one for each picture, of its kind, at the picture's size: classes 0 to classes - 1, finite scores, boxes "
    "that lie in the picture, with their right edge right of the left one",
    "findings at the network's size, a class for nothing that is not left out, an extended picture that is not cut",
    after=RUNS,
)
def predictions(s: HeadSubject) -> str | None:
    for where, head, picture in s.cases():
        found = predicted(head, picture)
        if len(found) != len(picture):
            raise Broken(f"{where}: {len(found)} predictions for {len(picture)} pictures")
        for one in found:
            if fault := invalid(one, s.plugin.takes, picture.shape[-2:]):
                raise Broken(f"{where}: {fault}")
    return None


def predicted(head: Any, picture: Tensor) -> list[Any]:
    with torch.no_grad():
        return list(head.eval().predict(picture))


def invalid(found: Any, kind: type[Target], size: torch.Size) -> str | None:
    """What is wrong with a prediction."""
    kinds: dict[type[Target], type[Any]] = {SemanticMap: SemanticMap, Boxes: ScoredBoxes, Masks: ScoredMasks}
    wanted = kinds[kind]
    if not isinstance(found, wanted):
        return f"a {type(found).__name__} in place of {wanted.__name__}"
    classes = found.classes
    if classes.is_floating_point() or bool(((classes < 0) | (classes >= CLASSES)).any()):
        return f"classes of {classes.dtype} up to {classes.max().item()}"
    if isinstance(found, SemanticMap):
        return None if classes.shape == size else f"a map of {tuple(classes.shape)} for {tuple(size)}"
    shapes = found.xyxy if isinstance(found, ScoredBoxes) else found.masks
    if not len(shapes) == len(found.scores) == len(classes):
        return f"{len(shapes)} objects, {len(found.scores)} scores, {len(classes)} classes"
    if not bool(found.scores.isfinite().all()):
        return "a score that is no finite number"
    if isinstance(found, ScoredMasks):
        right = shapes.dtype == torch.bool and shapes.shape[1:] == size
        return None if right else f"masks of {shapes.dtype} and {tuple(shapes.shape)} for {tuple(size)}"
    height, width = size
    edge = shapes.new_tensor([width, height, width, height])
    if shapes.shape[1:] != (4,) or not bool(((shapes >= 0) & (shapes <= edge)).all()):
        return "a box that does not lie in the picture"
    return "a box with its edges exchanged" if bool((shapes[:, 2:] < shapes[:, :2]).any()) else None


@law(
    "samples apart",
    "what is found in a picture does not depend on what else is in the batch",
    "statistics over the batch in evaluation mode; one threshold or one list for the whole batch",
    after=(*RUNS, "predictions"),
)
def samples_apart(s: HeadSubject) -> str | None:
    for where, head, picture in s.cases():
        both = predicted(head, torch.cat([picture[:1], 0.1 * picture[1:]]))
        (alone,) = predicted(head, picture[:1])
        if isinstance(alone, SemanticMap):
            differing = (alone.classes != both[0].classes).double().mean().item()
            if differing > NEAR:
                raise Broken(f"{where}: alone, {differing:.1%} of the pixels are of another class")
            continue
        if len(alone.scores) != len(both[0].scores):
            raise Broken(f"{where}: alone, {len(alone.scores)} objects are found, and {len(both[0].scores)} beside one")
        first, second = (one.scores.sort(descending=True).values for one in (alone, both[0]))
        if (off := (first - second).abs().max().item() if len(first) else 0.0) > NEAR:
            raise Broken(f"{where}: alone, a score differs by {off:.3g}")
    return None


@law(
    "own generators",
    "predict neither reads nor advances the global generators",
    "a dropout that is not switched off, points or proposals drawn at random",
    after=(*RUNS, "predictions"),
)
def own_generators(s: HeadSubject) -> str | None:
    for where, head, picture in s.cases():

        def run(head: Any = head, picture: Tensor = picture) -> Tensor:
            return flat(predicted(head, picture))

        check_generators(run, where)
    return None


@law(
    "copies",
    "a head of other weights finds the same to the last bit once it has the state_dict",
    "weights or statistics that are kept outside parameters and buffers",
    after=(*RUNS, "predictions"),
)
def copies(s: HeadSubject) -> str | None:
    picture = pictures(*SIZES[0])
    for (where, head), setting in zip(s.heads, s.settings, strict=True):
        other = s.make(setting, seed=1)
        other.load_state_dict(head.state_dict())
        if not torch.equal(flat(predicted(head, picture)), flat(predicted(other, picture))):
            raise Broken(f"{where}: it finds something else")
    return None


def flat(found: Sequence[Any]) -> Tensor:
    """All numbers of predictions, in a row."""
    return torch.cat([value.double().flatten() for one in found for value in vars(one).values()])


LAWS: Final[tuple[Law, ...]] = (
    class_facts,
    *DECLARED,
    runs,
    gradients,
    nothing_labelled,
    crowds,
    predictions,
    samples_apart,
    own_generators,
    copies,
)


def suited(name: str, plugin: Any, given: Any) -> tuple[Subject, tuple[Law, ...]]:
    """What is tested, and by which laws.

    Raises
    ------
    TypeError
        If the plugin is no head.
    """
    if not (isinstance(plugin, type) and issubclass(plugin, Head)):
        raise TypeError(f"{name} is no Head")
    return HeadSubject(name, plugin, given), LAWS
