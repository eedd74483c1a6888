from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.cameras.profile import CONTRACTION
from isp_sim.parameters import ParameterFaults
from isp_sim.signal import Signal
from isp_sim.stages.gamut_map import gamut_map, gamut_map_inverse

SCENE = Signal(transfer="linear", reference="scene")
PARAMS = {
    "centres": [[0.9, 0.1, 0.1], [0.2, 0.6, 0.3], [0.5, 0.5, 0.5]],
    "weights": [[0.05, -0.02, 0.01], [0, 0.06, 0], [-0.03, 0.01, 0.04]],
    "width": 0.5,
}


def table(rng, count, width, dtype=torch.float64):
    """Random functions whose weights are as large as they may be."""
    bound = CONTRACTION * width * np.exp(0.5) / (np.sqrt(3) * count)
    weights = rng.choice([-bound, bound], (count, 3))
    rows = np.concatenate([rng.uniform(0, 1, (count, 3)), weights, np.full((count, 1), width)], axis=1)
    return torch.from_numpy(rows)[None].to(dtype)


def colours(rng, dtype=torch.float64, low=-0.5, high=1.5):
    return torch.from_numpy(rng.uniform(low, high, (1, 3, 500))).to(dtype)


@pytest.mark.parametrize("params", [PARAMS, None], ids=["given", "the camera's"])
def test_engine_laws(tools, params):
    capture = {"gamut_map": torch.cat([table(np.random.default_rng(i), 4, 0.5) for i in range(3)])}
    frame = tools.picture(SCENE, size=(211, 203), capture=capture, low=-0.2, high=1.3)  # more than one block
    tools.assert_engine_laws("gamut_map", frame, params)


def test_precision(tools):
    tools.assert_precision("gamut_map", tools.picture(SCENE, dtype=torch.float64), PARAMS, bound=3e-7)


def test_gradient(tools):
    tools.assert_gradient("gamut_map", tools.picture(SCENE, batch=1, size=(2, 2)), PARAMS)


@given(st.integers(0, 10**6), st.integers(1, 8), st.floats(0.2, 2))
def test_is_the_sum_of_its_functions(seed, count, width):
    rng = np.random.default_rng(seed)
    functions, x = table(rng, count, width), colours(rng)
    point = x[0].T.numpy()
    expected = point.copy()
    for c0, c1, c2, w0, w1, w2, s in functions[0].tolist():
        near = np.exp(-np.square(point - [c0, c1, c2]).sum(axis=1) / (2 * s * s))
        expected += near[:, None] * np.array([w0, w1, w2])
    np.testing.assert_allclose(gamut_map(x, functions)[0].T, expected, atol=1e-13)


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(1, 6), st.floats(0.2, 2))
def test_the_inverse_is_exact_to_rounding_with_the_largest_weights_there_are(seed, count, width):
    rng = np.random.default_rng(seed)
    for dtype, bound in ((torch.float64, 1e-14), (torch.float32, 1e-6)):
        functions, x = table(rng, count, width, dtype), colours(rng, dtype)
        assert (gamut_map_inverse(gamut_map(x, functions), functions) - x).abs().max() < bound
        assert (gamut_map(gamut_map_inverse(x, functions), functions) - x).abs().max() < bound


@given(st.integers(0, 10**6), st.integers(1, 6), st.floats(0.2, 2))
def test_moves_are_a_contraction(seed, count, width):
    rng = np.random.default_rng(seed)
    functions, a = table(rng, count, width), colours(rng)
    b = a + torch.from_numpy(rng.normal(0, 10 ** rng.uniform(-4, 0), a.shape))
    moved = [(gamut_map(x, functions) - x) for x in (a, b)]
    ratio = (moved[0] - moved[1]).norm(dim=1) / (a - b).norm(dim=1)
    assert ratio.max() <= CONTRACTION


def test_the_gradient_of_the_inverse(tools):
    rng = np.random.default_rng(1)
    functions, y = table(rng, 3, 0.4), colours(rng)[..., :4]
    leaves = (y.clone().requires_grad_(), functions.clone().requires_grad_())
    assert torch.autograd.gradcheck(gamut_map_inverse, leaves)


def test_no_weights_are_nothing(tools):
    frame = tools.picture(SCENE)
    params = {"centres": [[0.5, 0.5, 0.5]], "weights": [[0, 0, 0]]}
    assert torch.equal(tools.run_stage("gamut_map", frame, params).pixels, frame.pixels)


def test_inverse_and_its_mask(tools):
    frame = tools.picture(SCENE, size=(31, 33), low=-0.2, high=1.3)
    chain = tools.chain([{"gamut_map": PARAMS}])
    back = chain.inverse(chain.run(frame).frame)
    assert (back.pixels - frame.pixels).abs().max() < 1e-6
    assert not back.maps["lost"].any()


def test_what_does_not_converge_is_marked(tools):
    """A capture can hold anything; this one folds the colours over."""
    folding = torch.tensor([[[0.5, 0.5, 0.5, -3, 3, 0, 0.2]]])
    frame = tools.picture(SCENE, batch=1, size=(50, 50), capture={"gamut_map": folding})
    back = tools.chain(["gamut_map"]).inverse(frame)
    again = tools.run_stage("gamut_map", replace(frame, pixels=back.pixels, maps={})).pixels
    off = ~((again - frame.pixels).abs() <= 1e-5).all(dim=1, keepdim=True)
    assert off.any()
    assert torch.equal(back.maps["lost"], off)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": [[0.2, 0, 0]] * 3}, "too large for a gamut map that can be undone"),
        ({"weights": [[0.01, 0, 0]]}, "3 centres of the gamut map need as many weights"),
        ({"weights": None}, "given together"),
        ({"weights": [[{"uniform": [0, 0.3]}, 0, 0], [0, 0, 0], [0, 0, 0]]}, "the upper end"),
        ({"width": {"uniform": [0.2, 0.5]}}, "too large"),
        ({"centres": [[1.5, 0, 0]] * 3}, "less than or equal to 1"),
    ],
)
def test_what_could_not_be_undone_is_refused_at_load(tools, change, message):
    with pytest.raises(ParameterFaults, match=message):
        tools.chain([{"gamut_map": {**PARAMS, **change}}])


@settings(max_examples=5)
@given(st.integers(0, 10**6))
def test_each_sample_has_its_own(tools, seed):
    rng = np.random.default_rng(seed)
    both = torch.cat([table(rng, 3, 0.5), table(rng, 3, 0.3)])
    x = torch.from_numpy(rng.uniform(0, 1, (2, 3, 50)))
    for i in range(2):
        assert torch.equal(gamut_map(x, both)[i : i + 1], gamut_map(x[i : i + 1], both[i : i + 1]))
