"""White balance estimated from the picture itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.elementary import power, total
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Static
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal, cfa_rows
from isp_sim.stage import Result, Stage

GREATEST = 100.0
"""The greatest gain, as of `white_balance`."""


class AutoWhiteBalance(Stage):
    """Estimates the gains of R, G and B from a mosaic or camera RGB, and multiplies by them. Linear in, linear out;
    does not clip.

    Each method takes one number of each channel, and the gains make the three equal: ``grey_world`` the mean,
    ``shades_of_grey`` the mean of order `norm` (1 is the grey world, and the higher the order, the nearer to the
    maximum; negative values count as 0), ``max_rgb`` a high percentile. The smallest gain is 1 and the greatest 100;
    all are 1 where a channel has no light or every pixel is saturated.

    Pixels at or above `saturation` in any channel do not count, as they have lost their colour; of a mosaic, neither
    does the whole period of the CFA around them. The gains become the capture's, so with ``apply: false``, which only
    estimates, `white_balance` may follow.
    """

    needs = Signal.where(
        layout=("mosaic", "rgb"), white_balanced=False, colour="camera", levels="unit", transfer="linear"
    )
    writes = ("wb_gains",)
    source = "Buchsbaum 1980 [Buchsbaum1980]; Finlayson and Trezzi 2004 [Finlayson2004]; Land 1977 [Land1977]"

    class Params(StageParams):
        method: Literal["grey_world", "shades_of_grey", "max_rgb"] = Field(
            "grey_world", description="what is taken to be neutral"
        )
        norm: float = Field(6.0, ge=1, le=100, description="order of the mean of shades_of_grey [1]")
        percentile: float = Field(
            99.0, ge=50, le=100, description="share of pixels at or below the maximum of max_rgb [%]"
        )
        saturation: float = Field(0.98, gt=0, le=100, description="pixels from here on do not count [1]")
        apply: Annotated[bool, Static] = Field(True, description="multiply by the gains, or only estimate them")

    def refuses(self, signal: Signal, p: Any) -> str | None:
        if signal.layout == "mosaic" and signal.cfa != "?" and set("".join(cfa_rows(str(signal.cfa)))) != set("RGB"):
            return f"balances R, G and B, and the CFA {signal.cfa} has other sites"
        return None

    def output_signal(self, signal: Signal, p: Any) -> Signal:
        return super().output_signal(replace(signal, white_balanced=True), p) if p.apply else signal

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        light, counts = _channels(frame, p.saturation)
        if p.method == "max_rgb":
            level = _percentile(light, counts, p.percentile)
        else:
            level = _mean(light, counts, p.norm if p.method == "shades_of_grey" else None)
        gains = _gains(level).to(frame.pixels.dtype)
        return Result(frame.pixels * frame.spread(gains) if p.apply else frame.pixels, {"wb_gains": gains})


def _channels(frame: Frame, saturation: Tensor) -> tuple[Tensor, Tensor]:
    """The values of each channel, (B, 3, N), and which of them count."""
    saturated = (frame.pixels >= saturation).any(dim=1, keepdim=True)
    if frame.signal.layout != "mosaic":
        return frame.pixels.flatten(2), (~saturated).expand_as(frame.pixels).flatten(2)
    rows = cfa_rows(str(frame.signal.cfa))
    own = torch.tensor([[[letter == c for letter in row] for row in rows] for c in "RGB"], device=frame.pixels.device)
    counts = frame.tiled(own[None]) & ~_over_periods(saturated, (len(rows), len(rows[0])))
    return frame.pixels.expand_as(counts).flatten(2), counts.flatten(2)


def _over_periods(marked: Tensor, period: tuple[int, int]) -> Tensor:
    """Mark whole periods of the CFA, (B, 1, H, W), of which a site is marked."""
    height, width = marked.shape[-2:]
    down, right = -height % period[0], -width % period[1]
    cells = torch.nn.functional.pad(marked, (0, right, 0, down))
    rows, columns = cells.shape[-2] // period[0], cells.shape[-1] // period[1]
    cells = cells.reshape(-1, 1, rows, period[0], columns, period[1])
    spread = cells.any(dim=-1, keepdim=True).any(dim=-3, keepdim=True).expand_as(cells)
    return spread.reshape(-1, 1, height + down, width + right)[..., :height, :width]


def _mean(light: Tensor, counts: Tensor, norm: Tensor | None) -> Tensor:
    """The mean, or that of order `norm`, of the values that count: (B, 3), in float64."""
    number = counts.sum(dim=-1).clamp_min(1)
    if norm is None:
        return total(torch.where(counts, light, 0.0).double()) / number
    # relative to the greatest value, so that high orders do not underflow
    light = torch.where(counts, light, 0.0).double().clamp_min(0)
    greatest = light.detach().amax(dim=-1, keepdim=True)
    order = norm[:, :, :, 0].double()
    mean = total(power(light / torch.where(greatest > 0, greatest, 1.0), order)) / number
    return power(mean, 1 / order[..., 0]) * greatest[..., 0]


def _percentile(light: Tensor, counts: Tensor, percentile: Tensor) -> Tensor:
    """The least value that the given share of the values that count does not exceed: (B, 3), in float64."""
    number = counts.sum(dim=-1, keepdim=True)
    ordered = torch.where(counts, light, float("inf")).sort(dim=-1).values
    rank = torch.ceil(number * percentile[:, :, :, 0].double() / 100).long() - 1
    found = ordered.gather(-1, rank.clamp_min(0)).double()
    return torch.where(number > 0, found, 0.0)[..., 0]


def _gains(level: Tensor) -> Tensor:
    """Gains that make levels (B, 3) equal: (B, 3, 1, 1), the smallest 1."""
    lit = (level > 0).all(dim=1, keepdim=True)
    safe = torch.where(lit, level, 1.0)
    gains = safe.amax(dim=1, keepdim=True) / safe
    return torch.where(gains > GREATEST, GREATEST, gains)[:, :, None, None]
