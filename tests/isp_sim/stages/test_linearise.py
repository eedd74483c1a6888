from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.parameters import ParameterFaults
from isp_sim.signal import RAW
from isp_sim.stage import NotInvertible

DN = RAW.changed({"cfa": "GRBG", "bit_depth": None})
COMPANDING = [[0, 0], [512, 512], [768, 1536], [1023, 16383]]

rising = st.lists(st.integers(1, 60), min_size=1, max_size=40).map(lambda steps: np.cumsum([0, *steps]).astype(float))
falling_nowhere = st.lists(st.integers(0, 3), min_size=1, max_size=40).map(
    lambda steps: np.cumsum([5, *steps]).astype(float)
)


def codes(tools, top, batch=3, size=(31, 37), table=None, dtype=torch.float64):
    """Whole codes up to `top`; with a table, that is the capture's."""
    frame = tools.picture(DN, batch=batch, size=size, high=top + 1, dtype=dtype)
    capture = frame.capture.with_facts({} if table is None else {"linearization_table": torch.as_tensor(table)})
    return replace(frame, pixels=frame.pixels.floor(), capture=capture)


def tables(batch, n=700, dtype=torch.float32):
    """Another table for each picture."""
    steps = np.random.default_rng(3).integers(1, 30, (batch, n))
    return torch.from_numpy(np.cumsum(steps, axis=1)).to(dtype)


@pytest.mark.parametrize("params", [None, {"table": COMPANDING}], ids=["capture", "knots"])
def test_engine_laws(tools, params):
    frame = tools.picture(DN, low=-50, high=1100, capture={"linearization_table": tables(3)})
    tools.assert_engine_laws("linearise", frame, params)


@pytest.mark.parametrize("params", [None, {"table": COMPANDING}], ids=["capture", "knots"])
def test_gradient(tools, params):
    frame = tools.picture(DN, batch=2, size=(3, 5), low=-50, high=1100, capture={"linearization_table": tables(2)})
    tools.assert_gradient("linearise", frame, params, eps=1e-4)


@given(falling_nowhere)
def test_a_code_becomes_its_entry(tools, table):
    """As the DNG specification says, codes beyond the table take its last entry."""
    frame = codes(tools, len(table) + 5, table=np.tile(table, (3, 1)))
    expected = table[np.minimum(frame.pixels.numpy().astype(int), len(table) - 1)]
    np.testing.assert_array_equal(tools.run_stage("linearise", frame).pixels, expected)
    knots = [[float(code), number] for code, number in enumerate(table)]
    np.testing.assert_array_equal(tools.run_stage("linearise", frame, {"table": knots}).pixels, expected)


def test_each_picture_has_its_own_table(tools):
    entries = tables(3, dtype=torch.float64)
    frame = codes(tools, 699, table=entries)
    found = tools.run_stage("linearise", frame).pixels
    for i in range(3):
        assert torch.equal(found[i], entries[i][frame.pixels[i].long()])


@given(falling_nowhere, st.integers(0, 99))
def test_between_codes_it_is_linear_and_never_falls(tools, table, seed):
    frame = tools.picture(
        DN, batch=1, size=(9, 11), low=-3, high=len(table) + 3, dtype=torch.float64, seed=seed,
        capture={"linearization_table": table[None]},
    )  # fmt: skip
    x = frame.pixels.sort(dim=-1).values
    found = tools.run_stage("linearise", replace(frame, pixels=x)).pixels
    np.testing.assert_allclose(found, np.interp(x.numpy(), np.arange(len(table)), table), rtol=1e-14)
    assert bool((found.diff(dim=-1) >= 0).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_identity_is_nothing_to_the_bit(tools, dtype):
    frame = tools.picture(
        DN, high=1023, dtype=dtype, capture={"linearization_table": torch.arange(1024.0).repeat(3, 1)}
    )
    assert torch.equal(tools.run_stage("linearise", frame).pixels, frame.pixels)
    knots = {"table": [[0, 0], [300, 300], [1023, 1023]]}
    assert torch.equal(tools.run_stage("linearise", frame, knots).pixels, frame.pixels)


@given(rising)
def test_round_trip(tools, table):
    frame = tools.picture(
        DN, batch=1, size=(7, 5), high=len(table) - 1, dtype=torch.float64, capture={"linearization_table": table[None]}
    )
    chain = tools.chain(["linearise"])
    back = chain.inverse(chain.run(frame).frame)
    assert (back.pixels - frame.pixels).abs().max() < 1e-12
    assert back.signal == frame.signal
    whole = replace(frame, pixels=frame.pixels.round())
    assert torch.equal(chain.inverse(chain.run(whole).frame).pixels, whole.pixels)


def test_a_table_that_stands_still_is_not_undone(tools):
    frame = codes(tools, 2, batch=1, table=[[0.0, 5.0, 5.0]])
    chain = tools.chain(["linearise"])
    with pytest.raises(NotInvertible, match="rise strictly"):
        chain.inverse(chain.run(frame).frame)


def test_codes_of_a_complete_table_stay_codes(tools):
    frame = codes(tools, 3)
    frame = replace(frame, signal=frame.signal.changed({"bit_depth": 2}))
    complete = {"table": [[0, 0], [1, 40], [2, 500], [3, 1000]]}
    assert tools.run_stage("linearise", frame, complete).signal.bit_depth == 10
    assert tools.run_stage("linearise", frame, {"table": [[0, 0], [3, 1000]]}).signal.bit_depth is None


@pytest.mark.parametrize(
    "table", [[[0, 0]], [[0, 0], [0, 1]], [[0, 5], [1, 4]], [[0, -1], [1, 4]], [[0, 0], [1, 2**24]], [0, 1, 2]]
)
def test_what_is_no_table(tools, table):
    with pytest.raises(ParameterFaults, match="table"):
        tools.chain([{"linearise": {"table": table}}])
