import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.stages.ycbcr import SCALES, WEIGHTS, rgb_to_ycbcr, ycbcr_to_rgb

STANDARDS, RANGES = list(WEIGHTS), list(SCALES)


def random(seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(2, 3, 7, 9, dtype=dtype, generator=torch.Generator().manual_seed(seed)) * 1.4 - 0.2


@given(st.integers(0, 999), st.sampled_from(STANDARDS), st.sampled_from(RANGES))
def test_there_and_back(seed: int, standard: str, range: str) -> None:
    rgb = random(seed)
    torch.testing.assert_close(
        ycbcr_to_rgb(rgb_to_ycbcr(rgb, standard, range), standard, range), rgb, atol=5e-7, rtol=0
    )


@pytest.mark.parametrize("standard", STANDARDS)
@pytest.mark.parametrize("range", RANGES)
def test_grey_has_no_colour_to_the_last_bit(standard: str, range: str) -> None:
    grey = torch.linspace(0, 1, 256).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    y, cb, cr = rgb_to_ycbcr(grey, standard, range).unbind(1)
    neutral = torch.full((1, 16, 16), 128 / 255)
    assert torch.equal(cb, neutral)
    assert torch.equal(cr, neutral)
    black, luma, _ = SCALES[range]
    assert (y.min() * 255).item() == pytest.approx(black, abs=1e-4)
    assert (y.max() * 255).item() == pytest.approx(black + luma, abs=1e-4)
    back = ycbcr_to_rgb(rgb_to_ycbcr(grey, standard, range), standard, range)
    assert torch.equal(back[:, 0], back[:, 1])
    assert torch.equal(back[:, 0], back[:, 2])


@pytest.mark.parametrize("standard", STANDARDS)
@pytest.mark.parametrize("range", RANGES)
def test_the_primaries_span_the_codes(standard: str, range: str) -> None:
    """Blue has the largest Cb and red the largest Cr; yellow and cyan the smallest."""
    corners = torch.tensor([[0, 0, 1], [1, 1, 0], [1, 0, 0], [0, 1, 1]], dtype=torch.float64).reshape(4, 3, 1, 1)
    codes = rgb_to_ycbcr(corners, standard, range)[..., 0, 0] * 255
    half = SCALES[range][2] / 2
    torch.testing.assert_close(codes[:2, 1], torch.tensor([128 + half, 128 - half], dtype=torch.float64))
    torch.testing.assert_close(codes[2:, 2], torch.tensor([128 + half, 128 - half], dtype=torch.float64))


@pytest.mark.parametrize(("standard", "name"), [("bt601", "BT.601"), ("bt709", "BT.709"), ("bt2020", "BT.2020")])
@pytest.mark.parametrize("range", RANGES)
def test_colour_science_agrees(standard: str, name: str, range: str) -> None:
    import colour

    rgb = random(3, torch.float64)
    theirs = colour.RGB_to_YCbCr(
        rgb.permute(0, 2, 3, 1).numpy(),
        K=colour.WEIGHTS_YCBCR[f"ITU-R {name}"],
        out_bits=8,
        out_legal=range == "limited",
    )
    ours = rgb_to_ycbcr(rgb, standard, range).permute(0, 2, 3, 1)
    # in full range colour-science places neutral at 0; the standard's 8-bit code for it is 128
    shift = torch.tensor([0.0, 128 / 255, 128 / 255], dtype=torch.float64) if range == "full" else 0.0
    torch.testing.assert_close(ours, torch.from_numpy(theirs) + shift, atol=1e-9, rtol=0)


def test_pillow_agrees_within_its_rounding() -> None:
    import numpy as np
    from PIL import Image

    codes = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    theirs = np.asarray(Image.fromarray(codes.numpy()).convert("YCbCr")).astype(np.float64)
    ours = rgb_to_ycbcr(codes.permute(2, 0, 1)[None].double() / 255)[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(ours - theirs).max() <= 1.0


@pytest.mark.parametrize("standard", STANDARDS)
@pytest.mark.parametrize(("range", "bound"), [("full", 1), ("limited", 2)])
def test_8_bit_codes_come_back(standard: str, range: str, bound: int) -> None:
    """Rounding Y'CbCr to codes costs half a code of luma and half of the larger colour difference, times what it counts
    in a channel: 0.5 + 0.94 codes at the most in full range; limited range has 219 and 224 codes for 255."""
    grid = torch.arange(0, 256, 17 if standard == "bt601" else 15)
    codes = torch.cartesian_prod(grid, grid, grid).T.reshape(1, 3, 1, -1).double()
    ycbcr = torch.floor(rgb_to_ycbcr(codes / 255, standard, range) * 255 + 0.5)
    back = torch.floor(ycbcr_to_rgb(ycbcr / 255, standard, range) * 255 + 0.5)
    assert (back - codes).abs().max() <= bound


@given(st.integers(0, 999), st.sampled_from(STANDARDS), st.sampled_from(RANGES))
def test_there_and_back_within_rounding_in_double_precision(seed: int, standard: str, range: str) -> None:
    rgb = random(seed, torch.float64)
    torch.testing.assert_close(
        ycbcr_to_rgb(rgb_to_ycbcr(rgb, standard, range), standard, range), rgb, atol=1e-15, rtol=0
    )
