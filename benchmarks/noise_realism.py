"""How near simulated noise comes to real noise, beside noise that is added to the finished picture.

python benchmarks/noise_realism.py --data DIR --json FILE

Real noise is the difference of a picture and the mean of many of the same scene, DIR/CC15 and DIR/PolyU_cropped, in
8-bit sRGB; the rounded mean of each channel, by which two exposures differ, is taken off. The pictures of one camera at
one exposure are one group. Pictures are parted into stripes of 64 columns: every model is fitted to the even stripes of
a group by the same search, for the least sum of the divergences that it is then measured by on the odd ones.

- ``gaussian``: normal noise in sRGB, a standard deviation for each channel, or one and the same noise in all.
- ``poisson``: sRGB-domain Poisson noise as Real-ESRGAN adds it, scaled for each channel, or one and the same in all.
- ``physical``: back to RAW, mosaic, shot and read noise, developed again, with the smoothing of luma and chroma that
  cameras do. The noise is what noise makes of the developed picture.

All end alike: noise is added to the clean picture, clipped and rounded to 8 bits, and compressed where it says so:
PolyU at quality 75, 4:2:0, as both pictures of each pair are published; CC15, whose noisy pictures come out of the
camera as JPEG, at 95, 4:2:2.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from report import ROOT, arguments, at_most, publish
from scipy.optimize import minimize
from torch import Tensor

from isp_sim import recipe as recipes
from isp_sim.degradations.jpeg import compress, decompress
from isp_sim.frame import Frame
from isp_sim.pipeline import Pipeline
from isp_sim.signal import Signal

Array = NDArray[np.float64]
Bytes = NDArray[np.uint8]

STRIPE: Final = 64
"""Columns of a stripe [px]: whole blocks of any JPEG, and far wider than noise is correlated."""
RANGE: Final = 40
"""Differences beyond it are counted with it [1/255]."""
BIN: Final = 16
"""Intensities that are looked at together [1/255]."""
ENOUGH: Final = 4000
"""Pixels that a bin of intensities needs to count."""
FIT_PICTURES, FIT_ROWS, BLOCK = 6, 768, 16
"""What of a group's even stripes is fitted to: so many pictures at the most, evenly spread, and so many rows of all of
them together, in whole blocks of a JPEG."""

PHYSICAL = """version: 1
stages:
  - unprocess: {{profile: {profile}, develop: [white_balance, colour_matrix, tone_curve, srgb_oetf]}}
  - mosaic: {{cfa: RGGB}}
  - shot_read_noise: {{shot: 0.001, read: 0.0001}}
  - white_balance
  - demosaic: {{method: malvar2004}}
  - colour_matrix
  - tone_curve
  - srgb_oetf
  - chroma_denoise: {{method: gaussian, sigma: 1.5}}
  - bilateral: {{sigma_space: 0.6, sigma_range: 0.2, radius: 2}}
