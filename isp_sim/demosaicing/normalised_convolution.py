"""Normalised convolution of any periodic CFA."""

from __future__ import annotations

from torch import Tensor

from isp_sim.demosaicing.demosaicer import Demosaicer
from isp_sim.demosaicing.periodic import REACH, check_size, fit, in_tiles, is_dense, keep, means, rgb_of


class NormalisedConvolution(Demosaicer):
    """Each missing colour is the mean of its samples in 7x7 sites, weighted by a Gaussian. Any periodic CFA.

    At R, G and B sites samples are kept, and results stay within the range of each colour's samples. Where sites mix
    colours (C, M, Y, W), every letter is interpolated and RGB solved for by least squares, then fitted to the samples
    with the smallest change: exact up to rounding, and no longer within their range. Does not clip.
    """

    linear = True
    border = "what lies beyond has no weight"
    halo = REACH
    smallest = REACH + 1
    source = "Knutsson and Westin 1993 [Knutsson1993]"

    @classmethod
    def accepts(cls, cfa: str) -> bool:
        return is_dense(cfa)

    def demosaic(self, mosaic: Tensor, cfa: str) -> Tensor:
        check_size(mosaic)
        return in_tiles(_interpolated, mosaic, cfa, REACH)


def _interpolated(mosaic: Tensor, cfa: str) -> Tensor:
    return fit(rgb_of(keep(mosaic, cfa, means(mosaic, cfa)), cfa), mosaic, cfa)
