from itertools import product

import pytest
import torch

from isp_sim.signal import Signal
from isp_sim.stages.same_colour import DIRECTIONS, Sites, Surroundings, of_phase, too_wide

CFAS = ("RGGB", "GBRG", "RG/GB/BG", "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG", "RRGGRRGGGGBBGGBB")
MOSAIC = Signal(layout="mosaic", cfa="RGGB", transfer="linear")


@pytest.mark.parametrize("cfa", CFAS)
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 9), (13, 8)])
def test_what_is_seen_is_what_lies_there(cfa, size):
    plane = torch.rand(2, 1, *size)
    sites = Sites(cfa)
    around = Surroundings(plane, sites.period)
    for phase in sites.phases():
        own = of_phase(plane, phase, sites.period)
        for offset in [(0, 0), (-6, 6), *sites.within(phase, 3)]:
            seen = around.seen(phase, offset)
            assert seen.shape == own.shape
            for i, j in product(range(own.shape[2]), range(own.shape[3])):
                y, x = phase.y + i * sites.period[0] + offset[0], phase.x + j * sites.period[1] + offset[1]
                inside = 0 <= y < size[0] and 0 <= x < size[1]
                expected = plane[:, 0, y, x] if inside else torch.zeros(2)
                assert torch.equal(seen[:, 0, i, j], expected)


@pytest.mark.parametrize("cfa", CFAS)
def test_neighbours_are_the_nearest_of_their_colour(cfa):
    sites = Sites(cfa)
    for phase, (down, right), sign in product(sites.phases(), DIRECTIONS, (1, -1)):
        dy, dx = sites.towards(phase, sign * down, sign * right)
        steps = max(abs(dy), abs(dx))
        assert (dy, dx) == (steps * sign * down, steps * sign * right)
        letters = [sites.letter(phase.y + k * sign * down, phase.x + k * sign * right) for k in range(1, steps + 1)]
        assert letters[-1] == phase.letter
        assert phase.letter not in letters[:-1]


def test_a_cfa_too_wide():
    assert too_wide(MOSAIC) is None
    assert too_wide(MOSAIC.changed({"cfa": "?"})) is None
    reason = too_wide(MOSAIC.changed({"cfa": "RGGGGGGG/GBBBBBBB"}))
    assert reason is not None
    assert "site R" in reason
