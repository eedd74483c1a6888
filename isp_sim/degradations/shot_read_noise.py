"""Shot and read noise by their variance: the two terms of DNG's NoiseProfile."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from isp_sim.elementary import root
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Degradation, Recovery, Result, as_it_is


class ShotReadNoise(Degradation):
    """Adds noise of variance ``shot * x + read`` to linear light x in [0, 1] units; zero mean; does not clip.

    ``gaussian`` draws normal noise of that variance. ``poisson`` counts photons, Poisson(x / shot) * shot, and
    adds normal read noise: the same variance, with the skew that few photons have. Negative x has read noise only.
    Leaves the map ``sigma``, the standard deviation of each sample, and the capture's noise_profile.

    A joint draw of both terms over cameras and ISO speeds, by Brooks et al. 2019 (natural logarithms)::

        shot: {loguniform: [1.0e-4, 1.2e-2]}
        read: {log_linear: {of: shot, slope: 2.18, intercept: 1.20, sd: 0.26, log_base: e}}
    """

    needs = Signal.where(levels="unit", transfer="linear")
    writes = ("noise_profile",)
    halo = 0
    source = "Foi et al. 2008 [Foi2008]; DNG 1.7.1, NoiseProfile [DNG2023]; Brooks et al. 2019 [Brooks2019]"
    severities: ClassVar = {
        "shot": (1e-3, 3e-3, 1e-2, 2.5e-2, 6e-2),
        "read": (1e-6, 1e-5, 1.4e-4, 1e-3, 7e-3),
    }

    class Params(StageParams):
        shot: float | None = Field(
            None,
            ge=0,
            le=1,
            description="S of NoiseProfile, variance a unit of signal [1]; the capture's if not given",
        )
        read: float | None = Field(
            None,
            ge=0,
            le=1,
            description="O of NoiseProfile, variance in the dark [1]; the capture's, or 0 with a shot",
        )
        law: Literal["gaussian", "poisson"] = Field("gaussian", description="normal noise, or counted photons")

        @model_validator(mode="after")
        def _shot_first(self) -> ShotReadNoise.Params:
            if self.read is not None and self.shot is None:
                raise ValueError("read is given without shot; for read noise alone write shot: 0")
            return self

    def facts_read(self, p: Any) -> tuple[str, ...]:
        return ("noise_profile",) if p.shot is None else ()

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        shot, read, profile = self._profile(frame, p)
        light = frame.pixels.clamp_min(0)
        sigma = root(light * shot + read)
        normal = rng.normal(frame.pixels)
        if p.law == "gaussian":
            pixels = frame.pixels + sigma * normal
        else:
            pixels = frame.pixels + self._photon_noise(light, shot, rng) + torch.sqrt(read) * normal
        return Result(pixels, {"noise_profile": profile}, {"sigma": sigma})

    def recovery(self, p: Any) -> Recovery:
        return Recovery(as_it_is, "the picture as it is", "the picture under the noise")

    @staticmethod
    def _profile(frame: Frame, p: Any) -> tuple[Tensor, Tensor, Tensor]:
        """S and O, ready to broadcast, and both as a noise_profile (B, n, 2)."""
        if p.shot is not None:
            read = torch.zeros_like(p.shot) if p.read is None else p.read
            return p.shot, read, torch.stack([p.shot[:, :, 0, 0], read[:, :, 0, 0]], dim=-1)
        profile = frame.capture["noise_profile"]
        planes = (profile[..., i, None, None] for i in (0, 1))
        shot, read = planes if profile.shape[1] == 1 else (frame.spread(plane) for plane in planes)
        return shot, read, profile

    @staticmethod
    def _photon_noise(light: Tensor, shot: Tensor, rng: Randomness) -> Tensor:
        """Photon count less its mean, in units of the signal: Poisson(light / shot) * shot - light."""
        gain = shot.detach().expand_as(light).to("cpu", torch.float64).numpy()
        photons = light.detach().to("cpu", torch.float64).numpy()
        mean = np.divide(photons, gain, out=np.zeros_like(photons), where=gain > 0)
        uniform = rng.quantiles(light, purpose="photons").numpy()
        return torch.from_numpy((poisson_quantile(uniform, mean) - mean) * gain).to(light)


def poisson_quantile(u: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest count k with P(N <= k) >= u, for N Poisson with the given mean.

    One uniform number decides one count, so a mean that differs in its last bit between two devices moves one
    pixel at most, and never the pixels after it.

    Parameters
    ----------
    u
        In [0, 1).
    mean
        Not negative, of the same shape.

    Returns
    -------
    ndarray
        Whole numbers, float64, of the same shape.

    Notes
    -----
    A normal guess with skewness correction (Cornish-Fisher), then steps by the exact distribution function. Above
    a mean of 1e9 the guess is returned as it is: its error is far below one part in 1e4 of a standard deviation.

    Examples
    --------
    >>> poisson_quantile(np.array([0.0, 0.5, 0.99]), np.array([3.0, 3.0, 3.0])).tolist()
    [0.0, 3.0, 8.0]
    """
    from scipy.special import ndtri, pdtr

    u, mean = np.broadcast_arrays(np.asarray(u, dtype=np.float64), np.asarray(mean, dtype=np.float64))
    z = ndtri(np.clip(u, 1e-300, 1 - 2**-54))
    k = np.maximum(np.floor(mean + np.sqrt(mean) * z + (z * z - 1) / 6 + 0.5), 0.0)
    k = np.where((mean > 0) & (u > 0), k, 0.0)
    flat_k, flat_u, flat_mean = k.reshape(-1), u.reshape(-1), mean.reshape(-1)
    active = np.flatnonzero((flat_mean > 0) & (flat_mean < 1e9) & (flat_u > 0))
    at = pdtr(flat_k[active], flat_mean[active])
    low = at < flat_u[active]
    up, down = active[low], active[~low]
    while up.size:  # step up until the distribution function reaches u
        flat_k[up] += 1
        up = up[pdtr(flat_k[up], flat_mean[up]) < flat_u[up]]
    down = down[flat_k[down] > 0]
    while down.size:  # step down while the count below reaches u too
        down = down[pdtr(flat_k[down] - 1, flat_mean[down]) >= flat_u[down]]
        flat_k[down] -= 1
        down = down[flat_k[down] > 0]
    return flat_k.reshape(mean.shape)
