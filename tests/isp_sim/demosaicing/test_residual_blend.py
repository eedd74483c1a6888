"""The blend of two residual interpolations beside the algorithms that it is made to surpass."""

import pytest
import torch

from isp_sim.demosaicing.malvar2004 import Malvar2004
from isp_sim.demosaicing.menon2007 import Menon2007
from isp_sim.demosaicing.residual_blend import ResidualBlend
from isp_sim.stages.mosaic import mosaic


def error(algorithm, picture):
    out = algorithm().demosaic(mosaic(picture, "RGGB"), "RGGB")
    return (out - picture)[..., 10:-10, 10:-10].square().mean().item()


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_errs_less_than_the_others_on_photos(photos, name):
    picture = torch.from_numpy(photos[name][40:180, 150:300]).permute(2, 0, 1)[None] / 255
    assert error(ResidualBlend, picture) < min(error(other, picture) for other in (Malvar2004, Menon2007))
