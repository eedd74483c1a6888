"""What the tests share: a stable hypothesis profile, the laws that every stage obeys, and honest error bars."""

import math
import random
import warnings
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import settings

# The same examples on every run: a red test is a change of the code, not of the luck.
settings.register_profile("stable", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("stable")

FALSE_ALARM = 1e-6
"""How often a statistical test may turn red by chance, were its seed not fixed."""


# -- stages --------------------------------------------------------------------------------------------------


def run_stage(name, frame, params=None, *, seed=5, view=0, id=None):
    """The frame after one stage or combinator, as a recipe would run it."""
    return run_chain([{name: params}], frame, seed=seed, view=view, ids=[id])


def run_chain(entries, frame, *, seed=5, view=0, ids=None):
    """The frame after several stages, each ``name`` or ``{name: params}``."""
    return chain(entries, seed=seed, ids=ids).run(frame, view).frame


def chain(entries, *, seed=5, ids=None):
    """A pipeline of stages, without a recipe around it."""
    from isp_sim import registry
    from isp_sim.pipeline import Pipeline, StageStep

    steps = []
    for i, entry in enumerate(entries):
        ((name, params),) = entry.items() if isinstance(entry, Mapping) else [(entry, None)]
        plugin = registry.load(name, *registry.STAGE_GROUPS)
        own = (ids[i] if ids else None) or name
        steps.append(StageStep.read(own, name, plugin, params))
    return Pipeline(tuple(steps), seed)


def picture(signal, *, batch=3, size=(107, 103), dtype=None, seed=0, low=0.0, high=1.0, capture=None, keys=None):
    """A frame of independent uniform noise: a picture with no symmetry to hide behind."""
    import torch

    from isp_sim.frame import Capture, Frame

    channels = 1 if signal.layout == "mosaic" else 3
    values = np.random.default_rng(seed).uniform(low, high, (batch, channels, *size))
    pixels = torch.from_numpy(values).to(dtype or torch.float32)
    facts = {name: torch.as_tensor(value).to(pixels) for name, value in (capture or {}).items()}
    keys = keys or tuple(f"folder/picture {i}.png" for i in range(batch))
    return Frame(pixels, signal, Capture(facts), keys)


def bits(tensor):
    """A tensor's values to the last bit, the sign of zero and NaN included, whatever its strides."""
    return tensor.dtype, tuple(tensor.shape), tensor.detach().contiguous().numpy().tobytes()


def assert_same_frame(found, expected):
    """Two frames are equal to the last bit, with all that they carry."""
    assert found.signal == expected.signal
    assert found.keys == expected.keys
    assert bits(found.pixels) == bits(expected.pixels)
    for carried in ("capture", "maps"):
        mine, theirs = getattr(found, carried), getattr(expected, carried)
        assert sorted(mine) == sorted(theirs)
        for name in mine:
            assert bits(mine[name]) == bits(theirs[name]), f"{carried} {name}"


def _layouts(x):
    """The same values in memory of another order."""
    import torch

    yield "channels last", x.contiguous(memory_format=torch.channels_last)
    yield "columns first", x.transpose(2, 3).contiguous().transpose(2, 3)
    yield "every second column", torch.stack([x, x + 1], dim=-1).flatten(-2)[..., ::2]
    yield "some channels of more", torch.cat([x, x[:, :1]], dim=1)[:, : x.shape[1]]
    yield "an offset in memory", torch.cat([x[:1], x])[1:]


def assert_engine_laws(name, frame, params=None):
    """What equal bits rest on: a pure function of each sample, however it is batched, laid out and threaded."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = _assert_pure_and_batched(name, frame, params)
        torch.set_num_threads(2)
        assert_same_frame(run_stage(name, frame, params), whole)
    finally:
        torch.set_num_threads(threads)


def _assert_pure_and_batched(name, frame, params):
    import torch

    before = bits(frame.pixels), {n: bits(f) for n, f in frame.capture.items()}
    whole = run_stage(name, frame, params)
    assert (bits(frame.pixels), {n: bits(f) for n, f in frame.capture.items()}) == before, "the input was changed"
    assert whole.pixels.dtype == frame.pixels.dtype
    assert bool(torch.isfinite(whole.pixels).all())
    assert_same_frame(run_stage(name, frame, params), whole)

    for i in range(frame.batch):
        assert_same_frame(run_stage(name, frame.select([i]), params), whole.select([i]))
    backwards = list(reversed(range(frame.batch)))
    assert_same_frame(run_stage(name, frame.select(backwards), params), whole.select(backwards))

    for layout, pixels in _layouts(frame.pixels):
        assert torch.equal(pixels, frame.pixels), layout
        assert_same_frame(run_stage(name, replace(frame, pixels=pixels), params), whole)
    return whole


def assert_precision(name, frame, params=None, *, bound):
    """float32 follows float64 within a bound; the frame is given in float64."""
    import torch

    single = replace(
        frame, pixels=frame.pixels.to(torch.float32), capture=frame.capture.map(lambda f: f.to(torch.float32))
    )
    # the picture itself is rounded first, so that the stage's own error is what is left
    double = replace(frame, pixels=single.pixels.to(torch.float64))
    error = (run_stage(name, single, params).pixels - run_stage(name, double, params).pixels).abs().max().item()
    assert error <= bound


def assert_gradient(name, frame, params=None, *, eps=1e-6):
    """The gradient is the derivative, by finite differences in float64."""
    import torch

    from isp_sim import registry
    from isp_sim.parameters import Parameters

    plugin = registry.load(name, *registry.STAGE_GROUPS)
    assert plugin().is_differentiable(Parameters.bind(plugin.Params, params).constants)
    pixels = frame.pixels.to(torch.float64).requires_grad_()

    def function(x):
        return run_stage(name, replace(frame, pixels=x), params).pixels

    assert torch.autograd.gradcheck(function, pixels, eps=eps, atol=1e-6, rtol=1e-5)


def global_generators():
    """The state of every generator that anyone can reach and nobody here may touch."""
    import torch

    numpy = np.random.get_state()  # noqa: NPY002 - to see that it is not used
    return random.getstate(), numpy[1].tobytes(), numpy[2:], torch.get_rng_state().numpy().tobytes()


# -- statistics ----------------------------------------------------------------------------------------------


def normal_quantile():
    """How many standard deviations a two-sided test of `FALSE_ALARM` allows."""
    from scipy import stats

    return float(stats.norm.isf(FALSE_ALARM / 2))


def assert_mean(samples, mean, sd):
    """The mean of independent samples of known standard deviation, by the central limit theorem."""
    samples = np.asarray(samples, dtype=np.float64)
    assert abs(samples.mean() - mean) <= normal_quantile() * sd / math.sqrt(samples.size)


def assert_unit_variance(standardised):
    """Standard normal samples have a sum of squares that follows the chi-square law."""
    from scipy import stats

    z = np.asarray(standardised, dtype=np.float64).ravel()
    low, high = stats.chi2.interval(1 - FALSE_ALARM, df=z.size)
    assert low <= (z * z).sum() <= high


def assert_count(count, trials, probability):
    """A count of independent successes lies where the binomial law has it."""
    from scipy import stats

    low, high = stats.binom.interval(1 - FALSE_ALARM, trials, probability)
    assert low <= count <= high


def assert_uncorrelated(a, b):
    """The correlation of independent standardised samples has standard deviation 1 / sqrt(n)."""
    a, b = (np.asarray(v, dtype=np.float64).ravel() for v in (a, b))
    assert abs((a * b).mean()) <= normal_quantile() / math.sqrt(a.size)


def assert_law(samples, distribution):
    """Kolmogorov and Smirnov's test against a frozen scipy law."""
    from scipy import stats

    assert stats.kstest(np.asarray(samples, dtype=np.float64), distribution.cdf).pvalue > FALSE_ALARM


class Toolbox:
    """Everything above, as one fixture: tests lie in folders that do not import each other."""

    run_stage = staticmethod(run_stage)
    run_chain = staticmethod(run_chain)
    chain = staticmethod(chain)
    picture = staticmethod(picture)
    bits = staticmethod(bits)
    global_generators = staticmethod(global_generators)
    normal_quantile = staticmethod(normal_quantile)
    assert_same_frame = staticmethod(assert_same_frame)
    assert_engine_laws = staticmethod(assert_engine_laws)
    assert_precision = staticmethod(assert_precision)
    assert_gradient = staticmethod(assert_gradient)
    assert_mean = staticmethod(assert_mean)
    assert_unit_variance = staticmethod(assert_unit_variance)
    assert_count = staticmethod(assert_count)
    assert_uncorrelated = staticmethod(assert_uncorrelated)
    assert_law = staticmethod(assert_law)


@pytest.fixture(scope="session")
def tools():
    return Toolbox


@pytest.fixture(scope="session")
def photos():
    """Three photos that come with scikit-image, uint8 (H, W, 3)."""
    from skimage import data

    return {name: getattr(data, name)() for name in ("astronaut", "chelsea", "coffee")}


@pytest.fixture(scope="session")
def colour():
    """colour-science, which takes seconds to import and speaks of what else could be installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import colour
    return colour
