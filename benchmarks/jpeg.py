"""JPEG in torch beside libjpeg-turbo, through Pillow: equal samples, the gap of the soft mode, speed.

python benchmarks/jpeg.py --data DIR --json FILE

The pictures: those that come with scikit-image, the PNG files of a folder below DIR whose name begins with Kodak, and
noise, saturated noise and constants of sizes that do not fill blocks. The gap of the soft mode is its PSNR against
libjpeg-turbo on the middle 128x128 pixels of the photos, in dB, beside the PSNR of libjpeg-turbo against them. Speed is
the least processor time of several runs on a batch of 16 crops of 128x128 on one thread; kornia's codec is its
``jpeg_codec_differentiable``, if it can be imported.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from report import arguments, at_least, publish
from skimage import data
from torch import Tensor

from isp_sim.degradations.jpeg import JPEG, compress, decompress
from isp_sim.degradations.jpeg_transform import FACTORS, jpeg, quality_tables, smooth_rounding, straight_through
from isp_sim.frame import Frame
from isp_sim.parameters import Parameters, collate
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal

Picture = NDArray[np.uint8]
QUALITIES = tuple(sorted({*range(5, 101, 5), 1, 2, 3, 13, 49, 51, 67, 74, 92, 96, 97, 98, 99}))
SIZES = ((1, 1), (1, 7), (7, 1), (2, 9), (9, 2), (3, 5), (8, 8), (15, 17), (16, 16), (33, 31), (47, 64), (500, 499))
ROUNDINGS: dict[str, Callable[[Tensor], Tensor]] = {
    **{f"soft {order} [dB]": partial(smooth_rounding, order=order) for order in (1, 2, 4, 10)},
    "straight through [dB]": straight_through,
}


def photos(folder: Path, most: int) -> Iterator[Picture]:
    for photo in (data.astronaut, data.chelsea, data.coffee, data.rocket):
        yield photo()
    paths = sorted(path for path in folder.rglob("*.png") if any(p.lower().startswith("kodak") for p in path.parts))
    for path in paths[:most]:
        with Image.open(path) as image:
            yield np.asarray(image.convert("RGB"))


def made() -> Iterator[Picture]:
    """Pictures that are hard on borders, rounding and clipping."""
    rng = np.random.default_rng(0)
    for size in SIZES:
        noise = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
        yield noise
        yield (noise > 127).astype(np.uint8) * np.uint8(255)
        yield np.broadcast_to(noise[:1, :1], noise.shape).copy()


def middle(picture: Picture) -> Picture:
    top, left = (picture.shape[0] - 128) // 2, (picture.shape[1] - 128) // 2
    return picture[top : top + 128, left : left + 128]


def tensor(picture: Picture) -> Tensor:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]


def psnr(a: Any, b: Any) -> float:
    error = np.mean((np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)) ** 2)
    return float(10 * np.log10(255**2 / max(float(error), 1e-10)))


class Tally:
    """Sums over pictures."""

    def __init__(self) -> None:
        self.samples = self.equal = self.largest = 0

    def compare(self, picture: Picture, quality: int, subsampling: str) -> None:
        tables = quality_tables(torch.tensor([quality]))
        expected = decompress(compress(picture, quality, subsampling))
        found = jpeg(tensor(picture).to(torch.int32), tables, subsampling)[0].permute(1, 2, 0).numpy()
        self.samples += expected.size
        self.equal += int((found == expected).sum())
        self.largest = max(self.largest, int(np.abs(found - expected.astype(np.int32)).max()))

    def add(self, other: Tally) -> None:
        self.samples += other.samples
        self.equal += other.equal
        self.largest = max(self.largest, other.largest)

    @property
    def share(self) -> float:
        return self.equal / self.samples


def gaps(crops: list[Picture], quality: int, subsampling: str) -> dict[str, float]:
    """PSNR between soft mode and libjpeg-turbo, by how it rounds."""
    expected = np.stack([decompress(compress(crop, quality, subsampling)) for crop in crops])
    tables = quality_tables(torch.full((len(crops),), quality))
    x = torch.cat([tensor(crop) for crop in crops]).to(torch.float32)
    found = {"libjpeg-turbo and photo [dB]": psnr(expected, np.stack(crops))}
    for name, rounding in ROUNDINGS.items():
        found[name] = psnr(jpeg(x, tables, subsampling, rounding).permute(0, 2, 3, 1), expected)
    if subsampling == "4:2:0" and (codec := kornia_codec()) is not None:
        peer = codec(x / 255, torch.full((len(crops),), float(quality))) * 255
        found["kornia [dB]"] = psnr(peer.permute(0, 2, 3, 1), expected)
    return found


def kornia_codec() -> Any:
    """None if kornia can't be imported."""
    try:
        return importlib.import_module("kornia").enhance.jpeg_codec_differentiable
    except ImportError:
        return None