"""


@dataclass(frozen=True)
class Source:
    """A set of real pairs: where they lie, how their noisy picture was compressed, and the camera they come from."""

    name: str
    pattern: str
    quality: int
    subsampling: str
    clean_too: bool
    """Whether the clean picture was compressed as well."""
    profile: str

    def group(self, stem: str) -> str:
        """What pictures of one camera and exposure have in common in their names: all but scene and number."""
        parts = stem.split("_")
        return "_".join(parts[:2] if self.name == "CC15" else parts[:4])


SOURCES: Final = (
    Source("CC15", "CC15/*_real.png", 95, "4:2:2", False, "eld_nikon_d850"),
    Source("PolyU", "PolyU_cropped/*_real.JPG", 75, "4:2:0", True, "eld_canon_5d4"),
)


@dataclass(frozen=True)
class Pairs:
    """Stripes of clean pictures (N, H, W, 3) and their real noise, the rounded mean taken off."""

    clean: Bytes
    noise: NDArray[np.int16]

    def part(self) -> Pairs:
        """What is fitted to: of each picture other rows, from the first one's top to the last one's bottom."""
        number, height = self.clean.shape[:2]
        chosen = np.unique(np.linspace(0, number - 1, FIT_PICTURES).round().astype(int))
        rows = min(height, FIT_ROWS // len(chosen)) // BLOCK * BLOCK
        tops = np.linspace(0, height - rows, len(chosen)).astype(int) // BLOCK * BLOCK
        clean, noise = (
            np.stack([x[i, top : top + rows] for i, top in zip(chosen, tops, strict=True)])
            for x in (self.clean, self.noise)
        )
        return Pairs(clean, noise)


@dataclass(frozen=True)
class Statistics:
    """What is compared of noise: counts by channel, intensity and value; correlation of neighbours and channels."""

    counts: NDArray[np.int64]  # (3, bins, 2 RANGE + 1)
    variances: Array  # (3, bins)
    lag: Array  # (3,)
    channels: Array  # (3,), R G, G B, R B

    @property
    def enough(self) -> NDArray[np.bool_]:
        return np.asarray(self.counts.sum(axis=-1) >= ENOUGH)


def statistics(clean: Bytes, noise: NDArray[Any]) -> Statistics:
    values = np.clip(noise, -RANGE, RANGE).astype(np.int64) + RANGE
    size, bins = 2 * RANGE + 1, 256 // BIN
    flat = (np.arange(3) * bins + clean // BIN) * size + values
    counts = np.bincount(flat.ravel(), minlength=3 * bins * size).reshape(3, bins, size)
    x = np.arange(-RANGE, RANGE + 1)
    number = np.maximum(counts.sum(axis=-1), 1)
    mean = (counts * x).sum(axis=-1) / number
    variances = (counts * x * x).sum(axis=-1) / number - mean * mean
    centred = (noise - noise.mean(axis=(0, 1, 2))).reshape(*noise.shape[:2], -1, STRIPE, 3)
    spread = (centred**2).mean(axis=(0, 1, 2, 3))
    beside = (centred[..., 1:, :] * centred[..., :-1, :]).mean(axis=(0, 1, 2, 3))
    below = (centred[:, 1:] * centred[:, :-1]).mean(axis=(0, 1, 2, 3))
    together = np.corrcoef(centred.reshape(-1, 3).T)
    return Statistics(counts, variances, (beside + below) / 2 / spread, together[[0, 1, 0], [1, 2, 2]])


def divergence(real: NDArray[np.int64], model: NDArray[np.int64]) -> Array:
    """KL divergence of the real distribution from the model's, over the last axis [nat]. Half a count is added to each
    value of both, so that none is impossible."""
    p, q = ((n + 0.5) / (n + 0.5).sum(axis=-1, keepdims=True) for n in (real, model))
    return np.asarray((p * np.log(p / q)).sum(axis=-1))


@dataclass(frozen=True)
class Score:
    marginal: float
    conditional: float
    nlf: float
    lag: float

    def objective(self, correlates: bool) -> float:
        """What models are fitted by: both divergences; and, if a model shapes it, the correlation of neighbours, which
        would draw the others away from the real histograms for nothing."""
        return self.marginal + self.conditional + (self.lag**2 if correlates else 0.0)


def score(real: Statistics, model: Statistics) -> Score:
    """The distances of a model from real noise, means over channels and over bins with enough pixels."""
    bins = real.enough
    logs = np.log((model.variances[bins] + 1 / 12) / (real.variances[bins] + 1 / 12))
    return Score(
        float(divergence(real.counts.sum(axis=1), model.counts.sum(axis=1)).mean()),
        float(divergence(real.counts[bins], model.counts[bins]).mean()),
        float(np.sqrt((logs**2).mean())),
        float(np.sqrt(((model.lag - real.lag) ** 2).mean())),
    )


@dataclass(frozen=True)
class Model:
    """A way to make noise, with numbers to fit.

    Attributes
    ----------
    start, low, high
        Where the search begins, and its bounds, by parameter.
    noise
        Takes clean pictures (N, H, W, 3), the parameters and a seed; returns noise in units of 1/255.
    compressed
        Whether the picture is compressed.
    correlates
        Whether its parameters shape the correlation of neighbours.
    """

    name: str
    compressed: bool
    noise: Callable[[Bytes, Mapping[str, float], int], Array]
    start: Mapping[str, float]
    low: Mapping[str, float]
    high: Mapping[str, float]
    correlates: bool = False

    def sample(self, clean: Bytes, values: Mapping[str, float], source: Source, seed: int) -> NDArray[np.int16]:
        """Noise of 8-bit pictures: rounded, and of compressed ones if they are."""
        noisy = np.clip(np.rint(clean + self.noise(clean, values, seed)), 0, 255).astype(np.uint8)
        if not self.compressed:
            return noisy.astype(np.int16) - clean
        quiet = _compressed(clean, source) if source.clean_too else clean
        return _compressed(noisy, source).astype(np.int16) - quiet

    def fitted(self, pairs: Pairs, source: Source, steps: int) -> dict[str, float]:
        """The parameters that Nelder and Mead's search finds, in logarithms."""
        real = statistics(pairs.clean, pairs.noise)
        names = list(self.start)
        low, high = (np.log([bounds[name] for name in names]) for bounds in (self.low, self.high))

        def values(x: Array) -> dict[str, float]:
            return dict(zip(names, np.exp(np.clip(x, low, high)).tolist(), strict=True))

        def objective(x: Array) -> float:
            beyond = float(np.square(x - np.clip(x, low, high)).sum())
            made = self.sample(pairs.clean, values(x), source, 0)
            return score(real, statistics(pairs.clean, made)).objective(self.correlates) + beyond

        start = np.log([self.start[name] for name in names])
        simplex = np.stack([start, *(start + 0.35 * row for row in np.eye(len(names)))])
        options = {"maxfev": steps, "initial_simplex": simplex, "adaptive": True, "xatol": 5e-3, "fatol": 2e-4}
        return values(minimize(objective, start, method="Nelder-Mead", options=options).x)


