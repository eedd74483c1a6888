"""The training loop: accelerate computes, and everything that decides the result is a function of the step."""

from __future__ import annotations

import json
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn, optim

from dirlearn.settings import Run, Training
from dirlearn.training import checkpoint as checkpoints
from dirlearn.training.data import Batch, Stream, batches
from dirlearn.training.ema import Average
from dirlearn.training.job import Job
from isp_sim.render.atomic import write_atomically

FINAL = "final"
"""Folder of the averaged weights of a training that is done."""
METRICS = "metrics.jsonl"


class TrainingFault(Exception):
    """A training can't go on; the message says why and what to do."""


class Reporter(Protocol):
    """Who is told how a training goes."""

    def step(self, name: str, done: int, total: int, values: Mapping[str, float] | None) -> None: ...

    def say(self, text: str) -> None: ...


@dataclass
class Silent:
    """Nobody."""

    def step(self, name: str, done: int, total: int, values: Mapping[str, float] | None) -> None: ...

    def say(self, text: str) -> None: ...


Validate = Callable[[Job, int, Path], Mapping[str, float]]
"""Makes measures of a job with its averaged weights, and writes samples into a folder."""


def accelerator(run: Run, folder: Path, accumulate: int = 1) -> Accelerator:
    """Device, precision, processes and trackers for one training."""
    if run.device == "cpu" or (run.device != "auto" and not run.device.startswith(("cuda", "mps", "xpu"))):
        if run.device != "cpu":
            raise TrainingFault(f"run.device: {run.device!r} is not known; take auto, cpu or cuda")
        cpu = True
    else:
        cpu = False
        if run.device != "auto" and not torch.accelerator.is_available():
            raise TrainingFault(f"run.device: {run.device!r} asked for, and torch {torch.__version__} finds none")
    return Accelerator(
        cpu=cpu,
        mixed_precision=run.precision,
        gradient_accumulation_steps=accumulate,
        log_with="tensorboard",
        project_dir=folder,
    )


def train(
    job: Job,
    stream: Stream,
    training: Training,
    run: Run,
    folder: Path,
    about: Mapping[str, Any],
    validate: Validate,
    reporter: Reporter | None = None,
    resume: bool = False,
) -> None:
    """Train a job to the end; at last it has the averaged weights and is in evaluation mode.

    The folder gets ``checkpoints``, ``metrics.jsonl``, TensorBoard's files, ``samples`` and, at the end, ``final``.

    Raises
    ------
    TrainingFault
        If the loss is no number any more, the batch can't be shared out, or a checkpoint is of another recipe.
    dirlearn.training.checkpoint.CheckpointFault
        If there are checkpoints to resume from, and none of them can be read.

    Warns
    -----
    RuntimeWarning
        If the newest checkpoint can't be read, and the one before it is taken.
    """
    _Loop(job, stream, training, run, folder, about, validate, reporter or Silent()).run_all(resume)


