import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.colorimetry import (
    ADAPTATIONS,
    RGB_NAMES,
    SPACES,
    WHITES,
    adaptation,
    adaptation_in,
    chromaticity,
    conversion,
    to_xyz,
    xyz,
)

THEIRS = {
    "srgb": "sRGB",
    "display_p3": "Display P3",
    "adobe_rgb": "Adobe RGB (1998)",
    "rec2020": "ITU-R BT.2020",
    "prophoto": "ProPhoto RGB",
    "aces_ap0": "ACES2065-1",
    "aces_ap1": "ACEScg",
}
METHODS = {"bradford": "Bradford", "cat02": "CAT02", "cat16": "CAT16", "xyz_scaling": "XYZ Scaling"}

names = st.sampled_from([*RGB_NAMES, "xyz"])
whites = st.sampled_from(sorted(WHITES))
methods = st.sampled_from(sorted(ADAPTATIONS))


@pytest.mark.parametrize("name", SPACES)
def test_spaces_by_colour_science(colour, name):
    theirs = colour.RGB_COLOURSPACES[THEIRS[name]]
    ours = SPACES[name]
    np.testing.assert_array_equal([ours.red, ours.green, ours.blue], theirs.primaries)
    np.testing.assert_array_equal(WHITES[ours.white], theirs.whitepoint)
    derived = colour.models.normalised_primary_matrix(theirs.primaries, theirs.whitepoint)
    np.testing.assert_allclose(ours.to_xyz, derived, atol=1e-14)


@pytest.mark.parametrize("method", ADAPTATIONS)
def test_adaptations_by_colour_science(colour, method):
    np.testing.assert_array_equal(ADAPTATIONS[method], colour.CHROMATIC_ADAPTATION_TRANSFORMS[METHODS[method]])
    theirs = colour.adaptation.matrix_chromatic_adaptation_VonKries(
        xyz(WHITES["A"]), xyz(WHITES["D50"]), METHODS[method]
    )
    np.testing.assert_allclose(adaptation(WHITES["A"], WHITES["D50"], method), theirs, atol=1e-13)


@pytest.mark.parametrize("name", [name for name in WHITES if name != "D60"])
def test_whites_by_colour_science(colour, name):
    theirs = colour.CCS_ILLUMINANTS["CIE 1931 2 Degree Standard Observer"][name]
    np.testing.assert_allclose(WHITES[name], theirs, atol=1e-15)


@pytest.mark.parametrize("source", [*RGB_NAMES])
@pytest.mark.parametrize("target", ["srgb", "prophoto", "aces_ap1"])
def test_conversions_by_colour_science(colour, source, target):
    spaces = [colour.RGB_COLOURSPACES[THEIRS[name]].copy() for name in (source, target)]
    for space in spaces:  # by the primaries, not by the rounded matrices that standards print
        space.use_derived_matrix_RGB_to_XYZ = space.use_derived_matrix_XYZ_to_RGB = True
    expected = colour.matrix_RGB_to_RGB(*spaces, chromatic_adaptation_transform="Bradford")
    np.testing.assert_allclose(conversion(source, target), expected, atol=1e-12)


@given(names, names, names)
def test_conversions_go_on_from_one_another(a, b, c):
    np.testing.assert_allclose(conversion(b, c) @ conversion(a, b), conversion(a, c), atol=1e-11)


@given(names, names)
def test_white_becomes_white(a, b):
    white = {"xyz": xyz(WHITES["D65"])}
    ones = np.ones(3)
    np.testing.assert_allclose(conversion(a, b) @ white.get(a, ones), white.get(b, ones), atol=1e-13)


@given(whites, whites, whites, methods)
def test_adaptations_of_one_method_go_on_from_one_another(a, b, c, method):
    chain = adaptation(WHITES[b], WHITES[c], method) @ adaptation(WHITES[a], WHITES[b], method)
    np.testing.assert_allclose(chain, adaptation(WHITES[a], WHITES[c], method), atol=1e-12)


@given(whites, whites, methods, names)
def test_the_source_s_white_becomes_the_target_s(a, b, method, space):
    np.testing.assert_allclose(adaptation(WHITES[a], WHITES[b], method) @ xyz(WHITES[a]), xyz(WHITES[b]), atol=1e-13)
    matrix, _ = to_xyz(space)
    seen, wanted = (np.linalg.solve(matrix, xyz(WHITES[name])) for name in (a, b))
    np.testing.assert_allclose(adaptation_in(space, WHITES[a], WHITES[b], method) @ seen, wanted, atol=1e-12)


@pytest.mark.parametrize("name", [*RGB_NAMES, "xyz"])
def test_what_changes_nothing_is_the_identity_to_the_bit(name):
    assert np.array_equal(conversion(name, name), np.eye(3))
    assert np.array_equal(adaptation_in(name, WHITES["FL2"], WHITES["FL2"], "cat02"), np.eye(3))


@given(st.floats(0.1, 0.7), st.floats(0.1, 0.7))
def test_chromaticity_there_and_back(x, y):
    np.testing.assert_allclose(chromaticity(3 * xyz((x, y))), (x, y), rtol=1e-13)
