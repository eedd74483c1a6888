"""How fast pictures pass, beside peers measured in turn with ours.

python benchmarks/speed.py --data DIR --json FILE

One mosaic of 4 MP of the shape of a phone's frame, float32, all cores; the medians of several runs, ours and the peers'
in turn. The picture is made up (fine detail, no two pixels equal), because no algorithm here is faster on another one.
The crops are cut from the photographs in DIR.
"""

from __future__ import annotations

import io
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from report import ROOT, Target, arguments, at_least, at_most, publish

import isp_sim
from isp_sim import recipe as recipes
from isp_sim.frame import Capture, Frame
from isp_sim.pipeline import Pipeline
from isp_sim.signal import Signal

SIZE = (1736, 2312)
LARGE = (4000, 6000)
RUNS, WARM = 9, 3
RAW = Signal(
    layout="mosaic",
    cfa="RGGB",
    levels="dn",
    colour="camera",
    transfer="linear",
    reference="scene",
    white_balanced=False,
)
DEVELOP = """
version: 1
input: {reader: raw}
stages:
  - normalise
  - white_balance
  - demosaic: {method: malvar2004}
  - colour_matrix
  - tone_curve: {points: [[0, 0], [0.02, 0.021], [0.18, 0.25], [0.5, 0.65], [1, 1]]}
  - srgb_oetf
  - quantise: {bits: 8}
output: {writer: files, path: out/, format: png}
"""


def in_turn(functions: Mapping[str, Callable[[], Any]], runs: int = RUNS) -> dict[str, float]:
    """The median time of each [s]; one run each, then the next, so that a slow moment meets them all."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for run in range(runs + WARM):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if run >= WARM:  # the first fill caches, and the memory that is kept
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(t) for name, t in times.items()}


def raw_frame(size: tuple[int, int]) -> Frame:
    rng = np.random.default_rng(1)
    codes = rng.integers(64, 1023, (1, 1, *size), dtype=np.uint16)
    facts = {
        "black_level": torch.full((1, 1, 2, 2), 64.0),
        "white_level": torch.full((1, 1, 2, 2), 1023.0),
        "wb_gains": torch.tensor([2.0, 1.0, 1.6]).view(1, 3, 1, 1),
        "ccm": torch.tensor([[[1.7, -0.5, -0.2], [-0.2, 1.5, -0.3], [0.0, -0.5, 1.5]]]),
    }
    return Frame(torch.from_numpy(codes.astype(np.float32)), RAW, Capture(facts))


def pipeline(text: str) -> Pipeline:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(text)
        return recipes.read(path).pipeline


def demosaicing() -> tuple[list[dict[str, Any]], list[Target]]:
    """Ours beside colour-demosaicing, OpenCV and kornia, on one mosaic in [0, 1]."""
    steps = pipeline(DEVELOP).steps[:2]
    balanced = Pipeline(steps).run(raw_frame(SIZE)).frame
    functions: dict[str, Callable[[], Any]] = {}
    for method in ("bilinear", "malvar2004", "hamilton_adams1997", "menon2007"):
        chain = Pipeline(pipeline(DEVELOP.replace("malvar2004", method)).steps[2:3])
        functions[f"isp_sim {method}"] = lambda chain=chain: chain.run(balanced)  # type: ignore[misc]  # bound now, not when it runs
    mosaic = balanced.pixels[0, 0].numpy()
    try:
        import colour_demosaicing as peer
    except ImportError:
        pass
    else:
        single = mosaic.astype(np.float64)  # it computes in float64 whatever it gets
        functions["colour-demosaicing bilinear"] = lambda: peer.demosaicing_CFA_Bayer_bilinear(single, "RGGB")
        functions["colour-demosaicing malvar2004"] = lambda: peer.demosaicing_CFA_Bayer_Malvar2004(single, "RGGB")
        functions["colour-demosaicing menon2007"] = lambda: peer.demosaicing_CFA_Bayer_Menon2007(single, "RGGB")
    try:
        import cv2
    except ImportError:
        pass
    else:
        codes = (mosaic.clip(0, 1) * 65535).astype(np.uint16)
        functions["OpenCV bilinear, 16 bit"] = lambda: cv2.demosaicing(codes, cv2.COLOR_BayerBG2RGB)
    try:
        from kornia.color import CFA, raw_to_rgb
    except ImportError:
        pass
    else:
        even = balanced.pixels
        functions["kornia bilinear"] = lambda: raw_to_rgb(even, CFA.BG)
    times = in_turn(functions)
    pixels = SIZE[0] * SIZE[1] / 1e6
    rows = [{"what": f"demosaic 4 MP: {name}", "time [ms]": 1e3 * t, "MP/s": pixels / t} for name, t in times.items()]
    targets = []
    for method in ("bilinear", "malvar2004", "menon2007"):
        theirs = times.get(f"colour-demosaicing {method}")
        ratio = None if theirs is None else theirs / times[f"isp_sim {method}"]
        targets.append(at_least(f"{method}, throughput over colour-demosaicing's", ratio, 10))
    return rows, targets


def developing() -> tuple[list[dict[str, Any]], list[Target]]:
    """A RAW file's samples to 8 bits, beside LibRaw's development of the same samples by AHD."""
    import rawpy

    from isp_sim.formats.dng import DNG

    frame = raw_frame(SIZE)
    chain = pipeline(DEVELOP)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.dng"
        path.write_bytes(DNG(DNG.Params()).encode(frame))
        with rawpy.imread(str(path)) as raw:
            _ = raw.raw_image  # unpacked before the clock starts

            def libraw() -> None:
                raw.postprocess(demosaic_algorithm=rawpy.DemosaicAlgorithm.AHD, use_camera_wb=True, no_auto_bright=True)

            times = in_turn({"isp_sim": lambda: chain.run(frame), "LibRaw AHD": libraw})
    pixels = SIZE[0] * SIZE[1] / 1e6
    rows = [{"what": f"RAW to 8 bit, 4 MP: {n}", "time [ms]": 1e3 * t, "MP/s": pixels / t} for n, t in times.items()]
    ratio = times["LibRaw AHD"] / times["isp_sim"]
    return rows, [at_least("RAW to 8 bit, throughput over LibRaw's AHD", ratio, 5)]


def strips_equal() -> Target:
    """Whether the frame developed strip by strip has the bits of the frame developed as a whole."""
    frame, chain = raw_frame(SIZE), pipeline(DEVELOP)
    by_strips = chain.run(frame).frame.pixels
    whole = chain.run(frame, watch=lambda step, frame: None).frame.pixels
    return at_most("pixels that differ between strips and whole", float((by_strips != whole).sum()), 0)


def memory() -> tuple[list[dict[str, Any]], list[Target]]:
    """The peak memory of developing 24 MP, in a process of its own, over what it held before the frame was made."""
    answer = subprocess.run(
        [sys.executable, __file__, "--memory"], capture_output=True, text=True, check=True, cwd=ROOT / "benchmarks"
    )
    ratio = float(answer.stdout) / (LARGE[0] * LARGE[1] * 4)
    row = {"what": "develop 24 MP, peak memory", "over the float32 mosaic [factor]": ratio}
    return [row], [at_most("develop 24 MP, peak memory over its float32 mosaic", ratio, 12)]


def _peak() -> float:
    chain, small = pipeline(DEVELOP), raw_frame((64, 64))
    chain.run(small)
    before = _most_memory()
    developed = chain.run(raw_frame(LARGE)).frame
    after = _most_memory()
    del developed
    return float(after - before)


def _most_memory() -> int:
    """The most memory this process has held [byte]. Not by getrusage, which begins with what the parent held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))


