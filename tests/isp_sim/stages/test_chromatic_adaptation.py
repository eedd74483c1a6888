import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.colorimetry import ADAPTATIONS, WHITES, to_xyz, xyz
from isp_sim.colour_temperature import cct_to_xy
from isp_sim.parameters import ParameterFaults
from isp_sim.signal import Signal

LINEAR = Signal(transfer="linear")
METHODS = {"bradford": "Bradford", "cat02": "CAT02", "cat16": "CAT16", "xyz_scaling": "XYZ Scaling"}

whites = st.sampled_from(sorted(WHITES))
methods = st.sampled_from(sorted(ADAPTATIONS))


def run(tools, frame, **params):
    return tools.run_stage("chromatic_adaptation", frame, params)


@pytest.mark.parametrize(
    "params",
    [
        None,
        {"source_cct": {"uniform": [2500, 8000]}, "method": {"choice": ["bradford", "cat16"]}},
        {"to_xy": [{"uniform": [0.3, 0.4]}, 0.35], "source": {"choice": ["D50", "FL2"]}},
    ],
    ids=["default", "temperature drawn", "chromaticity drawn"],
)
def test_engine_laws(tools, params):
    tools.assert_engine_laws("chromatic_adaptation", tools.picture(LINEAR, low=-0.1, high=1.5), params)


def test_gradient(tools):
    tools.assert_gradient("chromatic_adaptation", tools.picture(LINEAR, batch=1, size=(3, 2)))


@given(whites, whites, methods)
def test_inverse(tools, source, to, method):
    frame = tools.picture(LINEAR, size=(5, 4), dtype=torch.float64)
    chain = tools.chain([{"chromatic_adaptation": {"source": source, "to": to, "method": method}}])
    after = chain.run(frame).frame
    assert after.signal == LINEAR
    np.testing.assert_allclose(chain.inverse(after).pixels, frame.pixels, atol=1e-12)


@given(whites, whites, methods, st.sampled_from(["srgb", "rec2020", "prophoto", "xyz"]))
def test_one_white_becomes_the_other(tools, source, to, method, space):
    matrix, _ = to_xyz(space)
    seen, wanted = (np.linalg.solve(matrix, xyz(WHITES[name])) for name in (source, to))
    frame = tools.picture(LINEAR.changed({"colour": space}), batch=1, size=(1, 1), dtype=torch.float64)
    white = frame.__class__(torch.from_numpy(seen).reshape(1, 3, 1, 1), frame.signal)
    found = run(tools, white, source=source, to=to, method=method).pixels.flatten()
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@given(whites, methods)
def test_equal_whites_are_nothing(tools, white, method):
    frame = tools.picture(LINEAR, size=(5, 4))
    assert torch.equal(run(tools, frame, source=white, to=white, method=method).pixels, frame.pixels)


@given(st.floats(1800, 12000))
def test_a_temperature_is_the_chromaticity_of_a_black_body(tools, kelvin):
    frame = tools.picture(LINEAR, size=(5, 4), dtype=torch.float64)
    by_xy = run(tools, frame, source_xy=list(cct_to_xy(kelvin))).pixels
    np.testing.assert_allclose(run(tools, frame, source_cct=kelvin).pixels, by_xy, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_by_colour_science(tools, colour, method):
    frame = tools.picture(LINEAR.changed({"colour": "xyz"}), size=(6, 5), dtype=torch.float64)
    theirs = colour.chromatic_adaptation(
        frame.pixels.permute(0, 2, 3, 1).numpy(),
        xyz(WHITES["FL2"]),
        xyz(WHITES["D50"]),
        method="Von Kries",
        transform=METHODS[method],
    )
    ours = run(tools, frame, source="FL2", to="D50", method=method).pixels.permute(0, 2, 3, 1)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_a_warm_source_becomes_colder(tools):
    frame = tools.picture(LINEAR, size=(5, 4))
    ratio = run(tools, frame, source_cct=3000.0, to_cct=6500.0).pixels.mean((0, 2, 3)) / frame.pixels.mean((0, 2, 3))
    assert ratio[0] < 1 < ratio[2]


@pytest.mark.parametrize("side", ["source", "to"])
def test_two_whites_for_one_are_refused(tools, side):
    with pytest.raises(ParameterFaults, match="give one of them"):
        tools.chain([{"chromatic_adaptation": {f"{side}_cct": 3000.0, f"{side}_xy": [0.3, 0.3]}}])
