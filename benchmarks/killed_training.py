"""A training that is killed again and again: does it end in the bits of one that was not?

python benchmarks/killed_training.py --json FILE [--kills K] [--damage D]

Trains a tiny recipe of both stages by `dirlearn run --resume auto`, in one process and in two: undisturbed, then killed
(SIGKILL) at K steps drawn at random, the start among them. After every D-th kill the newest checkpoint is damaged as
well, cut short and with a flipped bit in turn, so that the one before it must be taken. Final weights, every line of
the metrics but speeds, and the results must be equal to the last bit. Of two processes one dies first, and the other
is killed after it. One thread a process.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import safetensors.torch
from report import Target, arguments, at_least, at_most, publish

STEPS = 40
"""Steps of each training, of which there are `TRAININGS`."""
TRAININGS = ("stage1", "methods/aligned")
RECIPE = f"""\
version: 1
seed: 3
views: {{seed: 2, stages: [{{gaussian_noise: {{sigma: {{uniform: [0.05, 0.1]}}}}}}, clip]}}
data:
  train: {{dead_leaves: {{count: 6, size: 24, leaves: 12}}}}
  validation: {{dead_leaves: {{count: 2, size: 24, leaves: 12, seed: 9}}}}
  patch: 16
networks:
  encoder: {{light: {{width: 8, channels: 4, blocks: 1}}}}
  decoder: {{light: {{width: 8, blocks: 1}}}}
  estimator: jsd
  critic: {{local: {{width: 8, embedding: 8, offsets: 2}}}}
stage1: {{steps: {STEPS}, batch: 4, ema: 0.9}}
stage2: {{steps: {STEPS}, batch: 4, ema: 0.9, alignment: {{guided: {{width: 4, m1: 1, m2: 1, m3: 1}}}}}}
methods: {{degraded: degraded, aligned: refine}}
evaluation:
  sets: {{leaves: {{dead_leaves: {{count: 2, size: 24, leaves: 12, seed: 5}}}}}}
  probes: {{patches: 2, copies: 4, shown: {{scenes: 2, copies: 4}}}}
