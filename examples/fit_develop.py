"""Which white balance, matrix and tone curve made this picture of that RAW file? Found by gradients.

python examples/fit_develop.py photo.dng photo.png

Both show the same pixels: the picture has the size of the RAW file's visible area and is not turned. The pipeline is
recipes/develop_raw.yaml with a tone curve in front of the OETF. Its parameters are tensors, given to the pipeline in
place of the recipe's, and LBFGS follows the gradient of the mean squared error through all stages. What was found is
printed as steps of a recipe.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from isp_sim import Frame, recipe
from isp_sim.formats.images import Images
from isp_sim.formats.raw import Raw
from isp_sim.formats.reader import Item
from isp_sim.pipeline import Pipeline

KNOTS = (0.05, 0.15, 0.35, 0.65)
"""Where the tone curve is free, between 0 and 1."""


@dataclass
class Develop:
    """What is looked for, without the bounds that the pipeline sets: any numbers make valid parameters.

    Green has the gain 1, and the rows of the matrix sum to 1, so brightness is the tone curve's alone.
    """

    log_gains: Tensor  # (2,), of red and blue
    mixing: Tensor  # (3, 2), the matrix off its diagonal
    log_rises: Tensor  # (K + 1,), of the tone curve from knot to knot, up to a factor

    @classmethod
    def start(cls) -> Develop:
        """No white balance, no matrix, no tone curve."""
        steps = torch.tensor([0.0, *KNOTS, 1.0], dtype=torch.float64).diff()
        return cls(torch.zeros(2).double(), torch.zeros(3, 2).double(), steps.log())

    @property
    def unknowns(self) -> list[Tensor]:
        return [self.log_gains, self.mixing, self.log_rises]

    @property
    def gains(self) -> Tensor:
        red, blue = self.log_gains.exp()
        return torch.stack([red, torch.ones_like(red), blue])

    @property
    def matrix(self) -> Tensor:
        """(3, 3), camera RGB to sRGB."""
        rows = []
        for i in range(3):
            row = list(self.mixing[i])
            row.insert(i, 1 - self.mixing[i].sum())
            rows.append(torch.stack(row))
        return torch.stack(rows)

    @property
    def points(self) -> Tensor:
        """(K + 2, 2), knots of the tone curve. They rise, whatever the unknowns are."""
        heights = self.log_rises.softmax(0).cumsum(0)[:-1]
        x, ends = heights.new_tensor([0.0, *KNOTS, 1.0]), heights.new_tensor([0.0, 1.0])
        return torch.stack([x, torch.cat([ends[:1], heights, ends[1:]])], dim=1)

    def values(self) -> dict[str, dict[str, Tensor]]:
        """By step and parameter, as `Pipeline.run` takes them."""
        return {
            "white_balance": {"gains": self.gains},
            "colour_matrix": {"matrix": self.matrix},
            "tone_curve": {"points": self.points},
        }


def pipeline() -> Pipeline:
    """recipes/develop_raw.yaml, with a tone curve in front of the OETF."""
    text = (Path(__file__).parents[1] / "recipes" / "develop_raw.yaml").read_text()
    return recipe.parse(
        text.replace("  - srgb_oetf", "  - tone_curve: {points: [[0, 0], [1, 1]]}\n  - srgb_oetf")
    ).pipeline


def fit(raw: Frame, target: Tensor, rounds: int = 40) -> tuple[Develop, float]:
    """The parameters by which the RAW file becomes the picture (1, 3, H, W), and the mean squared error left.

    A clipped pixel has no gradient and tells nothing, so the fit starts from gains of 1, where little is clipped.
    """
    chain, found = pipeline(), Develop.start()
    raw, target = replace(raw, pixels=raw.pixels.double(), capture=raw.capture.map(Tensor.double)), target.double()
    for unknown in found.unknowns:
        unknown.requires_grad_()
    optimiser = torch.optim.LBFGS(found.unknowns, max_iter=20, tolerance_change=1e-14, line_search_fn="strong_wolfe")

    def error() -> Tensor:
        optimiser.zero_grad()
        made = chain.run(raw, values=found.values()).frame.pixels
        loss = (made - target).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
        return loss

    before = float("inf")
    for _ in range(rounds):
        loss = float(optimiser.step(error).detach())  # type: ignore[no-untyped-call]  # torch does not type it
        if before - loss <= 1e-6 * loss:
            break
        before = loss
    return found, loss


def written(found: Develop) -> str:
    """Steps of a recipe."""

    def numbers(values: Tensor) -> str:
        return str([[round(v, 5) for v in row] if isinstance(row, list) else round(row, 5) for row in values.tolist()])

    with torch.no_grad():
        return (
            f"  - white_balance: {{gains: {numbers(found.gains)}}}\n"
            f"  - colour_matrix: {{matrix: {numbers(found.matrix)}}}\n"
            f"  - tone_curve: {{points: {numbers(found.points)}}}\n"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("raw", type=Path, help="RAW file")
    parser.add_argument("picture", type=Path, help="what was made of it")
    options = parser.parse_args()
    raw = Raw(Raw.Params(orient=False)).read(Item(options.raw.name, str(options.raw))).frame
    picture = Images(Images.Params(orient=False)).read(Item(options.picture.name, str(options.picture))).frame
    if raw.size != picture.size:
        sys.exit(
            f"the RAW file shows {raw.size[0]}x{raw.size[1]} pixels, the picture {picture.size[0]}x{picture.size[1]}"
        )
    found, loss = fit(raw, picture.pixels)
    sys.stdout.write(f"{written(found)}# PSNR {-10 * torch.tensor(loss).log10():.1f} dB\n")


if __name__ == "__main__":
    main()
