"""Tiles equal the whole where the halo suffices, and never leave a seam."""

import pytest
import torch
from torch import nn

from dirlearn.tiles import tiled


def network(reach: int) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 3, 3, padding=1) for _ in range(reach)]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("size", [(150, 97), (96, 200), (40, 40)])
def test_tiles_equal_the_whole(size: tuple[int, int]) -> None:
    net, x = network(4), torch.rand(2, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(tiled(net, x, tile=96, halo=8, blend=16), net(x))


def test_a_halo_that_is_too_small_is_seen() -> None:
    """That the comparison above can fail."""
    net, x = network(8), torch.rand(1, 3, 150, 150)
    with torch.no_grad():
        difference = (tiled(net, x, tile=96, halo=1, blend=0) - net(x)).abs().max()
    assert difference > 1e-3


def test_no_step_where_tiles_disagree() -> None:
    """A network that sees everything gives each tile its own mean; from one to the next it goes in small steps."""
    x = torch.linspace(0, 1, 300).expand(1, 3, 300, 300)
    made = tiled(lambda part: torch.zeros_like(part) + part.mean(), x, tile=128, halo=16, blend=32)
    assert made.diff(dim=-1).abs().max() < 0.02
    assert made[..., -1].mean() - made[..., 0].mean() > 0.3


def test_tiles_begin_on_the_grid_of_the_strides() -> None:
    tops: list[tuple[int, ...]] = []
    place = torch.arange(200.0).expand(1, 3, 200, 200)
    tiled(lambda part: (tops.append((int(part[0, 0, 0, 0]),)), part)[1], place, tile=96, halo=8, blend=8)
    assert {left % 32 for (left,) in tops} == {0}


def test_tiles_without_room_are_refused() -> None:
    with pytest.raises(ValueError, match="take larger ones"):
        tiled(nn.Identity(), torch.zeros(1, 3, 99, 99), tile=64, halo=32)


def test_a_small_network_restores_in_tiles_what_it_restores_whole(tiny) -> None:
    from dirlearn.baselines import AutoEncoder

    torch.manual_seed(0)
    job = AutoEncoder(tiny().networks).eval()
    x = torch.rand(1, 3, 130, 75)
    with torch.no_grad():
        torch.testing.assert_close(
            tiled(job.restore, x, tile=96, halo=24, blend=16), job.restore(x), rtol=1e-4, atol=1e-5
        )
