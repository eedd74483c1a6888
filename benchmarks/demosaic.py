"""Demosaicing beside colour-demosaicing, LibRaw and OpenCV.

python benchmarks/demosaic.py --data DIR --json FILE [--quick]

Pictures of the folders Kodak*, McMaster* and CBSD68* below DIR, the last a set that nothing here was tuned on, are
mosaicked as they are coded, and interpolated: as RGGB, and in rows of their own, under "CFA", as X-Trans and Quad
Bayer. The figure is the mean over a folder of the PSNR of all three channels together [dB], over 8-bit results,
without 10 pixels at the border. LibRaw reads the mosaic from a 16-bit DNG and is asked for camera colours without a
tone curve. It takes no X-Trans picture smaller than its tiles, so the last period is repeated below and to the right,
and cut off. Speed is that of the whole call on one picture of 4 megapixels for ours, of the pictures themselves for the
others.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rawpy
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image
from report import Target, arguments, at_least, publish

from isp_sim import registry
from isp_sim.frame import Frame
from isp_sim.parameters import Parameters
from isp_sim.pipeline import Pipeline, StageStep
from isp_sim.signal import CFA_NAMES, Signal, cfa_rows
from isp_sim.stages.demosaic import GROUP, Demosaic
from isp_sim.stages.remosaic import Remosaic

SETS = ("Kodak", "McMaster", "CBSD68")
CFAS = {"X-Trans": CFA_NAMES["xtrans"], "Quad Bayer": CFA_NAMES["quad_bayer"]}
ANY_CFA = ("normalised_convolution", "directional_kriging")
LIBRAW_XTRANS = {"LibRaw VNG": "VNG", "LibRaw Markesteijn 1 pass": "PPG", "LibRaw Markesteijn 3 passes": "AHD"}
LIBRAW_TILE = 512
QUICK = 2
BORDER = 10
SLACK = 0.05
AIMS = {"Kodak": 39.9, "McMaster": 37.0}
BEST = "residual_blend"
LIBRAW = ("LINEAR", "VNG", "PPG", "AHD", "DCB", "DHT", "AAHD")
PAIRS = {
    "bilinear": "colour-demosaicing bilinear",
    "malvar2004": "colour-demosaicing Malvar 2004",
    "menon2007": "colour-demosaicing Menon 2007",
}

Picture = NDArray[Any]
Algorithm = Callable[[Picture], Picture]
"""From an 8-bit mosaic (H, W) to a picture (H, W, 3) in units of 8-bit code values, not rounded."""


def pictures(data: Path, name: str) -> list[Path]:
    folders = [p for p in sorted(data.rglob(f"{name}*")) if p.is_dir()]
    return [p for p in sorted(folders[0].iterdir()) if p.suffix.lower() in {".png", ".tif", ".bmp"}] if folders else []


def load(path: Path) -> Picture:
    """Without the last row and column where their number is odd, which not all peers take."""
    picture = np.asarray(Image.open(path).convert("RGB"))
    return picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]


def mosaicked(picture: Picture, cfa: str) -> Picture:
    out, rows = picture[..., 1].copy(), cfa_rows(cfa)
    for y, row in enumerate(rows):
        for x, letter in enumerate(row):
            site = (slice(y, None, len(rows)), slice(x, None, len(row)))
            out[site] = picture[site][..., "RGB".index(letter)]
    return out


def cpsnr(found: Picture, expected: Picture) -> float:
    inside = (slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    rounded = np.clip(np.round(found.astype(np.float64)), 0, 255)
    mse = np.square(rounded[inside] - expected[inside]).mean()
    return float(10 * np.log10(255**2 / mse))


def ours(cfa: str) -> dict[str, Algorithm]:
    """Those of our algorithms that know the pattern and leave a picture of the same size."""

    def make(name: str) -> Algorithm:
        algorithm = registry.load(name, GROUP)()

        def run(m: Picture) -> Picture:
            rgb = algorithm.demosaic(torch.from_numpy(m.astype(np.float32) / 255)[None, None], cfa)
            return np.asarray(rgb[0].permute(1, 2, 0)) * 255

        return run

    classes = {name: registry.load(name, GROUP) for name in sorted(registry.names(GROUP))}
    return {name: make(name) for name, found in classes.items() if found.accepts(cfa) and found.scale(cfa) == 1}


def remosaicked(cfa: str, method: str) -> Algorithm:
    """By way of RGGB, as a sensor that remosaics does it."""
    steps = tuple(
        StageStep(name, name, stage, Parameters.bind(stage.Params, values))
        for name, stage, values in (("remosaic", Remosaic(), {}), ("demosaic", Demosaic(), {"method": method}))
    )
    signal = Signal(layout="mosaic", cfa=cfa, transfer="linear")

    def run(m: Picture) -> Picture:
        frame = Frame(torch.from_numpy(m.astype(np.float32) / 255)[None, None], signal)
        return np.asarray(Pipeline(steps).run(frame).frame.pixels[0].permute(1, 2, 0)) * 255

    return run


def colour_demosaicing() -> dict[str, Algorithm]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import colour_demosaicing as peer
    functions = {
        "bilinear": peer.demosaicing_CFA_Bayer_bilinear,
        "Malvar 2004": peer.demosaicing_CFA_Bayer_Malvar2004,
        "Menon 2007": peer.demosaicing_CFA_Bayer_Menon2007,
    }
    return {f"colour-demosaicing {name}": lambda m, f=f: f(m / 255.0, "RGGB") * 255 for name, f in functions.items()}


def opencv() -> dict[str, Algorithm]:
    import cv2

    # OpenCV names the phase by the second row and column: its BG is RGGB
    codes = {
        "bilinear": cv2.COLOR_BayerBG2BGR,
        "VNG": cv2.COLOR_BayerBG2BGR_VNG,
        "EA": cv2.COLOR_BayerBG2BGR_EA,
    }
    return {f"OpenCV {name}": lambda m, code=code: cv2.cvtColor(m, code)[..., ::-1] for name, code in codes.items()}


def libraw(algorithms: dict[str, str] | None = None, cfa: str = "RGGB", least: int = 0) -> dict[str, Algorithm]:
    def make(name: str) -> Algorithm:
        def run(m: Picture) -> Picture:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "mosaic.dng"
                write_dng(path, continued(m, len(cfa_rows(cfa)), least).astype(np.uint16) * 257, cfa)
                with rawpy.imread(str(path)) as raw:
                    rgb = raw.postprocess(
                        demosaic_algorithm=rawpy.DemosaicAlgorithm[name],
                        user_wb=[1, 1, 1, 1],
                        no_auto_bright=True,
                        adjust_maximum_thr=0,
                        gamma=(1, 1),
                        output_color=rawpy.ColorSpace.raw,
                        output_bps=16,
                        user_flip=0,
                    )
            return np.asarray(rgb)[: m.shape[0], : m.shape[1]] / 257

        return run

    return {title: make(name) for title, name in (algorithms or {f"LibRaw {name}": name for name in LIBRAW}).items()}


def continued(m: Picture, period: int, least: int) -> Picture:
    """The mosaic with its last period repeated until it has `least` rows and columns."""
    y, x = (np.arange(max(length, least)) for length in m.shape)
    y, x = (
        np.where(at < length, at, at - (at - length) // period * period - period)
        for at, length in zip((y, x), m.shape, strict=True)
    )
    return m[y][:, x]


def write_dng(path: Path, samples: Picture, cfa: str) -> None:
    rows = cfa_rows(cfa)
    pattern = bytes("RGB".index(letter) for letter in "".join(rows))
    identity = [v for row in np.eye(3, dtype=int).tolist() for value in row for v in (value, 1)]
    tags = [
        (50706, "B", 4, bytes([1, 4, 0, 0]), True),
        (50707, "B", 4, bytes([1, 1, 0, 0]), True),
        (271, "s", 0, "Nobody", True),
        (272, "s", 0, "Nothing", True),
        (50708, "s", 0, "Nobody Nothing", True),
        (274, "H", 1, 1, True),
        (50778, "H", 1, 21, True),
        (33421, "H", 2, (len(rows), len(rows[0])), True),
        (33422, "B", len(pattern), pattern, True),
        (50714, "2I", 1, [0, 1], True),
        (50717, "I", 1, 65535, True),
        (50728, "2I", 3, [1, 1] * 3, True),
        (50721, "2i", 9, identity, True),
    ]
    tifffile.imwrite(path, samples, photometric=tifffile.PHOTOMETRIC.CFA, metadata=None, extratags=tags)


def measure(name: str, algorithm: Algorithm, sets: dict[str, list[Picture]], cfa: str = "RGGB") -> dict[str, Any]:
    row: dict[str, Any] = {"algorithm": name}
    pixels = seconds = 0.0
    for folder, images in sets.items():
        values = []
        for image in images:
            m = mosaicked(image, cfa)
            start = time.perf_counter()
            found = algorithm(m)
            seconds += time.perf_counter() - start
            pixels += m.size
            values.append(cpsnr(found, image))
        row[f"{folder}, dB"] = float(np.mean(values)) if values else None
    row["MP/s"] = pixels / seconds / 1e6 if seconds else None
    return row


def four_megapixels(algorithm: Algorithm) -> float:
    """Speed [MP/s] of one call on a picture of 2000 x 2000."""
    m = np.random.default_rng(0).integers(0, 256, (2000, 2000), dtype=np.uint8)
    algorithm(m[:200, :200])
    start = time.perf_counter()
    algorithm(m)
    return m.size / (time.perf_counter() - start) / 1e6


def other_cfas(sets: dict[str, list[Picture]]) -> list[dict[str, Any]]:
    rows = []
    for title, cfa in CFAS.items():
        algorithms = {name: run for name, run in ours(cfa).items() if name in ANY_CFA}
        algorithms["remosaic, menon2007"] = remosaicked(cfa, "menon2007")
        if title == "X-Trans":
            algorithms |= libraw(LIBRAW_XTRANS, cfa, LIBRAW_TILE)
        rows += [{"CFA": title, **measure(name, run, sets, cfa)} for name, run in algorithms.items()]
    return rows


def targets_of_other_cfas(rows: list[dict[str, Any]]) -> list[Target]:
    figures = {(row["CFA"], row["algorithm"]): row for row in rows}
    means, kriging, by_way = "normalised_convolution", "directional_kriging", "remosaic, menon2007"
    pairs = [
        *((cfa, kriging, means) for cfa in CFAS),
        ("Quad Bayer", by_way, means),
        ("X-Trans", kriging, "LibRaw Markesteijn 3 passes"),
    ]
    found = []
    for name, (cfa, own, other) in itertools.product(SETS, pairs):
        mine, theirs = (figures[cfa, algorithm][f"{name}, dB"] for algorithm in (own, other))
        if theirs is not None:
            found.append(at_least(f"{name}, {cfa}: {own} in dB, beside {other}", mine, round(theirs, 4)))
    return found


def targets(rows: list[dict[str, Any]], mine: set[str]) -> list[Target]:
    figures = {row["algorithm"]: row for row in rows}
    found = []
    for name in AIMS:
        column = f"{name}, dB"

        def value(algorithm: str, column: str = column) -> float | None:
            return figures.get(algorithm, {}).get(column)

        for own, peer in PAIRS.items():
            theirs = value(peer)
            if theirs is not None:
                found.append(at_least(f"{name}: {own} in dB, beside {peer}", value(own), round(theirs - SLACK, 4)))
        peers = [v for a in figures if a not in mine and (v := value(a)) is not None]
        if peers:
            found.append(at_least(f"{name}: {BEST} in dB, beside the best peer", value(BEST), round(max(peers), 4)))
        found.append(at_least(f"{name}: {BEST} in dB", value(BEST), AIMS[name]))
    return found


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} pictures a folder, no speed on 4 megapixels")
    options = parser.parse_args()
    sets = {
        name: [load(path) for path in pictures(options.data, name)[: QUICK if options.quick else None]] for name in SETS
    }
    algorithms, mine = ours("RGGB"), set(registry.names(GROUP))
    rows = []
    for make in (colour_demosaicing, libraw, opencv):
        try:
            algorithms |= make()
        except ImportError as error:
            rows.append({"algorithm": make.__name__.replace("_", "-"), "left out": str(error)})
    for name, algorithm in algorithms.items():
        row = measure(name, algorithm, sets)
        if name in mine and not options.quick:
            row["MP/s"] = four_megapixels(algorithm)
        rows.append(row)
    others = other_cfas(sets)
    found = targets(rows, mine) + targets_of_other_cfas(others)
    rows += others
    count = " and ".join(f"{len(images)} of {name}" for name, images in sets.items())
    return publish(rows, found, options.json, f"Mean CPSNR over {count}, and speed")


if __name__ == "__main__":
    sys.exit(main())