def _compressed(pictures: Bytes, source: Source) -> Bytes:
    return np.stack([decompress(compress(picture, source.quality, source.subsampling)) for picture in pictures])


# -- models ----------------------------------------------------------------------------------------------------


def gaussian(clean: Bytes, values: Mapping[str, float], seed: int) -> Array:
    scale = np.array([values[name] for name in values])
    shape = (*clean.shape[:3], len(scale))
    return np.broadcast_to(np.random.default_rng(seed).standard_normal(shape) * scale, clean.shape)


def poisson(clean: Bytes, values: Mapping[str, float], seed: int) -> Array:
    scale = np.array([values[name] for name in values])
    light = clean / 255
    if len(scale) == 1:
        light = (light * [0.299, 0.587, 0.114]).sum(axis=-1, keepdims=True)
    levels = 2 ** np.ceil(np.log2(len(np.unique(clean))))
    counted = np.random.default_rng(seed).poisson(light * levels) / levels
    return np.broadcast_to((counted - light) * scale * 255, clean.shape)


class Physical:
    """The recipe, its camera's state and noise given from outside."""

    def __init__(self, profile: str) -> None:
        self.pipeline: Pipeline = recipes.parse(PHYSICAL.format(profile=profile)).pipeline

    def __call__(self, clean: Bytes, values: Mapping[str, float], seed: int) -> Array:
        photos = torch.from_numpy(clean).permute(0, 3, 1, 2).float() / 255
        frame = Frame(photos, Signal(bit_depth=8), keys=tuple(f"{seed} {i}" for i in range(len(clean))))
        noise = {name: torch.tensor(values[name]) for name in ("shot", "read")}
        noisy, quiet = (
            self._developed(frame, values, given) for given in (noise, dict.fromkeys(noise, torch.zeros(())))
        )
        return np.asarray(((noisy - quiet) * 255).permute(0, 2, 3, 1).double().numpy())

    def _developed(self, frame: Frame, values: Mapping[str, float], noise: Mapping[str, Tensor]) -> Tensor:
        middle, upper = values["middle"], values["upper"]
        curve = [[0, 0], [0.05, 0.05 * values["toe"]], [0.2, 0.2 + 0.8 * middle], [0.5, 0.5 + 0.5 * upper], [1, 1]]
        given = {
            "unprocess": {
                "wb_gains": torch.tensor([values["red"], 1.0, values["blue"]]),
                "tone_curve": torch.tensor(curve),
            },
            "shot_read_noise": dict(noise),
            "chroma_denoise": {name: torch.tensor(values[f"chroma {name}"]) for name in ("sigma", "strength")},
            "bilateral": {f"sigma_{name}": torch.tensor(values[f"luma {name}"]) for name in ("space", "range")},
        }
        return self.pipeline.run(frame, values=given).frame.pixels


