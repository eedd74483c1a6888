import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.signal import IMAGE, OPEN, RAW, Requirement, Signal, cfa_moved, cfa_name, cfa_rows, is_bayer

BAYER = ("RGGB", "GRBG", "GBRG", "BGGR")
X_TRANS = "GBGGRG/RGRBGB/GBGGRG/GRGGBG/BGBRGR/GRGGBG"


@st.composite
def patterns(draw):
    """Rows of a CFA of any shape, single rows and single columns included."""
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    return tuple(draw(st.text("RGBCW", min_size=width, max_size=width)) for _ in range(height))


def letter(cfa, y, x):
    rows = cfa_rows(cfa)
    return rows[y % len(rows)][x % len(rows[0])]


class TestPattern:
    @given(patterns())
    def test_name_describes_the_same_sites(self, rows):
        name = cfa_name(rows)
        for y in range(12):
            for x in range(12):
                assert letter(name, y, x) == rows[y % len(rows)][x % len(rows[0])]

    def test_rows_are_read_from_the_top_left(self):
        assert cfa_rows("RGGB") == ("RG", "GB")
        assert cfa_rows("RG/GB/BG") == ("RG", "GB", "BG")
        assert cfa_rows(X_TRANS)[1] == "RGRBGB"
        assert cfa_rows("RGGBRGGBRGGBRGGB") == ("RGGB",) * 4

    @pytest.mark.parametrize("cfa", ["", "/", "RG", "RGB", "rggb", "RG/B", "RG/", "R1GB", "RG GB", "R?GB"])
    def test_what_is_no_pattern_is_refused(self, cfa):
        with pytest.raises(ValueError, match="CFA"):
            cfa_rows(cfa)

    @given(patterns(), st.lists(st.integers(0, 20), min_size=1, max_size=6), st.data())
    def test_moved_shows_the_sources(self, rows, sources, data):
        columns = data.draw(st.lists(st.integers(0, 20), min_size=1, max_size=6))
        moved = cfa_moved(cfa_name(rows), sources, columns)
        for y, source in enumerate(sources):
            for x, column in enumerate(columns):
                assert letter(moved, y, x) == rows[source % len(rows)][column % len(rows[0])]

    def test_bayer_is_four_phases(self):
        assert all(is_bayer(cfa) for cfa in BAYER)
        assert not any(is_bayer(cfa) for cfa in ("RGBG", "RGRG", "RCCB", "RG/GB", X_TRANS, OPEN, "None"))


class TestSignal:
    def test_names_of_patterns_are_patterns(self):
        named = {name: Signal(layout="mosaic", cfa=name).cfa for name in ("RCCB", "BCCR", "CYGM", "quad_bayer")}
        assert named == {"RCCB": "RWWB", "BCCR": "BWWR", "CYGM": "CYGM", "quad_bayer": "RRGGRRGGGGBBGGBB"}
        assert cfa_rows("xtrans") == ("GBGGRG", "RGRBGB", "GBGGRG", "GRGGBG", "BGBRGR", "GRGGBG")

    def test_a_mosaic_has_a_pattern_and_nothing_else_has(self):
        with pytest.raises(ValueError, match="needs a CFA"):
            Signal(layout="mosaic")
        with pytest.raises(ValueError, match="no CFA"):
            Signal(layout="rgb", cfa="RGGB")
        with pytest.raises(ValueError, match="square"):
            Signal(layout="mosaic", cfa="RGB")
        assert Signal(layout="mosaic", cfa=OPEN).cfa == OPEN

    def test_frozen_comparable_hashable(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            IMAGE.layout = "mosaic"  # type: ignore[misc]
        assert Signal(bit_depth=8) == Signal(bit_depth=8) != Signal(bit_depth=10)
        assert len({Signal(), Signal(), RAW}) == 2

    def test_two_spellings_of_a_pattern_are_one_signal(self):
        short, long = (Signal(layout="mosaic", cfa=cfa) for cfa in ("RGGB", "RG/GB"))
        assert short == long
        assert is_bayer(long.cfa)
        assert cfa_rows(Signal(layout="mosaic", cfa=X_TRANS).cfa) == cfa_rows(X_TRANS)

    def test_changed_leaves_the_original(self):
        linear = IMAGE.changed({"transfer": "linear"})
        assert (linear.transfer, IMAGE.transfer) == ("linear", "srgb")
        assert linear.changed({"transfer": "srgb"}) == IMAGE

    def test_json_round_trip(self):
        for signal in (IMAGE, RAW, Signal(layout="mosaic", cfa=X_TRANS, bit_depth=14)):
            assert Signal(**json.loads(json.dumps(signal.to_dict()))) == signal

    def test_signals_that_differ_are_printed_differently(self):
        # an error that says "found A and A" is no help
        base = Signal(layout="mosaic", cfa="RGGB", levels="unit", colour="camera", white_balanced=False)
        other = {
            "layout": Signal(levels="unit", colour="camera", white_balanced=False),
            "cfa": base.changed({"cfa": "BGGR"}),
            "levels": base.changed({"levels": "dn"}),
            "colour": base.changed({"colour": "srgb"}),
            "white_balanced": base.changed({"white_balanced": True}),
            "open balance": base.changed({"white_balanced": OPEN}),
            "transfer": base.changed({"transfer": "linear"}),
            "reference": base.changed({"reference": "scene"}),
            "bit_depth": base.changed({"bit_depth": 10}),
        }
        assert set(other) - {"open balance"} == {field.name for field in dataclasses.fields(Signal)}
        texts = [str(base), *map(str, other.values())]
        assert len(set(texts)) == len(texts)


class TestRequirement:
    def test_faults_name_field_found_and_accepted(self):
        needs = Signal.where(layout="rgb", transfer=("linear", "gamma"), white_balanced=False)
        assert needs.faults(Signal()) == [
            ("transfer", "srgb", ("linear", "gamma")),
            ("white_balanced", True, (False,)),
        ]
        assert needs.faults(Signal(transfer="gamma", white_balanced=False)) == []

    def test_open_meets_everything(self):
        everything = {field.name: "what no signal has" for field in dataclasses.fields(Signal)}
        unknown = Signal(**dict.fromkeys(everything, OPEN))
        assert Signal.where(**everything).faults(unknown) == []
        assert len(Signal.where(**everything).faults(Signal())) == len(everything)

    def test_nothing_required_accepts_all(self):
        assert Signal.where().faults(RAW) == []

    @pytest.mark.parametrize("declare", [Signal.where, Signal.change])
    def test_an_unknown_field_is_a_mistake_of_the_author(self, declare):
        with pytest.raises(TypeError, match="colur"):
            declare(colur="srgb")

    def test_declarations_can_not_be_edited(self):
        needs = Signal.where(layout="rgb")
        assert isinstance(needs, Requirement)
        with pytest.raises(TypeError):
            needs.accepted["layout"] = ("mosaic",)  # type: ignore[index]
        with pytest.raises(TypeError):
            Signal.change(layout="rgb")["layout"] = "mosaic"  # type: ignore[index]