def crops(data: Path) -> tuple[list[dict[str, Any]], list[Target]]:
    """16 crops of 128x128, each with parameters of its own, through recipes/ablation_noise_jpeg.yaml."""
    render = isp_sim.load(ROOT / "recipes" / "ablation_noise_jpeg.yaml")
    photos = sorted(data.rglob("Kodak24*/*.png"))[:4]
    if not photos:
        raise SystemExit(f"no Kodak photographs (Kodak24*/*.png) below {data}")
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in photos]
    cut = [p[y : y + 128, x : x + 128] for p in pictures for y in (32, 232) for x in (32, 232)]
    images = [np.ascontiguousarray(crop) for crop in cut]
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    keys = [str(i) for i in range(len(images))]
    _, drawn = render(batch, keys, return_params=True)
    qualities = [values["jpeg"]["quality"] for values in drawn]

    def pillow() -> None:
        for image, quality in zip(images, qualities, strict=True):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "JPEG", quality=quality)
            np.asarray(Image.open(buffer).convert("RGB"))

    times = in_turn({"the chain": lambda: render(batch, keys), "Pillow JPEG": pillow}, 21)
    rows = [{"what": f"16 crops of 128x128: {name}", "time [ms]": 1e3 * t} for name, t in times.items()]
    ratio = times["the chain"] / times["Pillow JPEG"]
    return rows, [at_most("ablation_noise_jpeg.yaml, time over Pillow's JPEG alone", ratio, 12)]


def main() -> int:
    if sys.argv[1:] == ["--memory"]:
        sys.stdout.write(str(_peak()))
        return 0
    options = arguments(__doc__ or "").parse_args()
    rows: list[dict[str, Any]] = []
    targets: list[Target] = []
    with torch.inference_mode():
        for part in (demosaicing, developing, lambda: crops(options.data), memory):
            more, met = part()
            rows += more
            targets += met
        targets.append(strips_equal())
    return publish(rows, targets, options.json, f"Speed, medians of {RUNS} runs")


if __name__ == "__main__":
    sys.exit(main())
