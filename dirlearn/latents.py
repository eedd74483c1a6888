"""What the networks of a run make of held-back scenes, each degraded many times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dirlearn import probes as measures
from dirlearn.baselines import AutoEncoder
from dirlearn.datasets.dataset import Dataset, DatasetFault, Scene, build_dataset
from dirlearn.recipe import Recipe
from dirlearn.refine import Refine
from dirlearn.run import STAGE1, load_method, stage1_job
from dirlearn.settings import Probes
from dirlearn.training.loop import Reporter, TrainingFault, load_final
from dirlearn.training.samples import VIEW
from dirlearn.views import Drawn, Views
from isp_sim.randomness import generator

PILOT: Final = "pilot"
R0: Final = "r0"
REFINED: Final = "r+"
REFERENCE: Final = "r*"
DEGRADED: Final = "picture"
"""The degraded picture itself: what there is to be told."""
FEATURES: Final = ("pooled", "statistics", "spatial")
"""The mean of each channel; with it its standard deviation, and how much neighbours differ; and everything, averaged
down to at most `PLACES`."""
PLACES: Final = 8
"""Places of a representation that are kept along each side, so that vectors of any picture stay small."""
TOGETHER: Final = 32
"""Pictures that are rendered and encoded at once."""


@dataclass(frozen=True)
class Cut:
    """A scene: a window of a picture, without degradation, (3, side, side) in [0, 1]."""

    name: str
    picture: str
    pixels: Tensor


@dataclass(frozen=True)
class Map:
    """A representation (B, C, h, w), and the variance of its posterior where it has one."""

    mean: Tensor
    variance: Tensor | None = None


class Encoders:
    """The trained encoders and alignments of a run, as one function of degraded and clean pictures.

    Attributes
    ----------
    refined
        Which of the methods makes which refined representation: ``r+``, or ``r+ of NAME`` where there are several.
    shown
        The refined representation that is drawn; None if there is none.
    """

    def __init__(self, recipe: Recipe, method: str | None = None) -> None:
        """Load everything; `method` is the one whose r+ is drawn, the last if not given.

        Raises
        ------
        TrainingFault
            If there is no such method.
        """
        names = [m.name for m in recipe.methods if m.kind == "refine"]
        self.refined = {name: REFINED if len(names) == 1 else f"{REFINED} of {name}" for name in names}
        chosen = method or (names[-1] if names else None)
        if chosen is not None and chosen not in names:
            raise TrainingFault(f"{recipe.folder} has no alignment {chosen!r}; there are {', '.join(names) or 'none'}")
        self.shown = None if chosen is None else self.refined[chosen]
        self.device = torch.device("cuda" if torch.cuda.is_available() and recipe.run.device != "cpu" else "cpu")
        self.representation = None
        if (recipe.folder / STAGE1).is_dir():
            stage1 = stage1_job(recipe)
            load_final(stage1, recipe.folder / STAGE1)
            self.representation = stage1.representation.eval().to(self.device)
        self.alignments: dict[str, torch.nn.Module] = {}
        self.autoencoders: dict[str, torch.nn.Module] = {}
        for entry in recipe.methods:
            if entry.kind in ("refine", "autoencoder"):
                job = load_method(recipe, entry.name)
                if isinstance(job, Refine):
                    self.alignments[self.refined[entry.name]] = job.alignment.eval().to(self.device)
                if isinstance(job, AutoEncoder):
                    self.autoencoders[f"latent of {entry.name}"] = job.encoder.eval().to(self.device)

    def __bool__(self) -> bool:
        """Whether the run has any representation."""
        return self.representation is not None or bool(self.autoencoders)

    def of_clean(self, clean: Tensor) -> dict[str, Map]:
        """The reference r*."""
        if self.representation is None:
            return {}
        posterior = self.representation.dfr(clean.to(self.device))
        return {REFERENCE: Map(posterior.mean, posterior.logvar.exp())}

    def __call__(self, degraded: Tensor) -> dict[str, Map]:
        """Every representation of degraded pictures."""
        x = degraded.to(self.device)
        found: dict[str, Map] = {}
        if self.representation is not None:
            pilot, r0 = self.representation.dfr(x), self.representation.dir(x)
            found[PILOT] = Map(pilot.mean, pilot.logvar.exp())
            found[R0] = Map(r0.mean, r0.logvar.exp())
            # r+ lies in the space of r*, so DfRNet's own variance is what its channels are held against
            found |= {n: Map(A(r0.mean, pilot.mean), found[PILOT].variance) for n, A in self.alignments.items()}
        return found | {name: Map(encoder(x).mean) for name, encoder in self.autoencoders.items()}


@dataclass
class Moments:
    """Mean, covariance and posterior variance of channels over scenes and places, gathered batch by batch."""

    count: int = 0
    total: Any = 0.0
    products: Any = 0.0
    variance: Any = None

    def add(self, map: Map) -> None:
        rows = map.mean.double().movedim(1, -1).flatten(0, 2)
        self.count += len(rows)
        self.total = self.total + rows.sum(dim=0).cpu().numpy()
        self.products = self.products + (rows.T @ rows).cpu().numpy()
        if map.variance is not None:
            more = map.variance.double().sum(dim=(0, 2, 3)).cpu().numpy()
            self.variance = more if self.variance is None else self.variance + more

    def activity(self) -> measures.Activity:
        mean = self.total / self.count
        posterior = None if self.variance is None else self.variance / self.count
        return measures.activity(self.products / self.count - np.outer(mean, mean), posterior)


@dataclass
class Latents:
    """Vectors of S scenes, each degraded K times.

    Attributes
    ----------
    vectors
        By representation and by kind of features, (S, K, D); of the reference (S, 1, D).
    moments
        By representation, of the first copy.
    drawn
        What was drawn for each copy of each scene.
    """

    scenes: tuple[Cut, ...]
    copies: int
    vectors: dict[str, dict[str, NDArray[np.float32]]]
    moments: dict[str, Moments]
    drawn: list[list[dict[str, Drawn]]] = field(repr=False)

    def rows(self, name: str, features: str) -> NDArray[np.float32]:
        """(S * K, D): a row a scene and copy, scenes outermost."""
        found = self.vectors[name][features]
        whole = np.broadcast_to(found, (found.shape[0], self.copies, found.shape[2]))
        return np.ascontiguousarray(whole).reshape(-1, found.shape[2])

    def repeated(self, of: Callable[[Cut], str]) -> list[str]:
        """A word on each scene, for each row of `rows`."""
        return [word for cut in self.scenes for word in [of(cut)] * self.copies]


def look(
    encoders: Encoders,
    scenes: Sequence[Cut],
    views: Views,
    copies: int,
    seed: int,
    said: Callable[[int, int], None] = lambda done, total: None,
) -> Latents:
    """Degrade every scene `copies` times, and encode all.

    Copies are renderings that no training reaches; they do not depend on how many scenes or copies there are.
    """
    parts: dict[str, dict[str, list[list[NDArray[np.float32]]]]] = {}
    moments: dict[str, Moments] = {}
    drawn: list[list[dict[str, Drawn]]] = [[] for _ in scenes]

    def keep(copy: int, maps: Mapping[str, Map]) -> None:
        for name, map in maps.items():
            if copy == 0:
                moments.setdefault(name, Moments()).add(map)
            own = parts.setdefault(name, {features: [] for features in FEATURES})
            for features, vectors in vectors_of(map.mean).items():
                while len(own[features]) <= copy:
                    own[features].append([])
                own[features][copy].append(vectors)

    total = len(scenes) * copies
    with torch.no_grad():
        for first in range(0, len(scenes), TOGETHER):
            some = scenes[first : first + TOGETHER]
            clean = torch.stack([cut.pixels for cut in some])
            keep(0, encoders.of_clean(clean))
            for copy in range(copies):
                view = VIEW + (seed << 10) + copy
                degraded, values = views.drawn(clean, [cut.name for cut in some], view)
                for place, own in enumerate(values, first):
                    drawn[place].append(own)
                keep(copy, {DEGRADED: Map(degraded), **encoders(degraded)})
                said(first * copies + (copy + 1) * len(some), total)
    vectors = {
        name: {features: np.stack([np.concatenate(batch) for batch in made], axis=1) for features, made in own.items()}
        for name, own in parts.items()
    }
    return Latents(tuple(scenes), copies, vectors, moments, drawn)


def vectors_of(r: Tensor) -> dict[str, NDArray[np.float32]]:
    """The features (B, D) of representations (B, C, h, w)."""
    places = (min(r.shape[-2], PLACES), min(r.shape[-1], PLACES))
    mean, deviation = r.mean(dim=(2, 3)), r.flatten(2).std(dim=2, correction=0)
    steps = torch.cat([step.square().flatten(2) for step in (r.diff(dim=2), r.diff(dim=3))], dim=2)
    found = {
        "pooled": mean,
        "statistics": torch.cat([mean, deviation, steps.mean(dim=2).sqrt()], dim=1),
        "spatial": F.adaptive_avg_pool2d(r, places).flatten(1),
    }
    return {name: vectors.float().cpu().numpy() for name, vectors in found.items()}


def held_back(recipe: Recipe, settings: Probes) -> Mapping[str, Dataset]:
    """The data sets that probes look at: what the recipe says, or the test sets and the validation pictures."""
    if settings.pictures is not None:
        return {"pictures": build_dataset(settings.pictures)}
    found = {name: build_dataset(node) for name, node in recipe.evaluation.sets.items()}
    return {**found, "validation": build_dataset(recipe.data.validation)}


def cut_scenes(sets: Mapping[str, Dataset], settings: Probes, patch: int) -> list[Cut]:
    """Windows of pictures that do not overlap, the first of every picture first: the one in its middle.

    Pictures that are in two sets count once. Where the others lie is a function of the seed and of the picture's name.

    Raises
    ------
    DatasetFault
        If no picture is large enough.
    """
    wanted = (settings.side or patch) // 2 * 2
    pictures: dict[str, tuple[str, Scene]] = {}
    for set_name, dataset in sets.items():
        for index in range(len(dataset)):
            if len(pictures) == settings.limit:
                break
            scene = dataset.read(index)
            if min(scene.pixels.shape[:2]) < wanted:
                continue
            pictures.setdefault(scene.digest, (f"{set_name}/{scene.key}", scene))
    if not pictures:
        raise DatasetFault(
            f"no picture of {', '.join(sets)} has {wanted}x{wanted} pixels, which the probes' scenes take"
        )
    rows = [list(_windows(name, scene, wanted, settings)) for name, scene in pictures.values()]
    return [own[number] for number in range(settings.patches) for own in rows if number < len(own)]


def _windows(name: str, scene: Scene, side: int, settings: Probes) -> Iterator[Cut]:
    height, width = scene.pixels.shape[:2]
    across = width // side
    top, left = (height % side) // 2, (width % side) // 2
    order = generator(settings.seed, name, 0, "dirlearn", "windows").permutation(height // side * across)
    middle = height // side // 2 * across + across // 2
    others = [int(place) for place in order if place != middle]
    for place in [middle, *sorted(others[: settings.patches - 1])]:
        row, column = divmod(place, across)
        y, x = top + row * side, left + column * side
        window = np.ascontiguousarray(scene.pixels[y : y + side, x : x + side].transpose(2, 0, 1))
        yield Cut(f"{name} at {x},{y}", name, torch.from_numpy(window).float() / 255)


def probe(latents: Latents) -> dict[str, Any]:
    """Everything that is measured on latents, ready for JSON."""
    asked = measures.targets([row for own in latents.drawn for row in own])
    pictures, names = latents.repeated(lambda cut: cut.picture), latents.repeated(lambda cut: cut.name)
    groups = pictures if len(set(pictures)) > 1 else names
    found = {}
    for name, moments in latents.moments.items():
        own: dict[str, Any] = {}
        if name != DEGRADED:
            use = moments.activity()
            own = {"channels": use.channels, "active": round(use.active, 4), "effective_rank": round(use.rank, 3)}
            own["collapsed"] = use.collapsed
        if len(set(groups)) > 1:
            statistics = latents.rows(name, "statistics")
            read = {
                "pooled": measures.read_targets(latents.rows(name, "pooled"), asked, groups),
                "statistics": measures.read_targets(statistics, asked, groups),
                "centred": measures.read_targets(statistics, asked, groups, names),
            }
            own["r2"] = {target: {kind: shares[target] for kind, shares in read.items()} for target in asked}
            own["retrieval"] = _retrieved(latents, name)
        found[name] = own
    return {
        "pictures": len(set(pictures)),
        "scenes": len(latents.scenes),
        "copies": latents.copies,
        "side": int(latents.scenes[0].pixels.shape[-1]),
        "apart": "pictures" if groups is pictures else "scenes",
        "chance": round(1 / len(latents.scenes), 4),
        "latents": found,
    }


def _retrieved(latents: Latents, name: str) -> dict[str, float]:
    """How often a scene is found again among all, by another copy, and by its reference."""
    scenes = len(latents.scenes)
    found = {}
    for features in ("pooled", "spatial"):
        own = latents.vectors[name][features]
        if own.shape[1] > 1:
            truth = np.repeat(np.arange(scenes, dtype=np.int64), own.shape[1] - 1)
            queries = own[:, 1:].reshape(-1, own.shape[2])
            found[features] = round(measures.retrieval(queries, own[:, 0], truth), 4)
        if name == PILOT or name.startswith(REFINED):
            truth = np.repeat(np.arange(scenes, dtype=np.int64), own.shape[1])
            gallery = latents.vectors[REFERENCE][features][:, 0]
            found[f"{features}, by {REFERENCE}"] = round(
                measures.retrieval(own.reshape(-1, own.shape[2]), gallery, truth), 4
            )
    return found


def probe_run(
    recipe: Recipe, settings: Probes, encoders: Encoders, reporter: Reporter, sets: Mapping[str, Dataset]
) -> Any:
    """Look at held-back scenes with the networks of a run, and measure; see `probe`."""
    scenes = cut_scenes(sets, settings, recipe.data.patch)
    views = recipe.degradations[settings.degradation]
    latents = look(
        encoders, scenes, views, settings.copies, settings.seed, lambda n, of: reporter.step("probes", n, of, None)
    )
    return {"degradation": settings.degradation, "seed": settings.seed, **probe(latents)}
