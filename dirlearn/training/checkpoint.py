"""Checkpoints: tensors as safetensors, everything else as JSON. Nothing is unpickled, nothing is half written."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from torch import Tensor, nn, optim

FORMAT: Final = 1
TENSORS, ABOUT = "tensors.safetensors", "checkpoint.json"
NAME: Final = re.compile(r"step-(\d{9})")


class CheckpointFault(Exception):
    """A checkpoint can't be used; the message says why."""


@dataclass(frozen=True)
class Checkpoint:
    """A training at the end of a step."""

    step: int
    tensors: dict[str, Tensor]
    about: dict[str, Any]


def versions(more: Sequence[str] = ()) -> dict[str, str]:
    """What a result may depend on: versions of Python and of packages, those in `more` included."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in ("isp-sim", "torch", "accelerate", "numpy", "safetensors", "pillow", *more):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def write(folder: Path, step: int, tensors: Mapping[str, Tensor], about: Mapping[str, Any], keep: int) -> Path:
    """Write a checkpoint as `folder`/step-N, completely or not at all; older ones beyond `keep` are removed."""
    place = folder / f"step-{step:09d}"
    write_folder(place, tensors, {**about, "step": step})
    for old in _found(folder)[keep:]:
        if old != place:  # a damaged one may bear a later step
            shutil.rmtree(old)
    return place


def write_folder(place: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Tensors and facts as a folder that appears at once."""
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    data = safetensors.torch.save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    _write(draft / TENSORS, data)
    facts = {"format": FORMAT, "sha256": hashlib.sha256(data).hexdigest(), "versions": versions(), **about}
    _write(draft / ABOUT, json.dumps(facts, indent=1).encode())
    _sync(draft)
    old = place.with_name(f".{place.name}.old")
    if place.exists():
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
    draft.rename(place)
    _sync(place.parent)
    # what was there before, and drafts of processes that were killed
    for left in place.parent.glob(f".{place.name}.*"):
        shutil.rmtree(left, ignore_errors=True)


def read(place: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    CheckpointFault
        If it is not complete, or not as it was written.
    """
    try:
        about = json.loads((place / ABOUT).read_bytes())
        data = (place / TENSORS).read_bytes()
        if about.get("format") != FORMAT:
            raise CheckpointFault(f"{place}: format {about.get('format')!r}; this version reads {FORMAT}")
        if hashlib.sha256(data).hexdigest() != about["sha256"]:
            raise CheckpointFault(f"{place}: {TENSORS} is not as it was written")
        return Checkpoint(int(about["step"]), safetensors.torch.load(data), about)
    except OSError as error:
        raise CheckpointFault(f"{place}: {error.strerror or error}: {error.filename}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, safetensors.SafetensorError) as error:
        raise CheckpointFault(f"{place}: {ABOUT} or {TENSORS} is damaged: {error}") from None


def newest(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that can be read, None if there is none; `warn` is told of those that were passed over.

    Raises
    ------
    CheckpointFault
        If there are checkpoints, and none of them can be read: to start anew is not decided here, it may cost days.
    """
    faults: list[CheckpointFault] = []
    for place in _found(folder):
        try:
            found = read(place)
        except CheckpointFault as error:
            faults.append(error)
            continue
        for fault in faults:
            warn(f"{fault}; going back to the checkpoint before it")
        return found
    if faults:
        reasons = "".join(f"\n  {fault}" for fault in faults)
        raise CheckpointFault(
            f"none of the {len(faults)} checkpoints can be read:{reasons}\n"
            f"Put one of them back from a copy, or remove {folder} to take this training's steps anew."
        )
    return None


def _found(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if NAME.fullmatch(p.name)), key=lambda p: p.name, reverse=True)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def tensors_of(module: nn.Module, optimiser: optim.Optimizer, average: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Everything that changes in training, by name. Random numbers need nothing: they are functions of the step."""
    found = {f"model/{name}": value for name, value in module.state_dict().items()}
    names = {id(p): name for name, p in module.named_parameters()}
    for parameter, state in optimiser.state.items():
        for key, value in state.items():
            found[f"optimiser/{names[id(parameter)]}/{key}"] = torch.as_tensor(value)
    found |= {f"average/{name}": value for name, value in average.items()}
    # a part from outside may draw from torch's own generator, as dropout does
    found["random/torch"] = torch.get_rng_state()
    return found


def restore(checkpoint: Checkpoint, module: nn.Module, optimiser: optim.Optimizer) -> dict[str, Tensor]:
    """Put a module and its optimiser back; returns the averaged weights.

    Raises
    ------
    CheckpointFault
        If the checkpoint is of another module.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in checkpoint.tensors.items():
        kind, _, rest = name.partition("/")
        parts.setdefault(kind, {})[rest] = value
    try:
        module.load_state_dict(parts.get("model", {}))
    except RuntimeError as error:
        raise CheckpointFault(f"the checkpoint is of another network: {error}") from None
    parameters = dict(module.named_parameters())
    for name, value in parts.get("optimiser", {}).items():
        parameter, _, key = name.rpartition("/")
        like = parameters[parameter]
        state = optimiser.state[like]
        # Adam counts its steps on the CPU
        state[key] = value if value.ndim == 0 else value.to(like.device, copy=True)
    torch.set_rng_state(parts["random"]["torch"])
    return parts.get("average", {})
