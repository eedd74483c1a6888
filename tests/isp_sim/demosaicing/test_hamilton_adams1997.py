"""Known values of Hamilton and Adams' interpolation."""

import torch

from isp_sim.demosaicing.hamilton_adams1997 import HamiltonAdams1997


def test_green_follows_the_edge():
    """Dark rows above bright ones: green comes from its own row, so that the edge stays sharp."""
    rows = torch.tensor([0.2, 0.8]).repeat_interleave(6)[:, None].expand(12, 14)
    out = HamiltonAdams1997().demosaic(rows.contiguous()[None, None], "RGGB")
    assert torch.equal(out[0, 1], rows)


def test_green_is_corrected_by_the_other_colour():
    """At (4, 4): greens 1 and 3 to the sides, red 2 with 0 and 0 beyond: 2 + (2 x 2 - 0 - 0) / 4."""
    m = torch.zeros(9, 9)
    m[4, 2:7] = torch.tensor([0.0, 1.0, 2.0, 3.0, 0.0])
    m[3, 4], m[5, 4] = 10.0, -10.0  # the column changes by far more
    out = HamiltonAdams1997().demosaic(m[None, None], "RGGB")
    assert out[0, 1, 4, 4].item() == 3.0


def test_equal_change_gives_the_mean_of_both_directions():
    m = torch.zeros(9, 9)
    m[4, 3] = m[4, 5] = 1.0
    out = HamiltonAdams1997().demosaic(m[None, None], "RGGB")
    assert out[0, 1, 4, 4].item() == 0.5
