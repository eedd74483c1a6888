"""Pictures, capture facts and signals to test a stage on, made up from what it says that it needs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from isp_sim.parameters import StageParams
from isp_sim.randomness import generator
from isp_sim.signal import Signal, cfa_rows
from isp_sim.stage import Stage

FactMaker = Callable[[np.random.Generator], NDArray[Any]]
"""Makes one sample's value of a capture fact, without the leading batch axis."""

CFAS: Final = (
    *("GRBG", "RGGB", "BGGR", "GBRG"),
    *("GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG", "RRGGRRGGGGBBGGBB"),
    *("RWWB", "CYGM"),
)
"""The colour filter arrays that are tried: the four Bayer phases, X-Trans, Quad Bayer, and two whose sites mix colours:
RCCB, of which two sites are clear, and CYGM."""


def keyed(purpose: str, key: str) -> np.random.Generator:
    """The kit's own generator for a purpose: the same pictures and parameters in every run."""
    return generator(0, key, 0, "isp_sim.testing", purpose)


# -- capture facts ---------------------------------------------------------------------------------------------


def _gains(rng: np.random.Generator) -> NDArray[Any]:
    return rng.uniform([1.4, 1.0, 1.2], [2.6, 1.0, 2.2]).reshape(3, 1, 1)


def _matrix(rng: np.random.Generator) -> NDArray[Any]:
    matrix = np.eye(3) * 1.6 + rng.uniform(-0.3, 0.3, (3, 3))
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True))


def _table(rng: np.random.Generator) -> NDArray[Any]:
    return np.round(np.cumsum(rng.uniform(1, 8, 1201)))


def _xyz_to_camera(rng: np.random.Generator) -> NDArray[Any]:
    """Like those of real cameras, which see D65 greener than it is."""
    daylight = np.array([[0.7, -0.08, -0.1], [-0.44, 1.26, 0.2], [-0.09, 0.2, 0.58]])
    return daylight * rng.uniform(0.95, 1.05, (2, 3, 3))


def _forward(rng: np.random.Generator) -> NDArray[Any]:
    daylight = np.array([[0.75, 0.1, 0.11], [0.26, 0.92, -0.18], [0.01, -0.22, 1.03]])
    return daylight * rng.uniform(0.95, 1.05, (2, 3, 3))


def _curve(rng: np.random.Generator) -> NDArray[Any]:
    y = np.array([0.0, 0.3, 0.6, 0.85, 1.0]) + np.pad(rng.uniform(-0.08, 0.08, 3), 1)
    return np.stack([np.array([0.0, 0.2, 0.45, 0.7, 1.0]), y], axis=1)


def _geometry(rng: np.random.Generator) -> NDArray[Any]:
    """Of a grid of 3x4 points for each site of a Bayer pattern."""
    sites = [[y, x, 4096, 4096, 2, 2, 0, 3, 3, 4] for y in (0, 1) for x in (0, 1)]
    return np.concatenate([sites, rng.uniform([0, 0, 0.2, 0.2], [0.2, 0.2, 0.5, 0.5], (4, 4))], axis=1)


def _gamut(rng: np.random.Generator) -> NDArray[Any]:
    width = np.full((4, 1), 0.4)
    return np.concatenate([rng.uniform(0, 1, (4, 3)), rng.uniform(-0.04, 0.04, (4, 3)), width], axis=1)


FACTS: Final[Mapping[str, FactMaker]] = {
    "linearization_table": _table,
    "wb_gains": _gains,
    "ccm": _matrix,
    "color_matrices": _xyz_to_camera,
    "calibration_illuminants": lambda rng: rng.uniform([2700, 6000], [3200, 7000]),
    "camera_calibrations": lambda rng: np.eye(3) * rng.uniform(0.95, 1.05, (2, 3, 1)),
    "forward_matrices": _forward,
    "tone_curve": _curve,
    "digital_gain": lambda rng: rng.uniform(1.0, 1.6, (1, 1, 1)),
    "gamut_map": _gamut,
    "noise_profile": lambda rng: rng.uniform([[1e-4, 1e-6]], [[1e-2, 1e-4]]),
    "gain_map": lambda rng: rng.uniform(1, 2, (4, 3, 4)),
    "gain_map_geometry": _geometry,
    "vignette": lambda rng: rng.uniform([0, 0, 0, 0, 0, 0.4, 0.4], [0.5, 0.5, 0.1, 0.1, 0.1, 0.6, 0.6]),
    "shading_corrected": lambda rng: np.ones((2, 1, 1)),
    "iso": lambda rng: rng.uniform(100, 6400, (1, 1, 1)),
    "exposure_time": lambda rng: rng.uniform(1e-3, 1, (1, 1, 1)),
}
"""Black and white level are not among them: their shape follows from the signal."""

