"""The gallery: one row a degradation, and messages for what can't be shown."""

import pytest
from PIL import Image
from typer.testing import CliRunner

from isp_sim.cli import app
from isp_sim.gallery import LABEL, MARGIN, GalleryFault, contact_sheet, showable


def test_a_row_for_each_with_six_pictures():
    told = []
    one = contact_sheet(["clip"], 64, lambda done, total: told.append((done, total)))
    assert one.width == LABEL + 6 * (64 + MARGIN) + MARGIN
    assert told == [(0, 1), (1, 1)]
    two = contact_sheet(["clip", "clip"], 64)
    assert two.height - one.height == one.height - MARGIN
    cells = [one.crop((LABEL + i * 74, MARGIN, LABEL + i * 74 + 64, MARGIN + 64)).tobytes() for i in range(6)]
    assert len(set(cells)) == 6, "no two severities look the same"


def test_what_is_left_out_is_told_with_the_reason():
    shown, left = showable()
    assert {"jpeg", "shot_read_noise", "white_balance_error"} <= set(shown)
    assert all("severities" in reason for reason in left.values())


@pytest.mark.parametrize(("name", "message"), [("jepg", "did you mean 'jpeg'"), ("srgb_oetf", "unknown degradation")])
def test_what_is_wanted_must_be_shown(name, message):
    with pytest.raises(GalleryFault, match=message):
        showable([name])


def test_command(tmp_path):
    target = tmp_path / "new" / "sheet.png"
    result = CliRunner().invoke(app, ["gallery", "clip", "--size", "64", "-o", str(target)])
    assert result.exit_code == 0, result.output
    assert Image.open(target).size == contact_sheet(["clip"], 64).size
    assert CliRunner().invoke(app, ["gallery", "jepg", "-o", str(target)]).exit_code == 2


def test_one_that_no_photo_leads_to_is_left_out(monkeypatch):
    from isp_sim import gallery, registry
    from isp_sim.signal import Signal

    class Numbers(registry.load("black_offset", gallery.GROUP)):
        needs = Signal.where(levels="dn")

    real, names = registry.load, registry.names
    here = (gallery.GROUP,)
    monkeypatch.setattr(registry, "names", lambda *groups: ["clip", "numbers"] if groups == here else names(*groups))
    monkeypatch.setattr(registry, "load", lambda name, *groups: Numbers if name == "numbers" else real(name, *groups))
    shown, left = showable()
    assert shown == ["clip"]
    assert "no chain from a photo leads to numbers" in left["numbers"]