def models(source: Source) -> list[list[Model]]:
    """By name and compression; of each the variants of which the one that fits best is taken."""
    found = []
    for name, noise, start in (("gaussian", gaussian, 4.0), ("poisson", poisson, 0.5)):
        for compressed in (False, True):
            variants = []
            for channels in (("R", "G", "B"), ("all",)):
                bounds = (dict.fromkeys(channels, value) for value in (start, start / 50, start * 20))
                variants.append(Model(name, compressed, noise, *bounds))
            found.append(variants)
    ranges = {
        "shot": (8e-4, 1e-6, 0.5),
        "read": (5e-7, 1e-9, 1e-2),
        "red": (1.8, 1.0, 4.0),
        "blue": (1.5, 1.0, 4.0),
        "toe": (0.75, 0.3, 3.0),
        "middle": (0.11, 0.005, 0.5),
        "upper": (0.3, 0.01, 0.8),
        "luma space": (0.6, 0.2, 3.0),
        "luma range": (0.2, 0.005, 2.0),
        "chroma sigma": (2.0, 0.3, 5.0),
        "chroma strength": (0.9, 0.02, 1.0),
    }
    bounds = ({name: values[i] for name, values in ranges.items()} for i in range(3))
    return [*found, [Model("physical", True, Physical(source.profile), *bounds, correlates=True)]]


# -- pairs -----------------------------------------------------------------------------------------------------


def read(source: Source, data: Path) -> dict[str, tuple[Pairs, Pairs]]:
    """The pairs of each group: the even stripes, to fit to, and the odd ones."""
    groups: dict[str, list[tuple[Bytes, NDArray[np.int16]]]] = {}
    for path in sorted(data.glob(source.pattern)):
        real, clean = (
            np.asarray(Image.open(path.with_name(path.name.replace("_real", kind))).convert("RGB"))
            for kind in ("_real", "_mean")
        )
        width = clean.shape[1] // (2 * STRIPE) * 2 * STRIPE
        real, clean = real[:, :width], clean[:, :width]
        noise = real.astype(np.int16) - clean
        offset = np.rint(noise.reshape(len(noise), -1, 2, STRIPE, 3)[:, :, 0].mean(axis=(0, 1, 2)))
        groups.setdefault(source.group(path.stem), []).append((clean, noise - offset.astype(np.int16)))
    return {
        name: tuple(
            Pairs(*(np.stack(one) for one in zip(*(map(_half(k), pair) for pair in pairs), strict=True)))
            for k in (0, 1)
        )
        for name, pairs in groups.items()
    }


