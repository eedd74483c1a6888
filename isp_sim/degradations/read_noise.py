"""Read noise: what reading out a pixel adds, normal or with the longer tails of real sensors."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.cameras.noise import NEAR_ZERO, Shape, tukey_lambda_variance
from isp_sim.degradations.sensor import TEN_BITS, SensorTerm, dn_scale, joined_sigma
from isp_sim.frame import Frame
from isp_sim.randomness import Randomness
from isp_sim.stage import Result

Scale = Annotated[float, Field(ge=0, le=1e5)]
"""Standard deviation, or another scale, of a noise [DN]."""


class ReadNoise(SensorTerm):
    """Adds independent noise to every sample, whatever the light. Zero mean; does not clip.

    ``gaussian``: normal, `scale` is its standard deviation. ``tukey_lambda``: scale * Q(u) with the quantile function
    Q(u) = (u^shape - (1 - u)^shape) / shape; at 0 that is the logistic law, at 0.14 nearly the normal one, below that
    tails are longer. Its standard deviation is `scale` times 1.81 at shape 0 (see `tukey_lambda_sd`).
    Adds to the map ``sigma``.
    """

    source = "Wei et al. 2021 [Wei2021]; Hastings et al. 1947 [Hastings1947]"

    severities: ClassVar = {"scale": (2.0, 5.0, 12.0, 25.0, 50.0), "span": (TEN_BITS,) * 5}

    class Params(SensorTerm.Params):
        scale: Scale = Field(2.0, description="standard deviation, or scale of the Tukey lambda law [DN]")
        law: Literal["gaussian", "tukey_lambda"] = Field("gaussian", description="normal, or with tails by `shape`")
        shape: Shape = Field(0.14, description="lambda of the Tukey lambda law [1]")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        shape = p.shape if p.law == "tukey_lambda" else None
        noise = read_noise(frame, p.scale, shape, rng)
        sd = p.scale if shape is None else p.scale * tukey_lambda_sd(shape).to(p.scale)
        scale = dn_scale(frame, p.span)
        return Result(frame.pixels + noise / scale, maps=joined_sigma(frame, (sd / scale).square()))


def read_noise(frame: Frame, scale: Tensor, shape: Tensor | None, rng: Randomness) -> Tensor:
    """Noise [DN] for every sample of a frame; normal if there is no shape."""
    if shape is None:
        return rng.normal(frame.pixels) * scale
    uniform = rng.quantiles(frame.pixels, purpose="read")
    drawn = tukey_lambda_quantile(uniform, shape.detach().to("cpu", torch.float64))
    return drawn.to(frame.pixels) * scale


def tukey_lambda_quantile(u: Tensor, shape: Tensor) -> Tensor:
    """(u^shape - (1 - u)^shape) / shape for u in [0, 1), float64; log(u / (1 - u)) at shape 0. 0 counts as 2^-54.

    Examples
    --------
    >>> tukey_lambda_quantile(torch.tensor([0.5, 0.75], dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    tensor([0.0000, 0.5000], dtype=torch.float64)
    """
    below, above = torch.log(u.clamp_min(2.0**-54)), torch.log(1 - u)
    safe = torch.where(shape.abs() < NEAR_ZERO, 1.0, shape)
    squares, cubes = below * below - above * above, below * below * below - above * above * above
    near_zero = (below - above) + shape * squares / 2 + shape * shape * cubes / 6
    power = (torch.exp(safe * below) - torch.exp(safe * above)) / safe
    return torch.where(shape.abs() < NEAR_ZERO, near_zero, power)


def tukey_lambda_sd(shape: Tensor) -> Tensor:
    """The standard deviation of the Tukey lambda law of scale 1, for shapes above -1/2, on the CPU in float64."""
    values = shape.double().reshape(-1).tolist()
    variance = torch.tensor([tukey_lambda_variance(value) for value in values], dtype=torch.float64)
    return torch.sqrt(variance).reshape(shape.shape)