SHAPES: Final[Mapping[str, tuple[int | None, ...]]] = {
    "black_level": (None, None, None),
    "white_level": (None, None, None),
    "linearization_table": (None,),
    "wb_gains": (3, 1, 1),
    "ccm": (3, 3),
    "color_matrices": (2, 3, 3),
    "calibration_illuminants": (2,),
    "camera_calibrations": (2, 3, 3),
    "forward_matrices": (2, 3, 3),
    "tone_curve": (None, 2),
    "digital_gain": (1, 1, 1),
    "gamut_map": (None, 7),
    "noise_profile": (None, 2),
    "gain_map": (None, None, None),
    "gain_map_geometry": (None, 14),
    "vignette": (7,),
    "shading_corrected": (2, 1, 1),
    "placement": (2, 4),
    "iso": (1, 1, 1),
    "exposure_time": (1, 1, 1),
}
"""Of the facts that the engine knows (`isp_sim.frame.FACTS`), without the batch; None for any length."""


def period(signal: Signal) -> tuple[int, int]:
    """Rows and columns of one period of the CFA; (1, 1) if the picture has none."""
    rows = cfa_rows(str(signal.cfa)) if signal.layout == "mosaic" else ("-",)
    return len(rows), len(rows[0])


def levels(signal: Signal, key: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Black and white level of one sample, (C, h, w), whole numbers."""
    shape = (1 if signal.layout == "mosaic" else 3, *period(signal))
    rng = keyed("levels", key)
    return rng.integers(50, 80, shape).astype(float), rng.integers(1000, 1024, shape).astype(float)


# -- pixels ----------------------------------------------------------------------------------------------------


def picture(signal: Signal, size: tuple[int, int], key: str, inside: bool = False) -> NDArray[np.float32]:
    """One sample's pixels (C, H, W): random, mostly in range, some at 0 and 1 and some beyond.

    With `inside`, all are well within the range, where most functions are smooth.
    """
    rng = keyed("pixels", key)
    shape = (1 if signal.layout == "mosaic" else 3, *size)
    if inside:
        x = rng.uniform(0.05, 0.95, shape)
    else:
        x = rng.uniform(-0.05, 1.1, shape)
        x = np.where(rng.random(shape) < 0.05, np.round(np.clip(x, 0, 1)), x)
    if signal.levels == "dn":
        black, white = (
            np.tile(level, (1, -(-size[0] // level.shape[1]), -(-size[1] // level.shape[2])))[:, : size[0], : size[1]]
            for level in levels(signal, key)
        )
        x = black + (white - black) * x
        if signal.bit_depth is not None:
            x = np.round(np.maximum(x, 0))
    elif signal.bit_depth is not None:
        top = 2.0 ** int(signal.bit_depth) - 1
        x = np.round(np.clip(x, 0, 1) * top) / top
    return x.astype(np.float32)


# -- signals ---------------------------------------------------------------------------------------------------

USUAL: Final[Mapping[str, Signal]] = {
    "rgb": Signal(),
    "mosaic": Signal(
        layout="mosaic",
        cfa=CFAS[0],
        colour="camera",
        white_balanced=False,
        transfer="linear",
        reference="scene",
    ),
    "ycbcr": Signal(layout="ycbcr"),
}
_OTHERS: Final[Mapping[str, tuple[object, ...]]] = {
    "cfa": CFAS,
    "levels": ("unit", "dn"),
    "colour": ("srgb", "camera"),
    "white_balanced": (True, False),
    "transfer": ("srgb", "linear"),
    "reference": ("display", "scene"),
    "bit_depth": (None, 8),
}
"""What is tried in a field of which a stage does not say what it needs."""


def signals(stage: Stage, constants: StageParams) -> list[list[Signal]]:
    """For each layout that a stage accepts: the signals to try, first a usual one, then others in one field.

    A stage that does not name a layout is tried on ``rgb`` and ``mosaic``.
    """
    accepted = stage.requirement(constants).accepted

    def tried(base: Signal, **values: Any) -> Signal | None:
        try:
            signal = replace(base, **values)
            if stage.requirement(constants).faults(signal) or stage.refuses(signal, constants):
                return None
            stage.output_signal(signal, constants)
        except (ValueError, TypeError):  # how a stage says before a picture is read that it can't take it
            return None
        return signal

    found = []
    for layout in accepted.get("layout", ("rgb", "mosaic")):
        usual = USUAL[str(layout)]
        options = {
            name: tuple(dict.fromkeys(accepted.get(name, (getattr(usual, name), *others))))
            for name, others in _OTHERS.items()
            if name != "cfa" or layout == "mosaic"
        }
        products = itertools.islice(itertools.product(*options.values()), 1024)
        firsts = (tried(usual, **dict(zip(options, values, strict=True))) for values in products)
        if first := next((signal for signal in firsts if signal), None):
            others = (tried(first, **{name: value}) for name, values in options.items() for value in values)
            found.append(list(dict.fromkeys([first, *(signal for signal in others if signal)])))
    return found