run: {{device: cpu, log_every: 1, validate_every: 10, checkpoint_every: 7}}
"""
POLL = 0.005
"""How often the log of a run is looked at [s]."""
LONGEST = 600
"""Seconds without a new step after which a run hangs."""
REPORTED = "going back to the checkpoint before it"


@dataclass
class Training:
    """A run in a folder of its own, by one process or more."""

    folder: Path
    processes: int
    said: Path = field(init=False)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.said = self.folder.with_suffix(".log")

    def start(self, recipe: Path) -> None:
        program = str(Path(sys.executable).with_name("dirlearn"))
        command = [program, "run", str(recipe), "--resume", "auto", "-s", f"run.path={json.dumps(str(self.folder))}"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
        together = {"WORLD_SIZE": str(self.processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        with self.said.open("ab") as log:
            for rank in range(self.processes):
                own = {**together, "RANK": str(rank), "LOCAL_RANK": str(rank), "ACCELERATE_USE_CPU": "true"}
                more = own if self.processes > 1 else {}
                self.running.append(_started(command, environment | more, log))

    def step(self) -> int:
        """Steps that are done, over all trainings, as its logs say."""
        return sum(last_step(self.folder / name / "metrics.jsonl") for name in TRAININGS)

    def ended(self) -> bool:
        return all(process.poll() is not None for process in self.running)

    def reach(self, step: int) -> bool:
        """Wait for a step; False if the run ended before."""
        since, before = time.monotonic(), -1
        while (now := self.step()) < step:
            if self.ended():
                return False
            if now != before:
                since, before = time.monotonic(), now
            elif time.monotonic() - since > LONGEST:
                self.kill(random.Random(0))
                raise SystemExit(f"no step for {LONGEST} s after step {now}; see {self.said}")
            time.sleep(POLL)
        return not self.ended()

    def kill(self, rng: random.Random) -> None:
        for process in rng.sample(self.running, len(self.running)):
            process.kill()
            process.wait()
            time.sleep(rng.uniform(0, 0.2) if self.processes > 1 else 0)
        self.running.clear()

    def finish(self) -> None:
        self.reach(sys.maxsize)
        codes = [process.wait() for process in self.running]
        self.running.clear()
        if any(codes):
            raise SystemExit(f"a run ended with exit codes {codes}:\n{self.said.read_text()[-3000:]}")


def _started(command: list[str], environment: dict[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def last_step(log: Path) -> int:
    """Of a log that is being written."""
    try:
        lines = log.read_text().splitlines()
    except OSError:
        return 0
    for line in reversed(lines):
        try:
            return int(json.loads(line)["step"])
        except ValueError:
            continue
    return 0


def damage(folder: Path, cut: bool) -> bool:
    """Spoil the newest checkpoint of the training that is under way, if there is one before it."""
    for name in TRAININGS:
        if (folder / name / "final").exists():
            continue
        found = sorted((folder / name / "checkpoints").glob("step-*"))
        if len(found) < 2:
            return False
        path = found[-1] / "tensors.safetensors"
        data = bytearray(path.read_bytes())
        if cut:
            del data[len(data) // 2 :]
        else:
            data[len(data) // 2] ^= 1
        path.write_bytes(data)
        return True
    return False


def weights(folder: Path) -> dict[str, bytes]:
    return {
        f"{name}/{tensor}": value.numpy().tobytes()
        for name in TRAININGS
        for tensor, value in safetensors.torch.load_file(folder / name / "final" / "tensors.safetensors").items()
    }


def metrics(folder: Path) -> dict[str, str]:
    """Lines of the logs without speeds, by training and number."""
    found = {}
    for name in TRAININGS:
        for number, line in enumerate((folder / name / "metrics.jsonl").read_text().splitlines()):
            values = json.loads(line)
            values.pop("steps_per_second", None)
            found[f"{name}:{number}"] = json.dumps(values)
    return found


def results(folder: Path) -> dict[str, str]:
    return {key: json.dumps(value) for key, value in json.loads((folder / "results.json").read_text()).items()}


def differences(one: dict[str, Any], other: dict[str, Any]) -> int:
    return sum(one.get(key) != other.get(key) for key in one.keys() | other.keys())


def disturbed(run: Training, recipe: Path, kills: int, every: int, rng: random.Random) -> tuple[int, int, int]:
    """Train, killed at random steps; returns kills, steps that were taken again but for those that damage cost,
    and checkpoints that were damaged."""
    killed, again, damaged = 0, 0, 0
    for step in sorted(rng.choices(range(len(TRAININGS) * STEPS), k=kills)):
        run.start(recipe)
        if step == 0:
            time.sleep(rng.uniform(0, 5))
        elif not run.reach(step):
            break
        time.sleep(rng.uniform(0, 0.05))
        run.kill(rng)
        killed += 1
        if every and killed % every == 0:
            damaged += damage(run.folder, cut=damaged % 2 == 0)
        again += run.step() - saved(run.folder)
    run.start(recipe)
    run.finish()
    return killed, again, damaged


def saved(folder: Path) -> int:
    """Steps that need not be taken again."""
    done = 0
    for name in TRAININGS:
        found = sorted((folder / name / "checkpoints").glob("step-*"))
        done += int(found[-1].name.removeprefix("step-")) if found else 0
    return done


def main() -> int:
    parser = arguments(__doc__ or "", data=False)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--damage", type=int, default=5, help="damage a checkpoint after every so many kills; 0: never")
    parser.add_argument("--processes", type=int, action="append", help="1 and 2, if not given")
    parser.add_argument("--folder", type=Path, help="where to work; else a temporary folder")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    targets: list[Target] = []
    with tempfile.TemporaryDirectory(prefix="killed-", dir=options.folder) as name:
        folder = Path(name).resolve()
        recipe = folder / "recipe.yaml"
        recipe.write_text(RECIPE)
        for processes in options.processes or [1, 2]:
            calm = Training(folder / f"calm{processes}", processes)
            calm.start(recipe)
            calm.finish()
            run = Training(folder / f"killed{processes}", processes)
            killed, again, damaged = disturbed(run, recipe, options.kills, options.damage, random.Random(7))
            reported = run.said.read_text().count(REPORTED)
            of = "process" if processes == 1 else "processes"
            compared = {what.__name__: (what(calm.folder), what(run.folder)) for what in (weights, metrics, results)}
            rows.append(
                {
                    "processes": processes,
                    "kills": killed,
                    "steps": len(TRAININGS) * STEPS,
                    "steps taken again, at least": again,
                    "checkpoints damaged": damaged,
                    **{f"{what} compared": len(one) for what, (one, _) in compared.items()},
                }
            )
            targets.append(at_least(f"kills, {processes} {of}", killed, options.kills))
            for what, (one, other) in compared.items():
                targets.append(at_most(f"{what} that differ, {processes} {of}", differences(one, other), 0))
            targets.append(at_least(f"damaged checkpoints reported, {processes} {of}", reported, damaged))
    return publish(rows, targets, options.json, f"Trainings killed {options.kills} times")


if __name__ == "__main__":
    sys.exit(main())
