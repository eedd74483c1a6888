"""Networks of the library transformers: built from sizes, started at random or from weights."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from dirlearn.datasets.dataset import data_folder
from dirlearn.targets import TaskFault

WEIGHTS: Final = (
    "a folder with config.json and model.safetensors, or a name on the Hugging Face hub; random if not given"
)
"""What the parameter `weights` of a head means."""
HUB_NAME: Final = re.compile(r"[\w.-]+(/[\w.-]+)?")


class Normalise(nn.Module):
    """From [0, 1] to the mean 0 and deviation 1 of ImageNet's pictures, in each channel."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        # not saved: these are no weights
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.deviation


def network(kind: str, config: Any, weights: str | None, fresh: tuple[str, ...]) -> nn.Module:
    """A network of transformers.

    Parameters
    ----------
    kind
        Its class.
    config
        Its sizes.
    weights
        Where its weights come from; see `WEIGHTS`. Only safetensors are read.
    fresh
        Beginnings of names of the parts that may start at random beside `weights`: what depends on the classes, and
        what a backbone alone does not have.

    Raises
    ------
    TaskFault
        If there are no such weights, they can't be got, or they are of another network.
    """
    import transformers

    model = getattr(transformers, kind)
    if weights is None:
        made: nn.Module = model(config)
        return made
    place, local = _place(weights)
    logging = transformers.utils.logging
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        made, about = model.from_pretrained(
            place,
            config=config,
            local_files_only=local,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        way = "" if local else "; it is looked for on the Hugging Face hub, which may be out of reach from here"
        raise TaskFault(f"weights {weights!r} can't be loaded{way}: {reason}") from None
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
    mismatched = [item[0] if isinstance(item, tuple | list) else item for item in about["mismatched_keys"]]
    absent = sorted({*about["missing_keys"], *mismatched})
    if wrong := [name for name in absent if not name.startswith(fresh)]:
        raise TaskFault(
            f"weights {weights!r} are of another network: {len(wrong)} of its tensors are missing or of another size, "
            f"{wrong[0]} first; take the `size` that fits them"
        )
    if absent:
        parts = ", ".join(sorted({next(f for f in fresh if name.startswith(f)) for name in absent}))
        warnings.warn(f"weights {weights!r}: {parts} start at random", stacklevel=2)
    return made


def _place(weights: str) -> tuple[str, bool]:
    """Where weights are, and whether that is here."""
    for folder in (Path(weights), data_folder(weights)):
        if folder.is_dir():
            return str(folder), True
    if not HUB_NAME.fullmatch(weights):
        raise TaskFault(f"weights {weights!r} are neither a folder, here or in DIRLEARN_DATA, nor a name on the hub")
    return weights, False