def stage(mode: str, pixels: Tensor, subsampling: str) -> Callable[[Tensor], Tensor]:
    """What the stage makes of a batch, without the engine around it."""
    values = Parameters.bind(JPEG.Params, {"mode": mode, "quality": 75, "subsampling": subsampling}).draw(
        lambda purpose: np.random.default_rng(0)
    )
    ((_, p),) = collate(JPEG.Params.model_fields, [values] * len(pixels), pixels)
    keys = tuple(map(str, range(len(pixels))))
    rng = Randomness(0, 0, "jpeg", keys)
    return lambda x: JPEG().apply(Frame(x, Signal(transfer="srgb"), keys=keys), p, rng)


def speeds(repeats: int) -> list[dict[str, Any]]:
    photo = tensor(data.astronaut())[0]
    crops = torch.stack([photo[:, 20 * i : 20 * i + 128, 23 * i : 23 * i + 128] for i in range(16)]) / 255
    rows = []

    def timed(what: str, subsampling: str, call: Callable[[Tensor], Tensor], slope: bool = False) -> None:
        best = float("inf")
        for _ in range(repeats):
            x = crops.clone().requires_grad_(slope)
            start = time.process_time()
            out = call(x)
            if slope:
                out.sum().backward()
            best = min(best, time.process_time() - start)
        rate = crops.numel() / 3 / best / 1e6
        rows.append({"speed of": what, "subsampling": subsampling, "batch [ms]": 1e3 * best, "MP/s": rate})

    for subsampling in FACTORS:
        for mode in ("exact", "rounding", "soft"):
            name = "exact: libjpeg-turbo, one by one" if mode == "exact" else mode
            timed(name, subsampling, stage(mode, crops, subsampling))
        timed("soft, with gradient", subsampling, stage("soft", crops, subsampling), slope=True)
    if (codec := kornia_codec()) is not None:
        timed("kornia", "4:2:0", lambda x: codec(x, torch.tensor([75.0])))
        timed("kornia, with gradient", "4:2:0", lambda x: codec(x, torch.tensor([75.0])), slope=True)
    return rows


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--most", type=int, default=24, help="Kodak pictures at the most")
    parser.add_argument("--repeats", type=int, default=20, help="runs of which the fastest counts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    shown, hard = list(photos(options.data, options.most)), list(made())
    crops = [middle(picture) for picture in shown]
    rows, targets = [], []
    for subsampling in FACTORS:
        on_photos, on_made = Tally(), Tally()
        for quality in QUALITIES:
            now = Tally(), Tally()
            for tally, pictures in zip(now, (shown, hard), strict=True):
                for picture in pictures:
                    tally.compare(picture, quality, subsampling)
            row: dict[str, Any] = {"quality": quality, "subsampling": subsampling}
            row |= {"photos, share equal": now[0].share, "made up, share equal": now[1].share}
            row |= {"largest difference": max(tally.largest for tally in now)}
            rows.append(row | gaps(crops, quality, subsampling))
            on_photos.add(now[0])
            on_made.add(now[1])
        for name, tally in ((f"{len(shown)} photos", on_photos), (f"{len(hard)} made-up pictures", on_made)):
            targets.append(at_least(f"share of equal samples, {subsampling}, {name}", tally.share, 1))
    return publish(rows + speeds(options.repeats), targets, options.json, "JPEG beside libjpeg-turbo")


if __name__ == "__main__":
    sys.exit(main())
