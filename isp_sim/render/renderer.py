"""A recipe as a function: one picture in, the same kind of picture out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from isp_sim import recipe as recipes
from isp_sim.formats.files import codes
from isp_sim.formats.images import as_frame
from isp_sim.frame import Frame
from isp_sim.pipeline import Given, Outcome, Step
from isp_sim.signal import Signal


def load(path: str | Path, seed: int | None = None) -> Renderer:
    """Read a recipe and make it callable.

    Parameters
    ----------
    path
        The recipe file.
    seed
        In place of the recipe's.

    Raises
    ------
    isp_sim.recipe.RecipeError
        With everything that is wrong with the recipe.

    Examples
    --------
    >>> render = load("recipes/quickstart.yaml")                     # doctest: +SKIP
    >>> noisy = render(photo, key="cat.png", view=epoch)             # doctest: +SKIP
    """
    return Renderer(recipes.read(path).with_places(seed=seed))


@dataclass(frozen=True)
class Renderer:
    """A recipe's stages, applied to pictures in memory. Picklable, and without state: safe in data-loader workers.

    The same picture, key and view give the same result, whichever worker asks and in whichever batch.
    """

    recipe: recipes.Recipe

    def __call__(
        self,
        image: Any,
        key: str | Sequence[str],
        view: int = 0,
        *,
        return_params: bool = False,
        values: Given | None = None,
    ) -> Any:
        """Render one picture, or a batch of pictures.

        Parameters
        ----------
        image
            A float tensor (B, 3, H, W) in [0, 1], a uint8 array (H, W, 3), a PIL picture, or a Frame. All but a
            Frame are taken as sRGB.
        key
            The identity of the sample, such as its path; for a batch, one each. There is no default: a constant
            would give every picture the same noise.
        view
            Which of the sample's renderings; an epoch is a view.
        return_params
            Whether to return what was drawn, too.
        values
            By step id and parameter, tensors in place of what the recipe says: see `isp_sim.pipeline.Pipeline.run`.
            Gradients of a result in tensors flow back to them.

        Returns
        -------
        The same kind as `image`: tensors keep their dtype and device, arrays and PIL pictures are rounded to 8
        bits. With `return_params` a pair of that and the drawn values, by stage id and parameter: one dict, or
        for a batch a list of them.

        Raises
        ------
        TypeError
            If the picture is of none of these kinds.
        ValueError
            If the recipe can't take such a picture, or its shape does not fit, or `values` are not valid.
        """
        frame, back = self._framed(image, (key,) if isinstance(key, str) else tuple(key))
        outcome = self.run(frame, view, values=values)
        rendered = back(outcome.frame)
        if not return_params:
            return rendered
        return rendered, outcome.values if not isinstance(key, str) else outcome.values[0]

    def run(
        self,
        frame: Frame,
        view: int = 0,
        watch: Callable[[Step, Frame], None] | None = None,
        values: Given | None = None,
    ) -> Outcome:
        """Render a frame; see `isp_sim.pipeline.Pipeline.run`."""
        return self.recipe.pipeline.run(frame, view, watch, values)

    def _framed(self, image: Any, keys: tuple[str, ...]) -> tuple[Frame, Callable[[Frame], Any]]:
        if isinstance(image, Frame):
            return image, lambda frame: frame
        if self.recipe.reader.signal.layout != "rgb":
            raise ValueError(
                f"recipe {self.recipe.name} starts from what its reader {self.recipe.reader_name!r} gives "
                f"({self.recipe.reader.signal}): pass a Frame"
            )
        if isinstance(image, Tensor):
            if image.ndim != 4 or image.shape[1] != 3 or not image.is_floating_point():
                raise ValueError(
                    f"a tensor must be floating (B, 3, H, W) in [0, 1]; found {image.dtype} {tuple(image.shape)}"
                )
            if len(keys) != image.shape[0]:
                raise ValueError(f"{image.shape[0]} pictures need {image.shape[0]} keys; found {len(keys)}")
            return Frame(image, Signal(), keys=keys), lambda frame: frame.pixels
        if isinstance(image, np.ndarray):
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise ValueError(f"an array must be uint8 (H, W, 3); found {image.dtype} {image.shape}")
            return self._from_codes(image, keys), _to_codes
        if not isinstance(image, Image.Image):
            raise TypeError(_KINDS.format(type(image).__name__))
        if image.mode != "RGB":
            raise ValueError(f"a PIL picture must have mode RGB; found {image.mode}: use image.convert('RGB')")
        return self._from_codes(np.asarray(image), keys), _to_pil

    @staticmethod
    def _from_codes(image: Any, keys: tuple[str, ...]) -> Frame:
        if len(keys) != 1:
            raise ValueError(f"one picture needs one key; found {len(keys)}")
        return as_frame(image, keys[0])


_KINDS = "a picture is a float tensor (B, 3, H, W), a uint8 array (H, W, 3), a PIL picture or a Frame; found {}"


def _to_codes(frame: Frame) -> Any:
    return codes(frame, 8)


def _to_pil(frame: Frame) -> Image.Image:
    return Image.fromarray(_to_codes(frame))
