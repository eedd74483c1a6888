"""A long run: throughput, memory, and whether it outlives being killed.

python benchmarks/soak.py --json FILE [--pictures N] [--kills K]

N pictures of 256x256 go through recipes/phone_night.yaml: by one worker, undisturbed; by two; then by two that are
killed K times at random moments and started again. In the end all three folders must hold the same bytes. One thread a
process; Linux only, because memory is read from /proc.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from report import ROOT, Target, arguments, at_least, at_most, publish

from isp_sim.render.manifest import MANIFEST, RUN, rows
from isp_sim.render.verify import verify

RECIPE = ROOT / "recipes" / "phone_night.yaml"
SIDE = 256
POLL = 0.2
"""How often a run is looked at [s]."""
WARM = 0.2
"""Share of the pictures after which memory and time count."""
MIB = 2**20


def make_pictures(folder: Path, count: int) -> None:
    """Crops of scikit-image's photos, mirrored at random."""
    folder.mkdir()
    photos = [getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")]
    rng = np.random.default_rng(0)
    for number in range(count):
        photo = photos[number % len(photos)]
        y, x = (rng.integers(0, size - SIDE + 1) for size in photo.shape[:2])
        crop = photo[y : y + SIDE, x : x + SIDE, :3][:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
        Image.fromarray(np.ascontiguousarray(crop)).save(folder / f"{number:06d}.jpg", quality=95)


def start(photos: Path, output: Path, workers: int) -> subprocess.Popen[bytes]:
    program = str(Path(sys.executable).with_name("isp-sim"))
    command = [program, "render", "-r", str(RECIPE), "-i", str(photos), "-o", str(output), "--quiet"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    return subprocess.Popen([*command, "--workers", str(workers)], env=environment)


@dataclass
class Watched:
    """What a run looked like while it went on: pictures done, seconds, bytes of memory."""

    done: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def warm(self) -> np.ndarray:
        return np.array(self.done) >= WARM * max(self.done)

    def rate(self) -> float:
        """Pictures a second."""
        return float(np.polyfit(np.array(self.seconds)[self.warm()], np.array(self.done)[self.warm()], 1)[0])

    def slope(self) -> float:
        """Bytes of memory a picture."""
        return float(np.polyfit(np.array(self.done)[self.warm()], np.array(self.memory)[self.warm()], 1)[0])


def watch(photos: Path, output: Path, workers: int) -> Watched:
    """Render, and look at it while it goes on."""
    found, began, done = Watched(), time.perf_counter(), 0
    process = start(photos, output, workers)
    place = 0
    while process.poll() is None:
        time.sleep(POLL)
        if not (output / MANIFEST).is_file():
            continue
        with (output / MANIFEST).open("rb") as file:
            file.seek(place)
            new = file.read()
        place, done = place + len(new), done + new.count(b"\n")
        if done and (memory := sum(resident(pid) for pid in tree(process.pid))):
            found.done.append(done)
            found.seconds.append(time.perf_counter() - began)
            found.memory.append(memory)
    if process.returncode:
        raise SystemExit(f"rendering by {workers} ended with exit code {process.returncode}")
    return found


def tree(pid: int) -> Iterator[int]:
    """A process and those it started."""
    yield pid
    try:
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield from tree(int(child))
    except OSError:
        pass  # it has ended


def resident(pid: int) -> int:
    """Memory of a process alone: what it shares counts in part [bytes]."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def kill_and_restart(photos: Path, output: Path, kills: int, pictures: int, rate: float) -> tuple[int, int]:
    """Render by two workers that are killed again and again; returns how often they were, and how many pictures that
    had their row were made again all the same."""
    rng = random.Random(7)
    began = time.perf_counter()
    process = start(photos, output, 2)
    while process.poll() is None and not list(output.glob("*.png")):
        time.sleep(0.02)
    longest = time.perf_counter() - began + pictures / rate / kills
    killed, settled, again = 0, dict[str, int](), set[str]()
    while killed < kills and process.poll() is None:
        time.sleep(rng.uniform(0, longest))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
            found = {name: (output / name).stat().st_mtime_ns for name in listed(output)}
            again |= {name for name, when in settled.items() if found.get(name, when) != when}
            settled |= found
            process = start(photos, output, 2)
    if code := process.wait():
        raise SystemExit(f"after {killed} kills, rendering ended with exit code {code}")
    again |= {name for name, when in settled.items() if (output / name).stat().st_mtime_ns != when}
    return killed, len(again)


def listed(output: Path) -> list[str]:
    """The pictures that have a row."""
    path = output / MANIFEST
    return [row["output"] for row in rows(path) if row["status"] == "ok"] if path.is_file() else []


def differences(one: Path, other: Path) -> int:
    """Files that are not in both folders with the same bytes; run.json names the input, and so is left out."""
    names = {path.relative_to(folder) for folder in (one, other) for path in folder.rglob("*") if path.is_file()}
    names.discard(Path(RUN))

    def content(path: Path) -> bytes | None:
        return path.read_bytes() if path.is_file() else None

    return sum(content(one / name) != content(other / name) for name in names)


def main() -> int:
    parser = arguments(__doc__ or "", data=False)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="where to work; else a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-", dir=options.folder) as name:
        folder = Path(name)
        make_pictures(folder / "photos", options.pictures)
        one = watch(folder / "photos", folder / "one", 1)
        two = watch(folder / "photos", folder / "two", 2)
        killed, again = kill_and_restart(
            folder / "photos", folder / "killed", options.kills, options.pictures, two.rate()
        )
        verdict = verify(folder / "killed")
        differing = [differences(folder / "one", folder / other) for other in ("two", "killed")]
    table = [
        {
            "workers": workers,
            "pictures/s": run.rate(),
            "memory at the end [MiB]": run.memory[-1] / MIB,
            "slope [B/picture]": run.slope(),
        }
        for workers, run in ((1, one), (2, two))
    ]
    growth = max(run.slope() for run in (one, two)) * (1 - WARM) * options.pictures / MIB
    targets: list[Target] = [
        at_least("throughput of two workers over one", two.rate() / one.rate(), 1.8),
        at_most(f"memory growth over the last {1 - WARM:.0%} [MiB]", growth, 20),
        at_least("kills", killed, options.kills),
        at_most("finished pictures made again", again, 0),
        at_most("files that differ, two workers beside one", differing[0], 0),
        at_most("files that differ, killed beside undisturbed", differing[1], 0),
        at_most("faults that verify finds", len(verdict.faults), 0),
        at_least("pictures in the manifest", verdict.pictures, options.pictures),
    ]
    return publish(table, targets, options.json, f"{options.pictures} pictures of {SIDE}x{SIDE}")


if __name__ == "__main__":
    sys.exit(main())
