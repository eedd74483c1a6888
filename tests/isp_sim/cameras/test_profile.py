from pathlib import Path

import pytest

from isp_sim.cameras import profile
from isp_sim.cameras.document import to_yaml
from isp_sim.cameras.profile import ProfileFault

ABOUT = {"name": "a", "description": "b", "source": "c", "licence": "d"}
NOISE = {"law": "noise_profile", "points": [{"iso": 100.0, "shot": [0.01], "read": [1e-4]}]}
MATRIX = [[1.0, -0.3, -0.2], [-0.5, 1.4, 0.1], [-0.1, 0.2, 0.6]]
LIT = {"illuminants": [2856.0, 6504.0], "temperature": 4000.0, "xyz_to_camera": [MATRIX, MATRIX]}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISP_SIM_CAMERAS", str(tmp_path / "own"))
    return tmp_path


@pytest.mark.parametrize("name", profile.shipped())
def test_what_is_shipped_says_its_source_and_licence(name):
    found = profile.load(name)
    assert found.name == name
    assert len(found.source) > 20
    assert len(found.licence) > 5
    assert found.state is not None or found.noise is not None


class TestPlaces:
    def test_a_path_below_the_working_directory(self, here):
        (here / "cameras").mkdir()
        (here / "cameras" / "mine.yaml").write_text(to_yaml(ABOUT | {"noise": NOISE}))
        assert profile.load("cameras/mine.yaml").noise.at(100).gain == (0.01,)

    def test_a_changed_file_is_read_again(self, here):
        file = here / "mine.yaml"
        file.write_text(to_yaml(ABOUT | {"noise": NOISE}))
        profile.load("mine.yaml")
        point = {**NOISE["points"][0], "shot": [0.5]}
        file.write_text(to_yaml(ABOUT | {"noise": {**NOISE, "points": [point]}}))
        assert profile.load("mine.yaml").noise.at(100).gain == (0.5,)

    def test_the_user_s_own_by_name(self, here):
        (here / "own").mkdir()
        (here / "own" / "mine.yaml").write_text(to_yaml(ABOUT | {"noise": NOISE}))
        (here / "own" / "generic_phone.yaml").write_text(to_yaml(ABOUT | {"noise": NOISE}))
        assert "mine" in profile.names()
        assert profile.load("mine").noise is not None
        assert profile.load("generic_phone").noise is None  # the name keeps its meaning

    @pytest.mark.parametrize(
        "name", ["/etc/passwd", "../x.yaml", "a/../../x.yaml", "link.yaml", "C:\\x.yaml", "x/\0.yaml"]
    )
    def test_no_other_place(self, here, name):
        (here.parent / "x.yaml").write_text(to_yaml(ABOUT | {"noise": NOISE}))
        (here / "link.yaml").symlink_to(here.parent / "x.yaml")
        with pytest.raises(ProfileFault, match="below the working directory"):
            profile.load(name)

    def test_missing_and_large(self, here):
        with pytest.raises(ProfileFault, match="No such file"):
            profile.load("none.yaml")
        Path("large.yaml").write_text("a: 1\n" * 100_000)
        with pytest.raises(ProfileFault, match="at most"):
            profile.load("large.yaml")
        with pytest.raises(ProfileFault, match="did you mean 'generic_phone'"):
            profile.load("generic_phones")


class TestSchema:
    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ({}, "nothing of colour and nothing of noise"),
            ({"noise": NOISE, "shot": 0.1}, "beside a noise block"),
            ({"noise": NOISE, "cfa": "RGG"}, "no square"),
            ({"noise": NOISE, "black_level": [600.0], "white_level": 500.0}, "must lie above"),
            (
                {"noise": NOISE, "sensitivities": {"wavelengths": [400.0, 500.0], "r": [1.0], "g": [], "b": []}},
                "each wavelength",
            ),
            ({"noise": {**NOISE, "law": "other"}}, "noise"),
            ({"xyz_to_camera": [MATRIX]}, "wb_gains"),
            ({**LIT, "illuminants": [2856.0]}, "as many illuminants"),
            ({**LIT, "illuminants": None}, "temperature needs illuminants"),
            ({**LIT, "temperature": None}, "need a temperature"),
            ({"noise": NOISE, "colour": 3}, "unknown parameter"),
        ],
    )
    def test_mistakes(self, data, message):
        with pytest.raises(ProfileFault, match=message):
            to_yaml(ABOUT | data)

    def test_provenance_is_required(self):
        for key in ABOUT:
            with pytest.raises(ProfileFault, match=key):
                to_yaml({k: v for k, v in ABOUT.items() if k != key} | {"noise": NOISE})

    def test_faults_have_their_line(self):
        text = "name: a\ndescription: b\nsource: c\nlicence: d\nnoise:\n  law: points\n  span: -3\n  points: []\n"
        with pytest.raises(ProfileFault) as caught:
            profile.parse(text.encode(), "p.yaml")
        assert "p.yaml:7: noise.span" in str(caught.value)

    def test_text_and_back(self):
        data = ABOUT | LIT | {"noise": NOISE, "cfa": "RGGB", "black_level": [64.0], "white_level": 1023.0}
        found = profile.parse(to_yaml(data).encode(), "p.yaml")
        assert found.sensor.white_level == 1023
        assert found.state.constants.illuminants == (2856, 6504)
        assert found.noise.speeds == (100, 100)

    def test_noise_alone_is_nothing_to_unprocess(self, tools):
        from isp_sim.parameters import ParameterFaults

        with pytest.raises(ParameterFaults, match="says nothing of colour"):
            tools.chain([{"unprocess": {"profile": "eld_canon_70d"}}])
