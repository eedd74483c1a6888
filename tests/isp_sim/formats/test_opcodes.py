import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.formats.opcodes import FixVignetteRadial, GainMap, OpcodeFault, Shading, build, parse, shading

VIGNETTE = FixVignetteRadial((0.5, -0.1, 0.02, 0.0, 1e-3), (0.25, 0.75))
WHOLE = np.array([[1, 0, 0, 40], [0, 1, 0, 30]], dtype=float)


def gain_map(seed=0, points=(3, 4, 1), **other):
    rng = np.random.default_rng(seed)
    values = {
        "area": (0, 1, 30, 40),
        "planes": (0, points[2]),
        "pitch": (2, 2),
        "origin": (0.125, 0.0),
        "spacing": (0.25, 0.5),
        "gains": rng.uniform(1, 3, points).astype(np.float32),
    }
    return GainMap(**{**values, **other})


def same(a, b):
    if isinstance(a, FixVignetteRadial):
        return a == b
    fields = ("area", "planes", "pitch", "origin", "spacing")
    return all(getattr(a, f) == getattr(b, f) for f in fields) and np.array_equal(a.gains, b.gains)


def test_the_bytes_are_those_of_the_specification():
    """Written out here once more, from the tables of the DNG specification."""
    gains = np.array([[[1.5], [2.0]]], dtype=np.float32)
    opcode = GainMap((1, 2, 30, 40), (0, 1), (2, 4), (0.25, 0.125), (1.0, 0.5), gains)
    data = bytes.fromhex("00000001" + "00000009" + "01030000" + "00000001" + "00000054")
    data += struct.pack(">10I", 1, 2, 30, 40, 0, 1, 2, 4, 1, 2)  # area, plane, planes, pitches, points
    data += struct.pack(">4d", 1.0, 0.5, 0.25, 0.125)  # spacing, origin
    data += struct.pack(">I2f", 1, 1.5, 2.0)  # planes of the map, gains
    assert build([opcode]) == data
    assert same(parse(data)[0], opcode)
    data = bytes.fromhex("00000001" + "00000003" + "01030000" + "00000001" + "00000038")
    data += struct.pack(">7d", *VIGNETTE.k, *VIGNETTE.centre)
    assert build([VIGNETTE]) == data
    assert parse(data) == [VIGNETTE]


@given(st.lists(st.integers(0, 5), max_size=5))
def test_round_trip(kinds):
    opcodes = [VIGNETTE if kind == 0 else gain_map(kind, (kind, 6 - kind, 1 + kind % 3)) for kind in kinds]
    again = parse(build(opcodes))
    assert len(again) == len(opcodes)
    assert all(map(same, again, opcodes))


def test_other_opcodes_are_passed_over():
    warp = struct.pack(">4I", 1, 0x01030000, 1, 12) + b"who knows it"
    known = build([VIGNETTE, gain_map()])
    found = parse(struct.pack(">I", 4) + warp + known[4:] + warp)
    assert same(found[0], VIGNETTE)
    assert same(found[1], gain_map())
    assert parse(build([])) == []


@pytest.mark.parametrize("end", [0, 3, 4, 10, 19, 20, 60, 75, 76, 140])
def test_a_truncated_list_is_refused(end):
    data = build([gain_map()])
    with pytest.raises(OpcodeFault):
        parse(data[:end])


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (0, 0xFFFFFFFF, "4294967295 opcodes"),
        (16, 0xFFFFFFF0, "bytes, and"),
        (16, 76, "takes 124 bytes, not 76"),
        (20, 30, "area"),
        (28, 0xFFFFFFFF, "area"),
        (40, 0, "0 planes"),
        (44, 0, "pitch"),
        (52, 0, "0x4x1 points"),
        (52, 0xFFFFFFFF, "points"),
        (92, 2, "3x4x2 points takes"),
        (60, 0xFFF00000, "grid"),
        (96, 0xFF800000, "not positive"),
        (96, 0, "not positive"),
    ],
)
def test_nonsense_is_refused(at, value, reason):
    data = bytearray(build([gain_map()]))
    assert len(data) == 4 + 16 + 76 + 48
    data[at : at + 4] = struct.pack(">I", value)
    with pytest.raises(OpcodeFault, match=reason):
        parse(bytes(data))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_coefficients_that_are_none(value):
    with pytest.raises(OpcodeFault, match="coefficients"):
        parse(build([VIGNETTE])[:20] + struct.pack(">d", value) + build([VIGNETTE])[28:])


def test_mutated_bytes_are_read_or_refused():
    data = build([gain_map(), VIGNETTE])
    rng = np.random.default_rng(3)
    outcomes = set()
    for _ in range(400):
        bad = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            bad[rng.integers(len(bad))] = rng.integers(256)
        try:
            facts = Shading([o for o in parse(bytes(bad)) if isinstance(o, GainMap)]).facts()
            outcomes.add(all(bool(fact.isfinite().all()) for fact in facts.values()))
        except OpcodeFault:
            outcomes.add("refused")
    assert outcomes == {True, "refused"}


def test_facts_and_back():
    maps = [gain_map(0), gain_map(1, (2, 5, 1), pitch=(1, 2))]
    again = shading(Shading(maps, VIGNETTE).facts(), (30, 40), WHOLE)
    assert all(map(same, again.maps, maps))
    np.testing.assert_allclose(again.vignette.k, VIGNETTE.k, rtol=1e-6)
    assert again.vignette.centre == VIGNETTE.centre


def test_planes_become_maps_of_their_own():
    whole = gain_map(points=(3, 4, 2), planes=(1, 4))
    geometry = Shading([whole]).facts()["gain_map_geometry"]
    assert geometry[0, :, 6:8].tolist() == [[1, 1], [2, 3]]
    assert torch.equal(Shading([whole]).facts()["gain_map"][0, 1], torch.from_numpy(whole.gains[..., 1].copy()))


def test_what_needs_no_correction_is_not_written():
    assert shading(Shading().facts(), (30, 40), WHOLE) == Shading()
    facts = Shading([gain_map()], VIGNETTE).facts()
    facts["shading_corrected"] = torch.ones(1, 2, 1, 1)
    assert shading(facts, (30, 40), WHOLE) == Shading()
    assert shading({}, (30, 40), WHOLE) == Shading()


def test_a_cut_beside_the_centre_can_not_be_written():
    facts = Shading([], VIGNETTE).facts()
    place = WHOLE.copy()
    place[0, 2] = 20
    with pytest.raises(ValueError, match="optical centre lies outside"):
        shading(facts, (30, 10), place)
    turned = np.array([[0, 1, 0, 40], [1, 0, 0, 30]], dtype=float)
    with pytest.raises(ValueError, match="turned"):
        shading(facts, (40, 30), turned)