def _half(k: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    def half(x: NDArray[Any]) -> NDArray[Any]:
        return x.reshape(len(x), -1, 2, STRIPE, 3)[:, :, k].reshape(len(x), -1, 3)

    return half


def measure(
    source: Source, group: str, fit: Pairs, test: Pairs, steps: int
) -> tuple[list[dict[str, Any]], dict[str, Statistics]]:
    """One row for each model of one group, and what the picture shows."""
    part = fit.part()
    known = statistics(part.clean, part.noise)
    real = statistics(test.clean, test.noise)
    rows, shown = [], {"real": real}
    for variants in models(source):
        tried = []
        for model in variants:
            values = model.fitted(part, source, steps)
            made = model.sample(part.clean, values, source, 1)
            tried.append((score(known, statistics(part.clean, made)).objective(model.correlates), model, values))
        _, model, values = min(tried, key=lambda one: one[0])
        made = statistics(test.clean, model.sample(test.clean, values, source, 2))
        found = score(real, made)
        shown[_label(model.name, model.compressed)] = made
        rows.append(
            {
                "set": source.name,
                "group": group,
                "pictures": len(test.clean),
                "model": _label(model.name, model.compressed),
                "KL, marginal": found.marginal,
                "KL, given intensity": found.conditional,
                "NLF: RMSE of log variance": found.nlf,
                "lag-1 correlation": float(made.lag.mean()),
                "lag-1, real": float(real.lag.mean()),
                "between channels": float(made.channels.mean()),
                "between channels, real": float(real.channels.mean()),
                "parameters": ", ".join(f"{name} {value:.3g}" for name, value in values.items()),
            }
        )
        print(f"{group}: {rows[-1]['model']}: {found}", flush=True)
    return rows, shown


def _label(name: str, compressed: bool) -> str:
    return f"{name}, JPEG" if compressed else name


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the groups of each set, by model."""
    found = []
    for key in dict.fromkeys((row["set"], row["model"]) for row in rows):
        group = [row for row in rows if (row["set"], row["model"]) == key]
        means = {
            name: float(np.mean([row[name] for row in group]))
            for name, value in group[0].items()
            if isinstance(value, float)
        }
        found.append({"set": key[0], "model": key[1], "groups": len(group), **means})
    return found


def draw(shown: Mapping[str, Mapping[str, Statistics]], path: Path) -> None:
    """Write a PNG: of one group of each set, the noise level functions and the histograms, real and modelled."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.0 * len(shown)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(shown), 4, squeeze=False)
    styles = {"gaussian, JPEG": "tab:gray", "poisson, JPEG": "tab:orange", "physical, JPEG": "tab:blue"}
    x = np.arange(-RANGE, RANGE + 1)
    middle = np.arange(256 // BIN) * BIN + BIN / 2
    for row, (group, found) in zip(axes, shown.items(), strict=True):
        real = found["real"]
        for channel, name in enumerate(("red", "green", "blue")):
            bins = real.enough[channel]
            row[channel].plot(middle[bins], np.sqrt(real.variances[channel, bins]), "k.", ms=8, label="real")
            for label, colour in styles.items():
                sd = np.sqrt(found[label].variances[channel, bins])
                row[channel].plot(middle[bins], sd, color=colour, label=label.partition(",")[0])
            row[channel].set(xlabel="intensity [1/255]", ylabel="standard deviation [1/255]", ylim=(0, None))
            row[channel].set_title(f"{group}: {name}", fontsize=10)
        for label, colour in {"real": "k", **styles}.items():
            counts = found[label].counts.sum(axis=(0, 1))
            style = {"ls": "", "marker": ".", "ms": 5} if label == "real" else {}
            row[3].plot(x, counts / counts.sum(), color=colour, label=label.partition(",")[0], **style)
        row[3].set(yscale="log", ylim=(1e-5, 0.5), xlim=(-30, 30), xlabel="noise [1/255]", ylabel="share")
        row[3].set_title("all channels", fontsize=10)
        row[3].legend(fontsize=8)
    figure.savefig(path, dpi=70)


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--steps", type=int, default=140, help="of the search for each model's parameters")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "pictures" / "noise_realism.png")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    shown: dict[str, dict[str, Statistics]] = {}
    for source in SOURCES:
        groups = read(source, options.data)
        for group, (fit, test) in groups.items():
            found, statistics_of = measure(source, group, fit, test, options.steps)
            rows += found
            if group == next(iter(groups)):
                shown[group] = statistics_of
    if not rows:
        raise SystemExit(f"no pairs below {options.data}: {' and '.join(s.pattern for s in SOURCES)} were looked for")
    means = summary(rows)
    targets = []
    for source in SOURCES:
        own = [row for row in means if row["set"] == source.name]
        physical = next((row for row in own if row["model"].startswith("physical")), None)
        for name in ("KL, marginal", "KL, given intensity", "NLF: RMSE of log variance"):
            best = min((row[name] for row in own if row is not physical), default=0.0)
            value = None if physical is None else physical[name]
            targets.append(at_most(f"{source.name}: physical, {name}, beside the best of the others", value, best))
    draw(shown, options.picture)
    return publish([*means, *rows], targets, options.json, "Noise of real pictures and of models")


if __name__ == "__main__":
    sys.exit(main())