class _Loop:
    def __init__(
        self,
        job: Job,
        stream: Stream,
        training: Training,
        run: Run,
        folder: Path,
        about: Mapping[str, Any],
        validate: Validate,
        reporter: Reporter,
    ) -> None:
        self.job, self.training, self.run, self.folder = job, training, run, folder
        self.about, self.validate, self.reporter = dict(about), validate, reporter
        self.name = folder.name
        self.accelerator = accelerator(run, folder, training.accumulate)
        world, parts = self.accelerator.num_processes, training.accumulate
        if training.batch % (world * parts):
            raise TrainingFault(
                f"batch: {training.batch} pictures can't be shared out among {world} processes, {parts} parts each; "
                f"take a multiple of {world * parts}"
            )
        stream.batch = training.batch // parts
        stream.rank, stream.world, stream.needs = self.accelerator.process_index, world, job.needs
        self.stream = stream
        self.main = self.accelerator.is_main_process

    def run_all(self, resume: bool) -> None:
        training, accelerator = self.training, self.accelerator
        self.job.to(accelerator.device)
        average = Average(self.job, training.ema)
        optimiser = self._optimiser()
        first = self._resume(optimiser, average) if resume and optimiser is not None else 0
        self.job.train()
        if optimiser is not None and first < training.steps:
            wrapped, prepared = accelerator.prepare(self.job, optimiser)
            accelerator.init_trackers("tensorboard")
            self._check_validation(average, first)
            self._steps(wrapped, prepared, optimiser, average, first)
            for tracker in accelerator.trackers:  # end_training would also end the group of processes
                tracker.finish()
        self._finish(average)
        accelerator.free_memory()

    def _optimiser(self) -> optim.Optimizer | None:
        """None where there is nothing to train, as with the alignment `identity`."""
        t = self.training
        kind = optim.AdamW if t.optimiser == "adamw" else optim.Adam
        parts, rates = self.job.parts(), self.job.rates()
        factors = {id(p): rate for name, rate in rates.items() for p in parts.get(name, ())}
        by_factor: dict[float, list[nn.Parameter]] = {}
        for p in self.job.parameters():
            if p.requires_grad:
                by_factor.setdefault(factors.get(id(p), 1.0), []).append(p)
        if not by_factor:
            return None
        groups = [{"params": parameters, "factor": factor} for factor, parameters in by_factor.items()]
        return kind(groups, lr=t.rate.initial, betas=t.betas, weight_decay=t.weight_decay)

    def _resume(self, optimiser: optim.Optimizer, average: Average) -> int:
        found = checkpoints.newest(self.folder / "checkpoints", self._warn)
        if found is None:
            self._cut_log(-1)
            return 0
        if found.about.get("about") != json.loads(json.dumps(self.about)):
            raise TrainingFault(
                f"{self.folder}: its checkpoints are of another recipe; take back what was changed, "
                "give another run.path, or start anew without --resume"
            )
        average.load(checkpoints.restore(found, self.job, optimiser))
        self._cut_log(found.step)
        self.reporter.say(f"{self.name}: resumed after step {found.step}")
        return found.step

    def _warn(self, text: str) -> None:
        if self.main:
            warnings.warn(f"{self.name}: {text}", RuntimeWarning, stacklevel=2)

    def _cut_log(self, step: int) -> None:
        """Drop the lines of steps that will be taken again."""
        path = self.folder / METRICS
        if not (self.main and path.exists()):
            return
        kept = []
        for line in path.read_text().splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except ValueError:  # the last line of a run that was killed
                continue
        # at once: killed here, a run must not lose the lines that it keeps
        write_atomically(path, "".join(line + "\n" for line in kept).encode())

    def _check_validation(self, average: Average, first: int) -> None:
        """Validate before the first step: what is wrong there should not wait until the first hours are over."""
        if first == 0:
            self._validated(average, 0)

    def _steps(
        self, wrapped: nn.Module, prepared: Any, optimiser: optim.Optimizer, average: Average, first: int
    ) -> None:
        training, run, accelerator, parts = self.training, self.run, self.accelerator, self.training.accumulate
        numbers = range(first * parts, training.steps * parts)
        source: Iterator[Batch] = batches(self.stream, numbers, run.workers, accelerator.device)
        started, since = time.monotonic(), first
        for step in range(first, training.steps):
            rate = training.rate.at(step, training.steps)
            for group in optimiser.param_groups:
                group["lr"] = rate * group["factor"]
            for _ in range(parts):
                batch = next(source)
                with accelerator.accumulate(wrapped):
                    objective = wrapped(batch, step)
                    accelerator.backward(objective.loss)
                    norms = self._clip() if accelerator.sync_gradients else {}
                    prepared.step()
                    prepared.zero_grad()
            average.update(step)
            done = step + 1
            values = None
            if done % run.log_every == 0 or done == training.steps or done == 1:
                speed = (done - since) / max(time.monotonic() - started, 1e-9)
                values = self._log(done, objective.loss, objective.terms, norms, rate, speed)
                started, since = time.monotonic(), done
            self.reporter.step(self.name, done, training.steps, values)
            if done % run.validate_every == 0 or done == training.steps:
                self._validated(average, done)
            if done % run.checkpoint_every == 0 or done == training.steps:
                self._save(done, optimiser, average)

    def _clip(self) -> dict[str, Tensor]:
        if not self.training.clip:
            return {}
        self.accelerator.unscale_gradients()
        return {
            name: nn.utils.clip_grad_norm_(list(parameters), self.training.clip)
            for name, parameters in self.job.parts().items()
        }

    def _log(
        self,
        step: int,
        loss: Tensor,
        terms: Mapping[str, Tensor],
        norms: Mapping[str, Tensor],
        rate: float,
        speed: float,
    ) -> Mapping[str, float]:
        names = ["loss", *terms]
        means = self.accelerator.reduce(
            torch.stack([loss.detach().float(), *(t.detach().float() for t in terms.values())]), "mean"
        )
        values = dict(zip(names, cast(Tensor, means).tolist(), strict=True))
        values |= {f"norm/{name}".rstrip("/"): float(norm) for name, norm in norms.items()}
        if bad := [name for name, value in values.items() if not math.isfinite(value)]:
            raise TrainingFault(
                f"{self.name}: at step {step} {', '.join(bad)} is no number any more; lower the learning rate, or "
                "clip gradients more"
            )
        values |= {"rate": rate, "steps_per_second": speed}
        self._write(step, values)
        return values

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        self.accelerator.log(dict(values), step=step)
        if self.main:
            with (self.folder / METRICS).open("a") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")

    def _validated(self, average: Average, step: int) -> None:
        if self.main:
            with average.applied(), torch.no_grad():
                found = self.validate(self.job, step, self.folder / "samples")
            self._write(step, {f"validation/{name}": value for name, value in found.items()})
        self.accelerator.wait_for_everyone()

    def _save(self, step: int, optimiser: optim.Optimizer, average: Average) -> None:
        if self.main:
            # on the disk before the checkpoint, which must not outlive the lines of its steps
            with (self.folder / METRICS).open("a") as file:
                os.fsync(file.fileno())
            tensors = checkpoints.tensors_of(self.job, optimiser, average.state())
            checkpoints.write(self.folder / "checkpoints", step, tensors, {"about": self.about}, self.run.keep)
        self.accelerator.wait_for_everyone()

    def _finish(self, average: Average) -> None:
        """Leave the averaged weights in the job and on disk."""
        for name, parameter in self.job.named_parameters():
            if name in average.values:
                parameter.data.copy_(average.values[name])
        self.job.eval()
        # all have looked whether there are final weights before there are new ones
        self.accelerator.wait_for_everyone()
        if self.main:
            about = {"about": self.about, "step": self.training.steps}
            checkpoints.write_folder(self.folder / FINAL, self.job.state_dict(), about)
        self.accelerator.wait_for_everyone()


def load_final(job: Job, folder: Path) -> None:
    """Put the weights of a finished training into a job.

    Raises
    ------
    isp_sim.training.checkpoint.CheckpointFault
        If there are none, or they are of another network.
    """
    found = checkpoints.read(folder / FINAL)
    try:
        job.load_state_dict(found.tensors)
    except RuntimeError as error:
        raise checkpoints.CheckpointFault(f"{folder / FINAL} is of another network: {error}") from None
    job.eval()
