"""What the networks of a run make of pictures: to plot, to probe, to search by."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from dirlearn.datasets.dataset import Dataset, DatasetFault, build_dataset
from dirlearn.datasets.split import check_split
from dirlearn.evaluate import add_results, read_results
from dirlearn.latents import (
    DEGRADED,
    PILOT,
    R0,
    REFERENCE,
    Cut,
    Encoders,
    Latents,
    cut_scenes,
    held_back,
    look,
    probe_run,
)
from dirlearn.recipe import Recipe
from dirlearn.refine import Refine
from dirlearn.restore import picture_files, read_picture
from dirlearn.run import RECIPE, load_method
from dirlearn.settings import Probes, Shown
from dirlearn.training.loop import Reporter, TrainingFault

FOLDER: Final = "embedding"
"""Where a run keeps the picture of its latents."""
PICTURE: Final = "tsne.png"
DIMENSIONS: Final = 50
"""Principal components that t-SNE is given, as is usual."""


@dataclass(frozen=True)
class Points:
    """Latents in a plane, a row each.

    Attributes
    ----------
    xy
        (N, 2).
    kinds, scenes, copies
        Which representation, the number of the scene, and the number of its degraded copy; -1 for the reference.
    """

    xy: NDArray[np.float64]
    kinds: tuple[str, ...]
    scenes: tuple[int, ...]
    copies: tuple[int, ...]

    def where(self, kind: str, scene: int) -> NDArray[np.float64]:
        pairs = zip(self.kinds, self.scenes, strict=True)
        return self.xy[[k == kind and s == scene for k, s in pairs]]


def lay_out(vectors: NDArray[Any], seed: int) -> NDArray[np.float64]:
    """Rows (N, D) as points of a plane by t-SNE [Maaten2008], of their first principal components.

    Raises
    ------
    DatasetFault
        If there are fewer than four rows.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    count = len(vectors)
    if count < 4:
        raise DatasetFault(f"{count} points are too few to lay out; take more scenes or copies")
    if not np.ptp(vectors, axis=0).any():
        return np.zeros((count, 2))
    if vectors.shape[1] > DIMENSIONS:
        parts = min(DIMENSIONS, count - 1)
        vectors = PCA(parts, svd_solver="randomized", random_state=seed).fit_transform(vectors)
    plane = TSNE(perplexity=min(30.0, (count - 1) / 3), init="pca", random_state=seed).fit_transform(vectors)
    return np.asarray(plane, np.float64)


def place(latents: Latents, kinds: Sequence[str], seed: int) -> Points:
    """Representations of several kinds, laid out together."""
    vectors, names, scenes, copies = [], list[str](), list[int](), list[int]()
    for kind in kinds:
        own = latents.vectors[kind]["spatial"]
        for scene, rows in enumerate(own):
            vectors.append(rows)
            names += [kind] * len(rows)
            scenes += [scene] * len(rows)
            copies += list(range(len(rows))) if kind != REFERENCE else [-1]
    return Points(lay_out(np.concatenate(vectors), seed), tuple(names), tuple(scenes), tuple(copies))


MARKERS: Final[Mapping[str, str]] = {PILOT: "^", R0: "s", REFERENCE: "*"}


