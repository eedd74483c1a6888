"""Laws of the algorithms that know any periodic CFA, and what they are worth on photos."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.demosaicing import periodic
from isp_sim.demosaicing.directional_kriging import DirectionalKriging, weights
from isp_sim.demosaicing.normalised_convolution import NormalisedConvolution
from isp_sim.frame import Frame, Move
from isp_sim.signal import Signal, cfa_rows, mixed_sites
from isp_sim.stages.mosaic import mosaic

ALGORITHMS = (NormalisedConvolution, DirectionalKriging)
PLAIN = ("RGGB", "GBRG", "xtrans", "quad_bayer", "RGB/GBR/BRG", "RG/GB/GR/BG")
MIXED = ("RCCB", "CYGM", "RGBW", "WBWG/BWGW/WGWR/GWRW")

every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)
sizes = st.tuples(st.integers(4, 14), st.integers(4, 14))


def noise(size, seed=0, batch=1, dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(seed).uniform(-0.1, 1.2, (batch, 1, *size))).to(dtype)


@every_algorithm
@settings(max_examples=15)
@given(cfa=st.sampled_from(PLAIN), size=sizes, colour=st.tuples(*[st.floats(0, 65535, width=32)] * 3))
def test_coloured_constant_is_exact_to_the_border(algorithm, cfa, size, colour):
    flat = torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, *size).contiguous()
    assert torch.equal(algorithm().demosaic(mosaic(flat, cfa), cfa), flat)


@every_algorithm
@settings(max_examples=10)
@given(cfa=st.sampled_from(MIXED), size=sizes, colour=st.tuples(*[st.floats(0, 1)] * 3))
def test_coloured_constant_is_found_where_sites_mix_colours(algorithm, cfa, size, colour):
    flat = torch.tensor(colour, dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, *size).contiguous()
    torch.testing.assert_close(algorithm().demosaic(mosaic(flat, cfa), cfa), flat, rtol=0, atol=1e-12)


@every_algorithm
@pytest.mark.parametrize("cfa", [*PLAIN, *MIXED])
def test_samples_are_kept(algorithm, cfa):
    m = noise((13, 16), dtype=torch.float32)
    again = mosaic(algorithm().demosaic(m, cfa), cfa)
    if mixed_sites(cfa):
        torch.testing.assert_close(again, m, rtol=0, atol=1e-6)
    else:
        assert torch.equal(again, m)


@every_algorithm
@pytest.mark.parametrize("cfa", ["xtrans", "quad_bayer", "RG/GB/GR/BG", "RCCB"])
def test_moves_of_the_mosaic_are_moves_of_the_picture(algorithm, cfa):
    frame = Frame(noise((14, 17)), Signal(layout="mosaic", cfa=cfa, transfer="linear"))
    whole = algorithm().demosaic(frame.pixels, frame.signal.cfa)
    for transpose, mirror_x, mirror_y in itertools.product((False, True), repeat=3):
        move = Move(frame.size, transpose, mirror_x, mirror_y)
        moved = frame.moved(move)
        found = algorithm().demosaic(moved.pixels, moved.signal.cfa)
        torch.testing.assert_close(found, move.pixels(whole), rtol=0, atol=1e-10)


@every_algorithm
@pytest.mark.parametrize("cfa", ["xtrans", "quad_bayer", "CYGM"])
def test_scale_and_linearity(algorithm, cfa):
    m, n = noise((15, 14), 1), noise((15, 14), 2)
    run = algorithm().demosaic
    torch.testing.assert_close(run(m * 4096, cfa) / 4096, run(m, cfa), rtol=0, atol=1e-11)
    joint, apart = run(1.5 * m - 0.7 * n, cfa), 1.5 * run(m, cfa) - 0.7 * run(n, cfa)
    assert bool((joint - apart).abs().max() <= 1e-12) == algorithm.linear


@every_algorithm
@pytest.mark.parametrize("cfa", ["xtrans", "quad_bayer"])
def test_a_pixel_depends_on_its_halo_and_on_no_more(algorithm, cfa):
    h = algorithm.halo
    m = noise((2 * h + 9, 2 * h + 9), 3)
    changed = m.clone()
    changed[..., 0, :] += 1
    changed[..., :, 0] += 1
    a, b = (algorithm().demosaic(v, cfa) for v in (m, changed))
    assert torch.equal(a[..., h + 1 :, h + 1 :], b[..., h + 1 :, h + 1 :])
    reach = periodic.REACH if algorithm is NormalisedConvolution else 8
    assert not torch.equal(a[..., reach, :], b[..., reach, :])


@every_algorithm
def test_tiles_of_a_large_picture_leave_no_trace(algorithm, monkeypatch):
    m = noise((71, 83), dtype=torch.float32)
    whole = algorithm().demosaic(m, "xtrans")
    monkeypatch.setattr(periodic, "TILE", 31)
    assert torch.equal(algorithm().demosaic(m, "xtrans"), whole)


@every_algorithm
def test_gradient_reaches_every_sample(algorithm):
    for cfa in ("xtrans", "RCCB"):
        m = noise((8, 9), 5).requires_grad_()
        algorithm().demosaic(m, cfa).square().sum().backward()
        assert bool(m.grad.isfinite().all())
        assert bool((m.grad != 0).all())


@every_algorithm
def test_flat_fields_have_the_gradient_of_the_mean(algorithm):
    """What undoes rounding has no part in it: the weights of every colour sum to 1."""
    m = torch.full((1, 1, 12, 12), 0.3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(algorithm().demosaic(m, "xtrans")[0, 1, 6, 6], m)
    assert slope.sum().item() == pytest.approx(1, abs=1e-10)


def test_normalised_convolution_stays_within_each_colour_s_samples():
    m = noise((23, 21), dtype=torch.float32)
    out = NormalisedConvolution().demosaic(m, "xtrans")
    for colour, plane in zip("RGB", out[0], strict=True):
        seen = m[0, 0][periodic.masks("xtrans", (23, 21), m.device)[colour]]
        assert seen.min() <= plane.min()
        assert plane.max() <= seen.max()


def test_normalised_convolution_is_the_ratio_of_two_convolutions():
    from scipy import ndimage

    m = noise((17, 15))
    x = np.arange(-periodic.REACH, periodic.REACH + 1)
    line = np.exp(-(x**2) / (2 * periodic.SPREAD**2))
    kernel = np.outer(line, line)
    out = NormalisedConvolution().demosaic(m, "quad_bayer")[0].numpy()
    for colour, plane in zip("RGB", out, strict=True):
        mask = periodic.masks("quad_bayer", (17, 15), m.device)[colour].numpy()
        sums = [ndimage.convolve(a, kernel, mode="constant") for a in (m[0, 0].numpy() * mask, mask.astype(float))]
        np.testing.assert_allclose(plane, np.where(mask, m[0, 0].numpy(), sums[0] / sums[1]), atol=1e-13)


@pytest.mark.parametrize("cfa", ["RGGB", "xtrans", "CYGM"])
def test_weights_give_back_every_constant_colour(cfa):
    rows = cfa_rows(cfa)
    for direction in ("row", "column"):
        taps, found = weights(cfa, direction)
        for y, x in itertools.product(range(len(rows)), range(len(rows[0]))):
            letters = [rows[(y + dy) % len(rows)][(x + dx) % len(rows[0])] for dy, dx in taps]
            shares = np.array([periodic.filters(cfa)[periodic.letters(cfa).index(letter)] for letter in letters])
            np.testing.assert_allclose(found[:, y, x] @ shares, np.eye(3), atol=1e-12)


def test_kriging_follows_the_edge():
    """Dark rows above bright ones of the same grey: no colour, and no zipper along the edge."""
    rows = torch.tensor([0.2, 0.8]).repeat_interleave(18)[:, None].expand(36, 40).contiguous()
    out = DirectionalKriging().demosaic(rows[None, None], "xtrans")
    assert (out - rows).abs().max() < 0.06
    assert (NormalisedConvolution().demosaic(rows[None, None], "xtrans") - rows).abs().max() > 0.2


@pytest.mark.parametrize("cfa", ["xtrans", "quad_bayer", "RCCB"])
@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_kriging_errs_far_less_than_weighted_means_on_photos(photos, name, cfa):
    picture = torch.from_numpy(photos[name][40:140, 150:250]).permute(2, 0, 1)[None] / 255

    def error(algorithm):
        return (algorithm().demosaic(mosaic(picture, cfa), cfa) - picture)[..., 10:-10, 10:-10].square().mean()

    assert error(DirectionalKriging) < 0.5 * error(NormalisedConvolution)


@every_algorithm
@pytest.mark.parametrize(
    ("cfa", "why"),
    [
        ("RCCC", "two letters do not tell three colours"),
        ("RGEB", "E is no known filter"),
        ("R" + "G" * 4 + "/" + "B" + "G" * 4, "some square of four sites holds no red"),
    ],
)
def test_patterns_that_do_not_tell_enough_are_not_accepted(algorithm, cfa, why):
    assert not algorithm.accepts(cfa), why


@every_algorithm
@pytest.mark.parametrize("size", [(3, 9), (9, 3)])
def test_too_small_a_mosaic_is_refused(algorithm, size):
    with pytest.raises(ValueError, match="at least 4x4"):
        algorithm().demosaic(noise(size), "xtrans")
