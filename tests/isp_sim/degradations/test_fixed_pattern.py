import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.signal import Signal

SPAN = 1000.0


def test_engine_laws(tools):
    params = {"span": SPAN, "dsnu": {"uniform": [0, 4]}, "sensor": {"choice": ["a", "b"]}}
    tools.assert_engine_laws("fixed_pattern", tools.picture(Signal(transfer="linear"), batch=5, size=(31, 33)), params)


@settings(max_examples=12)
@given(dsnu=st.floats(0.1, 30), prnu=st.floats(0.001, 0.1), x=st.floats(0.01, 1), sensor=st.text("abc12", min_size=1))
def test_offsets_stay_and_gains_follow_the_light(tools, flat, noise_of, dsnu, prnu, x, sensor):
    only = {"dsnu": {"dsnu": dsnu, "prnu": 0.0}, "prnu": {"dsnu": 0.0, "prnu": prnu}}
    frame = flat(x, 2 * x, size=(100, 100))
    noise = {
        k: noise_of("fixed_pattern", frame, {"span": SPAN, "sensor": sensor, **v}, span=SPAN) for k, v in only.items()
    }
    offsets, gains = noise["dsnu"] / dsnu, noise["prnu"] / (prnu * x * SPAN)
    np.testing.assert_allclose(offsets[1], offsets[0], atol=1e-9 * SPAN / dsnu)
    np.testing.assert_allclose(gains[1], 2 * gains[0], atol=1e-9 / (prnu * x))
    for z in (offsets[0], gains[0]):
        tools.assert_mean(z, 0, 1)
        tools.assert_unit_variance(z)
        tools.assert_uncorrelated(z[..., 1:], z[..., :-1])
        tools.assert_uncorrelated(z[..., 1:, :], z[..., :-1, :])
    tools.assert_uncorrelated(offsets[0], gains[0])


def test_is_the_sensor_s_and_nothing_else_s(tools, flat, noise_of):
    """Whatever the sample, the view, the seed and the place in the recipe."""
    params = {"span": SPAN, "sensor": "left eye"}
    first = noise_of("fixed_pattern", flat(0.5, keys=("a",)), params)
    for options in ({"view": 3}, {"seed": 77}):
        np.testing.assert_array_equal(noise_of("fixed_pattern", flat(0.5, keys=("b",)), params, **options), first)
    again = tools.run_chain([{"fixed_pattern": params}], flat(0.5), ids=["elsewhere"])
    np.testing.assert_array_equal((again.pixels - 0.5).numpy(), first)


@pytest.mark.parametrize("own", [{"dsnu": 1.0, "prnu": 0.0}, {"dsnu": 0.0, "prnu": 0.01}])
def test_sensors_differ(tools, flat, noise_of, own):
    unit = 1 / (own["dsnu"] or own["prnu"] * 0.5 * SPAN)
    a, b = (
        noise_of("fixed_pattern", flat(0.5), {"span": SPAN, "sensor": name, **own}, span=SPAN * unit)
        for name in ("left", "right")
    )
    tools.assert_uncorrelated(a, b)


def test_what_changes_from_picture_to_picture_is_none_of_it(tools, flat):
    """The mean over pictures of one sensor is the pattern; the sensor_noise of one is drawn around it."""
    frame = flat(*[0.3] * 60, size=(40, 40))
    params = {"span": SPAN, "sensor": "s", "dsnu": 20.0, "prnu": 0.0}
    pattern = tools.run_stage("fixed_pattern", frame, params).pixels - frame.pixels
    noisy = tools.run_stage("sensor_noise", frame, {**params, "read": 1.0, "gain": 0.01, "quantisation": "none"})
    z = (noisy.pixels - frame.pixels - pattern).numpy() * SPAN / np.sqrt(1 + 0.01 * 300)
    tools.assert_unit_variance(z)
    tools.assert_mean(z, 0, 1)