def draw(points: Points, cuts: Sequence[Cut], path: Path) -> None:
    """Draw points: colour is scene, marker is kind; each kind beside the references, and the scenes below."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    kinds = [kind for kind in dict.fromkeys(points.kinds) if kind != REFERENCE]
    with_reference = REFERENCE in points.kinds
    colours = [colormaps["tab10" if len(cuts) <= 10 else "tab20"](i) for i in range(len(cuts))]
    width, thumb = 4.2 * len(kinds), 0.75
    figure = Figure(figsize=(width, 4.2 + 0.35 + thumb + 0.15))
    height = figure.get_figheight()
    spread = np.ptp(points.xy, axis=0).max() / 2 * 1.06 or 1.0
    centre = (points.xy.max(axis=0) + points.xy.min(axis=0)) / 2
    for i, kind in enumerate(kinds):
        axes = figure.add_axes(
            ((i + 0.02) / len(kinds), (thumb + 0.2) / height, 0.96 / len(kinds), 4.2 * 0.96 / height),
            xticks=[],
            yticks=[],
            xlim=(centre[0] - spread, centre[0] + spread),
            ylim=(centre[1] - spread, centre[1] + spread),
        )
        for scene, colour in enumerate(colours):
            for other in (k for k in kinds if k != kind):
                x, y = points.where(other, scene).T
                axes.scatter(x, y, s=3, marker=".", color="0.88", linewidths=0, zorder=0)
            x, y = points.where(kind, scene).T
            axes.scatter(x, y, s=16, marker=MARKERS.get(kind, "o"), color=colour, alpha=0.7, linewidths=0)
            if with_reference:
                x, y = points.where(REFERENCE, scene).T
                axes.scatter(x, y, s=190, marker="*", color=colour, edgecolors="black", linewidths=1.1, zorder=3)
        axes.set_title(f"{kind} and {REFERENCE}" if with_reference else kind, fontsize=11)
        handles = [Line2D([], [], linestyle="", marker=MARKERS.get(kind, "o"), color="0.4", markersize=5, label=kind)]
        if with_reference:
            star = Line2D([], [], linestyle="", marker="*", color="0.8", markeredgecolor="black", markersize=11)
            star.set_label(REFERENCE)
            handles.append(star)
        axes.legend(handles=handles, loc="upper right", fontsize=8, framealpha=0.8, handletextpad=0.1)
    step = min(thumb + 0.1, (width - 0.1) / len(cuts))
    for scene, (cut, colour) in enumerate(zip(cuts, colours, strict=True)):
        side = min(thumb, step - 0.06)
        inset = figure.add_axes(((0.1 + scene * step) / width, 0.08 / height, side / width, side / height))
        inset.imshow(cut.pixels.permute(1, 2, 0).numpy(), interpolation="nearest")
        inset.set(xticks=[], yticks=[])
        for edge in inset.spines.values():
            edge.set(color=colour, linewidth=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def show_latents(
    recipe: Recipe, settings: Probes, encoders: Encoders, reporter: Reporter, sets: Mapping[str, Dataset], output: Path
) -> Points:
    """The paper's Fig. 4 for a run [Guo2024]: pilot, r0, r+ and r* of several scenes by many degradations, by t-SNE.

    Writes into `output`: ``tsne.png``, ``points.csv`` and ``points.json`` (a row a point: its place, kind, scene, copy,
    and what was drawn for it), and ``vectors.npz`` (by kind, the means over the scene, (scenes, copies, channels)).
    """
    shown = settings.shown
    take = settings.model_copy(update={"limit": max(shown.scenes, settings.limit)})
    cuts = cut_scenes(sets, take, recipe.data.patch)[: shown.scenes]
    views = recipe.degradations[settings.degradation]
    latents = look(
        encoders, cuts, views, shown.copies, settings.seed, lambda n, of: reporter.step("t-SNE", n, of, None)
    )
    kinds = [k for k in (PILOT, R0, encoders.shown, REFERENCE) if k is not None and k in latents.vectors]
    points = place(latents, kinds or [k for k in latents.vectors if k != DEGRADED], settings.seed)
    draw(points, cuts, output / PICTURE)
    _write(points, latents, output)
    return points


def _write(points: Points, latents: Latents, output: Path) -> None:
    drawn = list(dict.fromkeys(name for own in latents.drawn for row in own for name in row))
    rows = []
    for (x, y), kind, scene, copy in zip(points.xy, points.kinds, points.scenes, points.copies, strict=True):
        values = latents.drawn[scene][copy] if copy >= 0 else {}
        row: dict[str, Any] = {"x": round(float(x), 4), "y": round(float(y), 4), "kind": kind}
        row |= {"scene": latents.scenes[scene].name, "copy": copy if copy >= 0 else None}
        rows.append(row | {name: values.get(name) for name in drawn})
    (output / "points.json").write_text(json.dumps(rows, indent=1) + "\n")
    with (output / "points.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    vectors = {kind: own["pooled"] for kind, own in latents.vectors.items()}
    np.savez(output / "vectors.npz", scenes=np.array([c.name for c in latents.scenes]), **vectors, allow_pickle=False)


def look_at_run(recipe: Recipe, reporter: Reporter) -> dict[str, Any] | None:
    """The probes and the picture of the latents that a recipe asks for, into the run's folder; the probes' results.

    None if the recipe asks for nothing, or the run has no representation. The pictures are checked against the training
    set before a run begins.
    """
    settings = recipe.evaluation.probes
    if settings is None:
        return None
    encoders = Encoders(recipe)
    if not encoders:
        return None
    sets = held_back(recipe, settings)
    try:
        probes: dict[str, Any] = probe_run(recipe, settings, encoders, reporter, sets)
        add_results(recipe.folder, {"probes": probes})
        show_latents(recipe, settings, encoders, reporter, sets, recipe.folder / FOLDER)
    except DatasetFault as fault:  # what was trained and measured must not be lost for that
        reporter.say(f"not probed: {fault}")
        return None
    return probes


def look_again(
    recipe: Recipe,
    reporter: Reporter,
    data: Path | None,
    output: Path,
    shown: Shown,
    method: str | None,
    limit: int,
) -> dict[str, Any]:
    """Probes and picture with more scenes and copies, of the run's own held-back pictures or of a folder's.

    Raises
    ------
    DatasetFault
        If one of the pictures is a training picture.
    TrainingFault
        If the run has no representation.
    """
    base = recipe.evaluation.probes or Probes()
    settings = base.model_copy(
        update={"shown": shown, "limit": limit, "patches": max(base.patches, 8), "copies": max(base.copies, 16)}
    )
    if data is None:
        chosen = held_back(recipe, settings)
    else:
        chosen = {data.name: build_dataset({"images": {"path": str(data.resolve())}})}
    check_split(build_dataset(recipe.data.train), chosen)
    encoders = Encoders(recipe, method)
    if not encoders:
        raise TrainingFault(f"{recipe.folder} holds no representation: it has neither Stage I nor an auto-encoder")
    probes: dict[str, Any] = probe_run(recipe, settings, encoders, reporter, chosen)
    show_latents(recipe, settings, encoders, reporter, chosen, output)
    return probes


def write_probes(folder: Path, probes: Mapping[str, Any], output: Path, own: bool) -> None:
    """Put probes of a run's own pictures into its results and report, others into ``probes.json``."""
    if not own:
        (output / "probes.json").write_text(json.dumps(probes, indent=1) + "\n")
        return
    from dirlearn.report import write_report

    add_results(folder, {"probes": probes})
    if (folder / RECIPE).exists() and "rows" in read_results(folder):
        write_report(folder)


