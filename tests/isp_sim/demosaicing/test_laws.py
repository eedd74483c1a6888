"""Laws of every Bayer demosaicing algorithm that the project brings, read from its entry points.

Those that know any periodic CFA have tests of their own, `test_periodic.py`.
"""

import itertools
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.stages.mosaic import mosaic

ENTRIES = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]["entry-points"][
    "isp_sim.demosaicers"
]
XTRANS = "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG"
PHASES = ("RGGB", "BGGR", "GRBG", "GBRG")


def algorithm(name):
    module, _, cls = ENTRIES[name].partition(":")
    return getattr(import_module(module), cls)()


NAMES = sorted(name for name in ENTRIES if not algorithm(name).accepts(XTRANS))


def noise(size, seed=0, batch=1, channels=1, dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(seed).uniform(-0.1, 1.2, (batch, channels, *size))).to(dtype)


@pytest.fixture(params=NAMES)
def demosaicer(request):
    return algorithm(request.param)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8)
@given(
    cfa=st.sampled_from(PHASES),
    size=st.tuples(st.integers(2, 13), st.integers(2, 13)),
    colour=st.tuples(*[st.floats(0, 65535, width=32)] * 3),
)
def test_coloured_constant_is_exact_to_the_border(name, cfa, size, colour):
    flat = torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, *size).contiguous()
    assert torch.equal(algorithm(name).demosaic(mosaic(flat, cfa), cfa), flat)


@pytest.mark.parametrize("cfa", PHASES)
def test_samples_are_kept(demosaicer, cfa):
    m = noise((13, 16), dtype=torch.float32)
    assert torch.equal(mosaic(demosaicer.demosaic(m, cfa), cfa), m)


@pytest.mark.parametrize("cfa", PHASES)
def test_flips_and_transposition_move_the_phase(demosaicer, cfa):
    m = noise((14, 16))
    whole = demosaicer.demosaic(m, cfa)
    left_right, up_down, transposed = (
        "".join(cfa[i] for i in order) for order in ((1, 0, 3, 2), (2, 3, 0, 1), (0, 2, 1, 3))
    )
    torch.testing.assert_close(demosaicer.demosaic(m.flip(3), left_right), whole.flip(3), rtol=0, atol=1e-11)
    torch.testing.assert_close(demosaicer.demosaic(m.flip(2), up_down), whole.flip(2), rtol=0, atol=1e-11)
    torch.testing.assert_close(demosaicer.demosaic(m.mT, transposed), whole.mT, rtol=0, atol=1e-11)


def test_red_and_blue_are_treated_alike(demosaicer):
    m = noise((12, 15))
    red_first, blue_first = demosaicer.demosaic(m, "RGGB"), demosaicer.demosaic(m, "BGGR")
    torch.testing.assert_close(blue_first, red_first.flip(1), rtol=0, atol=1e-11)


def test_scale_of_the_samples_does_not_matter(demosaicer):
    m = noise((15, 14))
    whole = demosaicer.demosaic(m, "GRBG")
    torch.testing.assert_close(demosaicer.demosaic(m * 4096, "GRBG") / 4096, whole, rtol=0, atol=1e-11)


def test_linear_ramps_of_each_colour_are_exact_inside(demosaicer):
    y, x = torch.meshgrid(torch.arange(40.0).double(), torch.arange(42.0).double(), indexing="ij")
    slopes = ((0.011, -0.004), (0.006, 0.003), (-0.002, 0.009))
    ramp = torch.stack([0.5 + a * y + b * x for a, b in slopes])[None]
    if demosaicer.halo is None:
        pytest.skip("a pixel may depend on the border however far it is")
    inside = (..., slice(demosaicer.halo, -demosaicer.halo), slice(demosaicer.halo, -demosaicer.halo))
    error = (demosaicer.demosaic(mosaic(ramp, "RGGB"), "RGGB") - ramp)[inside]
    assert error.abs().max() <= 1e-12


def test_linear_is_what_it_says(demosaicer):
    m, n = noise((14, 15), 1), noise((14, 15), 2)
    joint = demosaicer.demosaic(1.5 * m - 0.7 * n, "GBRG")
    apart = 1.5 * demosaicer.demosaic(m, "GBRG") - 0.7 * demosaicer.demosaic(n, "GBRG")
    assert bool((joint - apart).abs().max() <= 1e-12) == demosaicer.linear


def test_a_pixel_depends_on_no_more_than_the_halo(demosaicer):
    if demosaicer.halo is None:
        pytest.skip("says that a pixel may depend on the whole picture")
    h = demosaicer.halo
    m = noise((2 * h + 9, 2 * h + 9), 3)
    changed = m.clone()
    changed[..., 0, :] += 1
    changed[..., :, 0] += 1
    a, b = (demosaicer.demosaic(v, "RGGB")[..., h + 1 :, h + 1 :] for v in (m, changed))
    assert torch.equal(a, b)


def test_batch_strides_and_threads_keep_every_bit(demosaicer):
    m = noise((37, 41), 4, batch=3, dtype=torch.float32)
    whole = demosaicer.demosaic(m, "RGGB")
    for i in range(3):
        assert torch.equal(demosaicer.demosaic(m[i : i + 1], "RGGB"), whole[i : i + 1])
    columns_first = m.transpose(2, 3).contiguous().transpose(2, 3)
    every_second = torch.stack([m, m + 1], dim=-1).flatten(-2)[..., ::2]
    for laid_out in (columns_first, every_second):
        assert torch.equal(demosaicer.demosaic(laid_out, "RGGB"), whole)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            assert torch.equal(demosaicer.demosaic(m, "RGGB"), whole)
    finally:
        torch.set_num_threads(threads)


def test_input_is_left_alone_and_sizes_from_the_smallest_pass(demosaicer):
    least = demosaicer.smallest
    for height, width in itertools.product((least, least + 1, least + 6), repeat=2):
        m = noise((height, width), dtype=torch.float32)
        before = m.clone()
        for cfa in PHASES:
            out = demosaicer.demosaic(m, cfa)
            assert out.shape == (1, 3, height, width)
            assert out.dtype == m.dtype
            assert bool(out.isfinite().all())
        assert torch.equal(m, before)


def test_a_mosaic_without_a_full_period_is_refused(demosaicer):
    with pytest.raises(ValueError, match="at least 2x2"):
        demosaicer.demosaic(noise((1, 5)), "RGGB")


def test_gradient_reaches_every_sample(demosaicer):
    m = noise((10, 11), 5).requires_grad_()
    demosaicer.demosaic(m, "RGGB").sum().backward()
    assert bool(m.grad.isfinite().all())
    # the sums of rows of weights differ, but no sample is without effect
    assert bool((m.grad != 0).all())
