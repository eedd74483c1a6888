"""Gradient-corrected linear interpolation."""

from __future__ import annotations

from torch import Tensor

from isp_sim.demosaicing.bayer import Neighbours, interpolate
from isp_sim.demosaicing.demosaicer import Demosaicer


class Malvar2004(Demosaicer):
    """Bilinear interpolation corrected by the second derivative of the colour that is there; 5x5, linear.

    May leave the range of the samples at edges; does not clip. Coloured constants are exact to the last bit,
    because each sum is ordered so that equal samples cancel exactly.
    """

    linear = True
    border = "mirrored about the outermost samples"
    halo = 2
    smallest = 2
    source = "Malvar, He and Cutler 2004 [Malvar2004]"

    def demosaic(self, mosaic: Tensor, cfa: str) -> Tensor:
        return interpolate(mosaic, cfa, 2, _green_at_colour, _along_row, _along_column, _at_opposite)


def _above(n: Neighbours) -> Tensor:
    """Four times a sample, less the four next of its colour in row and column: 0 exactly where all are equal."""
    return (n(0, 0) * 4).sub_(n.cross(2))


def _green_at_colour(n: Neighbours) -> Tensor:
    return n.cross().mul_(2).add_(_above(n)).mul_(0.125)


def _along(near: Tensor, far_along: Tensor, far_across: Tensor, n: Neighbours) -> Tensor:
    """The colour beside a green site: 4 of it, and 5 - 1 - 4 + 1/2 of green, in sums that cancel."""
    here = n(0, 0)
    beyond = far_across.mul_(0.5).add_(here).sub_(far_along)
    return near.mul_(4).add_((here * 4).sub_(n.corners()).add_(beyond)).mul_(0.125)


def _along_row(n: Neighbours) -> Tensor:
    return _along(n.row(), n.row(2), n.column(2), n)


def _along_column(n: Neighbours) -> Tensor:
    return _along(n.column(), n.column(2), n.row(2), n)


def _at_opposite(n: Neighbours) -> Tensor:
    return n.corners().mul_(2).add_(_above(n).mul_(1.5)).mul_(0.125)