def embed_files(recipe: Recipe, pictures: Sequence[Path], output: Path, method: str | None) -> int:
    """Write `names` and, a row each, the means over the picture of `r0`, `pilot` and `refined` (.npz, no pickles).

    Raises
    ------
    TrainingFault
        If the run has no such method with an alignment.
    """
    names = [m.name for m in recipe.methods if m.kind == "refine"]
    chosen = method or (names[-1] if names else "")
    job = load_method(recipe, chosen) if chosen else None
    if not isinstance(job, Refine):
        raise TrainingFault(f"{recipe.folder} has no alignment {chosen!r}; there are {', '.join(names) or 'none'}")
    device = torch.device("cuda" if torch.cuda.is_available() and recipe.run.device != "cpu" else "cpu")
    job.to(device)
    rows: dict[str, list[NDArray[np.float32]]] = {"r0": [], "pilot": [], "refined": []}
    files = list(picture_files(pictures))
    with torch.no_grad():
        for path, _ in files:
            x = read_picture(path).to(device)
            r0, pilot = job.representation.dir(x).mean, job.representation.dfr(x).mean
            for name, r in (("r0", r0), ("pilot", pilot), ("refined", job.alignment(r0, pilot))):
                rows[name].append(r.mean(dim=(2, 3))[0].cpu().numpy())
    output.parent.mkdir(parents=True, exist_ok=True)
    vectors = {name: np.stack(found) for name, found in rows.items()}
    np.savez(output, names=np.array([name.as_posix() for _, name in files]), **vectors, allow_pickle=False)
    return len(files)
