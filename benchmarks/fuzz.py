"""Files and recipes changed at random: each is read, or refused with one clear line.

python benchmarks/fuzz.py --json FILE [--count N] [--seed S] [--keep FOLDER]

N times a small PNG, JPEG, TIFF, WebP, BMP, NumPy file, DNG or recipe is changed (bits, bytes, numbers, truncation,
spliced pieces) and read in a process of its own, as `isp-sim render --isolate` does, so that a crash is counted.
Pictures are bounded to 4 million pixels. Then what that process costs a picture is measured. Linux only.
"""

from __future__ import annotations

import io
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from report import ROOT, Target, arguments, at_least, at_most, publish

from isp_sim.formats.images import Images
from isp_sim.formats.isolated import Bounds, Isolated, Lost, Unexpected
from isp_sim.formats.limits import VARIABLE
from isp_sim.formats.reader import InputFault, Item
from isp_sim.testing.mutations import Anything, mutated, samples

PIXELS = 4_000_000
BYTES_A_PIXEL = 64
"""What reading may take for each pixel of the bound [B], as docs/operations.md says."""
MIB = 2**20
OUTCOMES = ("read", "refused", "crashed or hung", "wrong exception", "several lines")


def outcome(isolated: Isolated, path: Path) -> tuple[str, str]:
    """What became of a file, and the reason."""
    try:
        isolated.read(Item(path.name, str(path)))
    except Lost as fault:
        return "crashed or hung", str(fault)
    except Unexpected as fault:
        return "wrong exception", str(fault)
    except InputFault as fault:
        return "refused" if len(str(fault).splitlines()) == 1 else "several lines", str(fault)
    return "read", ""


def peak() -> float:
    """The most memory that a process of ours which has ended ever held [MiB]."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def fuzz(count: int, seed: int, folder: Path, keep: Path | None) -> tuple[list[dict[str, Any]], float, float]:
    """Counts of outcomes by kind of file, the memory that changed files took beyond whole ones [MiB], and the longest
    time of one [s]."""
    files = samples()
    recipes = {path.name: path.read_bytes() for path in sorted((ROOT / "recipes").glob("*.yaml")) if _simulates(path)}
    whole = files | recipes
    others = tuple(whole.values())
    counts = {name: Counter[str]() for name in whole}
    isolated = Isolated(Anything(Anything.Params()), Bounds(memory=1024, seconds=60))
    for name, data in whole.items():
        (folder / name).write_bytes(data)
        if (found := outcome(isolated, folder / name))[0] != "read":
            raise SystemExit(f"{name} is not read as it is: {found[1]}")
    isolated.close()
    idle, longest = peak(), 0.0
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        name = str(rng.choice(list(files if rng.random() < 0.8 else recipes)))
        path = folder / name
        path.write_bytes(mutated(whole[name], rng, others))
        start = time.perf_counter()
        found, reason = outcome(isolated, path)
        if number:  # the first starts the process
            longest = max(longest, time.perf_counter() - start)
        counts[name][found] += 1
        if found not in ("read", "refused"):
            print(f"{number} {name}: {found}: {reason}", file=sys.stderr)
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{seed}-{number}-{name}").write_bytes(path.read_bytes())
    isolated.close()
    rows = [{"file": name, **{o: counts[name][o] for o in OUTCOMES}} for name in whole]
    return rows, peak() - idle, longest


def _simulates(path: Path) -> bool:
    """Whether a recipe is one of the simulator's."""
    return b"stages:" in path.read_bytes()


def cost(folder: Path) -> list[dict[str, Any]]:
    """What reading in a process of its own costs, by the size of a picture."""
    rows = []
    reader = Images(Images.Params())
    isolated = Isolated(reader)
    for side, times in (((512, 512), 20), ((3000, 4000), 3)):
        rng = np.random.default_rng(0)
        smooth = Image.fromarray(rng.integers(0, 256, (side[0] // 8, side[1] // 8, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        smooth.resize(side[::-1], Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=92)
        path = folder / "cost.jpg"
        path.write_bytes(buffer.getvalue())
        item = Item("cost.jpg", str(path))
        start = time.perf_counter()
        first = isolated.read(item).frame.pixels
        begun = time.perf_counter() - start
        if not bool((first == reader.read(item).frame.pixels).all()):
            raise SystemExit("the pictures differ")
        seconds = [_median(partial(source.read, item), times) for source in (reader, isolated)]
        rows.append(
            {
                "picture": f"{side[0]}x{side[1]} JPEG",
                "first [s]": begun,
                "here [ms]": 1000 * seconds[0],
                "isolated [ms]": 1000 * seconds[1],
                "cost [ms]": 1000 * (seconds[1] - seconds[0]),
            }
        )
    isolated.close()
    return rows


def _median(task: Callable[[], object], times: int) -> float:
    found = []
    for _ in range(times):
        start = time.perf_counter()
        task()
        found.append(time.perf_counter() - start)
    return float(np.median(found))


def main() -> int:
    parser = arguments(__doc__ or "", data=False)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that went wrong")
    options = parser.parse_args()
    os.environ[VARIABLE] = str(PIXELS)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        rows, memory, longest = fuzz(options.count, options.seed, Path(name), options.keep)
        del os.environ[VARIABLE]
        costs = cost(Path(name))
    totals = {o: sum(row[o] for row in rows) for o in OUTCOMES}
    targets: list[Target] = [
        at_least("files read or refused", totals["read"] + totals["refused"], options.count),
        at_most("crashes and hangs", totals["crashed or hung"], 0),
        at_most("wrong exceptions", totals["wrong exception"], 0),
        at_most("reasons of several lines", totals["several lines"], 0),
        at_most("memory beyond that of whole files [MiB]", memory, BYTES_A_PIXEL * PIXELS / MIB),
        at_most("longest time of a file [s]", longest, 60),
        at_least("share that is refused", totals["refused"] / options.count, 0.1),
    ]
    return publish([*rows, *costs], targets, options.json, f"{options.count} changed files, and the cost of isolation")


if __name__ == "__main__":
    sys.exit(main())
