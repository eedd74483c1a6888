import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from isp_sim.calibration import CalibrationFault, calibrate
from isp_sim.calibration.frames import by_speed
from isp_sim.cameras import profile
from isp_sim.cli import Exit, app
from isp_sim.formats.dng import DNG
from isp_sim.frame import Capture, Frame
from tests.isp_sim.calibration.rendered import BAYER, BLACK, WHITE, clipped, frames, pairs


def write(path, dn, cfa="RGGB"):
    """A DNG of digital numbers."""
    levels = {name: torch.full((1, 1, 2, 2), value) for name, value in (("black_level", BLACK), ("white_level", WHITE))}
    signal = BAYER.changed({"levels": "dn", "cfa": cfa})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        DNG(DNG.Params(path=".")).encode(Frame(torch.from_numpy(dn)[None, None], signal, Capture(levels), ("a",)))
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("frames")
    for iso in (400, 1600):
        for i, pair in enumerate(pairs("eld_sony_a7s2", iso, (64, 64), levels=(0.05, 0.3, 0.6))):
            for half, frame in zip("ab", pair, strict=True):
                write(place / "flats" / f"iso{iso}" / f"{i}{half}.dng", clipped(frame))
        for i, frame in enumerate(frames("eld_sony_a7s2", iso, 0.0, 4, (64, 64), "dark")):
            write(place / "darks" / f"ISO_{iso}" / f"{i}.dng", clipped(frame))
    return place


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_from_files(folders):
    found = calibrate(folders / "flats", folders / "darks")
    assert [c.iso for c in found] == [400, 1600]
    for c in found:
        truth = profile.load("eld_sony_a7s2").noise.at(c.iso)
        assert abs(c.gain.value - truth.gain[0]) < 4.9 * c.gain.error
        assert (c.declared_black, c.white) == ((BLACK,) * 4, WHITE)


def test_command(folders, tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "own.yaml"
    result = run("calibrate", "--flats", folders / "flats", "--darks", folders / "darks", "-o", out)
    assert result.exit_code == Exit.DONE, result.output
    assert "DN/e-" in result.output
    law = profile.parse(out.read_bytes(), "own").noise
    assert law.speeds == (400, 1600)
    assert out.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    again = run("calibrate", "--flats", folders / "flats", "--darks", folders / "darks", "-o", out, "--no-plot")
    assert again.exit_code == Exit.PLACES
    assert "--overwrite" in again.output


def test_one_speed(folders, tmp_path):
    result = run(
        *("calibrate", "--flats", folders / "flats" / "iso400", "--darks", folders / "darks" / "ISO_400"),
        *("--iso", 400, "-o", tmp_path / "own.yaml", "--no-plot"),
    )
    assert result.exit_code == Exit.DONE, result.output
    assert not (tmp_path / "own.png").exists()


def test_another_phase_is_cut_to_the_same(folders, tmp_path):
    from isp_sim.calibration.frames import read

    dn = np.arange(64.0 * 64).reshape(64, 64) + 1000
    write(tmp_path / "a.dng", dn, cfa="GBRG")
    found = read([tmp_path / "a.dng"])
    assert found.cfa == "GBRG"
    np.testing.assert_array_equal(found.pixels[0], dn[1:63])


class TestMistakes:
    def test_folders(self, folders, tmp_path):
        with pytest.raises(CalibrationFault, match="is no folder"):
            by_speed(tmp_path / "none", None)
        with pytest.raises(CalibrationFault, match="holds no RAW files"):
            by_speed(tmp_path, None)
        with pytest.raises(CalibrationFault, match="give --iso"):
            by_speed(folders / "flats" / "iso400", None)
        with pytest.raises(CalibrationFault, match="no ISO speed in common"):
            calibrate(folders / "flats", _only(folders / "darks", tmp_path))

    def test_an_odd_flat_and_a_wrong_pair(self, folders, tmp_path):
        flats = sorted((folders / "flats" / "iso400").iterdir())
        for name, chosen, message in (("odd", flats[:3], "come in pairs"), ("wrong", [flats[0], flats[3]], "no pair")):
            for file in chosen:
                (tmp_path / name).mkdir(exist_ok=True)
                (tmp_path / name / file.name).write_bytes(file.read_bytes())
            with pytest.raises(CalibrationFault, match=message):
                calibrate(tmp_path / name, folders / "darks" / "ISO_400", 400.0)

    def test_two_sensors(self, folders, tmp_path):
        write(tmp_path / "a.dng", np.full((64, 64), 900.0))
        write(tmp_path / "b.dng", np.full((64, 66), 900.0))
        with pytest.raises(CalibrationFault, match="two sensors"):
            calibrate(folders / "flats" / "iso400", tmp_path, 400.0)


def _only(darks, place):
    """The darks under a speed that no flats have."""
    target = place / "darks" / "iso100"
    target.mkdir(parents=True)
    for file in (darks / "ISO_400").iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return place / "darks"
