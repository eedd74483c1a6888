"""What the networks of a run make of pictures, as vectors: to plot, to probe, to search by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dirlearn.recipe import Recipe
from dirlearn.refine import Refine
from dirlearn.restore import picture_files, read_picture
from dirlearn.run import load_method
from dirlearn.training.loop import TrainingFault


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
