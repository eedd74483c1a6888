"""Laws of every alignment."""

import pytest
import torch

from dirlearn.alignment.alignment import build_alignment, per_sample_convolution
from isp_sim import registry

NAMES = registry.names("dirlearn.alignments")
SMALL = {"width": 8, "m1": 2, "m2": 1, "m3": 2}


def make(name: str):
    torch.manual_seed(0)
    alignment = build_alignment(name if name == "identity" else {name: SMALL}, 6)
    return alignment


def woken(name: str):
    """An alignment whose layers that start at zero do not."""
    alignment = make(name)
    with torch.no_grad():
        for parameter in alignment.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.1)
    return alignment


def inputs(batch=2, size=(7, 5)):
    g = torch.Generator().manual_seed(1)
    return torch.randn(batch, 6, *size, generator=g), torch.randn(batch, 6, *size, generator=g)


@pytest.mark.parametrize("name", NAMES)
def test_it_starts_from_the_representation_as_it_is(name: str) -> None:
    r0, pilot = inputs()
    assert torch.equal(make(name)(r0, pilot), r0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(7, 5), (1, 1), (16, 3)])
def test_same_shape_out_and_samples_apart(name: str, size: tuple[int, int]) -> None:
    r0, pilot = inputs(size=size)
    alignment = woken(name)
    refined = alignment(r0, pilot)
    assert refined.shape == r0.shape
    alone = torch.cat([alignment(r0[i : i + 1], pilot[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(refined, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"identity"}))
def test_the_pilot_matters_where_it_should(name: str) -> None:
    r0, pilot = inputs()
    alignment = woken(name)
    changed = not torch.allclose(alignment(r0, pilot), alignment(r0, pilot + torch.randn_like(pilot)))
    assert changed == (name != "unguided")


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"identity"}))
def test_every_parameter_learns(name: str) -> None:
    alignment = woken(name)
    r0, pilot = inputs()
    (alignment(r0, pilot) ** 2).sum().backward()
    assert [n for n, p in alignment.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("side", [1, 3, 5])
def test_per_sample_convolution_is_a_grouped_convolution(side: int) -> None:
    g = torch.Generator().manual_seed(side)
    x, kernels = torch.randn(2, 3, 6, 7, generator=g), torch.randn(2, 3, side, side, generator=g)
    padded = torch.nn.functional.pad(x, (side // 2,) * 4, mode="replicate")
    expected = torch.nn.functional.conv2d(
        padded.reshape(1, 6, *padded.shape[-2:]), kernels.reshape(6, 1, side, side), groups=6
    )
    torch.testing.assert_close(per_sample_convolution(x, kernels), expected.reshape(x.shape))


def test_even_kernels_are_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        build_alignment({"guided": {"sides": [1, 2]}}, 4)
