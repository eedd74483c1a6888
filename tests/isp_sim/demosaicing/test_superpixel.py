"""Several sites make one pixel: sizes, means, and what travels along."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from isp_sim.demosaicing.superpixel import Superpixel
from isp_sim.frame import Boxes, Frame, Masks, Points
from isp_sim.signal import CFA_NAMES, Signal, cfa_rows
from isp_sim.stages.mosaic import mosaic

SIDES = {"RGGB": 2, "GBRG": 2, "xtrans": 3, "quad_bayer": 4}
every_cfa = pytest.mark.parametrize("cfa", SIDES)


def frame_of(pixels, cfa, **more):
    return Frame(pixels, Signal(layout="mosaic", cfa=cfa, transfer="linear"), **more)


@every_cfa
def test_each_pixel_is_the_mean_of_its_samples(cfa):
    side, rows = SIDES[cfa], cfa_rows(cfa)
    m = np.random.default_rng(0).normal(size=(25, 31))
    out = Superpixel().demosaic(torch.from_numpy(m)[None, None], cfa)[0].numpy()
    assert out.shape == (3, 25 // side, 31 // side)
    for y, x in np.ndindex(out.shape[1:]):
        for colour, found in zip("RGB", out[:, y, x], strict=True):
            sites = [(y * side + a, x * side + b) for a in range(side) for b in range(side)]
            seen = [m[site] for site in sites if rows[site[0] % len(rows)][site[1] % len(rows[0])] == colour]
            assert found == pytest.approx(np.mean(seen), abs=1e-14)


@every_cfa
def test_a_flat_colour_stays_to_the_last_bit(cfa):
    flat = torch.tensor([0.1, 0.7, 1 / 3]).reshape(1, 3, 1, 1).expand(1, 3, 13, 17)
    side = SIDES[cfa]
    assert torch.equal(Superpixel().demosaic(mosaic(flat, cfa), cfa), flat[..., : 13 // side, : 17 // side])


def test_it_is_half_the_size_that_libraw_makes(tmp_path):
    rawpy = pytest.importorskip("rawpy")
    from tests.isp_sim.formats.dng import write_dng

    samples = np.random.default_rng(1).integers(0, 65536, (64, 80)).astype(np.uint16)
    path = write_dng(tmp_path / "a.dng", samples, neutral=(1, 1, 1), matrix=np.eye(3))
    with rawpy.imread(str(path)) as raw:
        theirs = raw.postprocess(
            half_size=True,
            user_wb=[1, 1, 1, 1],
            no_auto_bright=True,
            adjust_maximum_thr=0,
            gamma=(1, 1),
            output_color=rawpy.ColorSpace.raw,
            output_bps=16,
            user_flip=0,
        )
    ours = Superpixel().demosaic(torch.from_numpy(samples.astype(np.float64))[None, None], "RGGB")[0]
    assert theirs.shape == (32, 40, 3)
    np.testing.assert_allclose(ours.permute(1, 2, 0), theirs, atol=2)


def test_maps_and_labels_follow(tools):
    labels = torch.arange(5)[:, None].expand(5, 7).clone()
    frame = frame_of(
        torch.rand(1, 1, 5, 7),
        "RGGB",
        maps={"place": torch.arange(7.0).expand(1, 1, 5, 7)},
        targets={
            "mask": Masks(labels[None]),
            "box": Boxes((torch.tensor([[2.0, 0.0, 6.0, 4.0]]),)),
            "point": Points((torch.tensor([[3.0, 1.0]]),)),
        },
    )
    after = tools.run_stage("demosaic", frame, {"method": "superpixel"})
    assert after.size == (2, 3)
    assert after.signal == Signal(transfer="linear")
    assert after.maps["place"].tolist() == [[[[1, 3, 5]] * 2]]
    assert after.targets["mask"].labels.tolist() == [[[1, 1, 1], [3, 3, 3]]]
    assert after.targets["box"].xyxy[0].tolist() == [[1, 0, 3, 2]]
    assert after.targets["point"].xy[0].tolist() == [[1.5, 0.5]]


def test_other_patterns_are_refused(tools):
    frame = frame_of(torch.rand(1, 1, 8, 8), "RCCB")
    with pytest.raises(ValueError, match="superpixel does not know the CFA RWWB"):
        tools.run_stage("demosaic", frame, {"method": "superpixel"})
    with pytest.raises(ValueError, match="no square of up to 4x4"):
        Superpixel.scale("RG/GB/RG")


def test_a_small_mosaic_is_refused(tools):
    frame = frame_of(torch.rand(1, 1, 3, 8), "RGGB")
    with pytest.raises(ValueError, match="too small: it must be at least 4x4"):
        tools.run_stage("demosaic", frame, {"method": "superpixel"})
    with pytest.raises(ValueError, match="at least 4x4"):
        Superpixel().demosaic(torch.rand(1, 1, 3, 8), CFA_NAMES["quad_bayer"])


@every_cfa
def test_engine_laws(tools, cfa):
    frame = tools.picture(replace(Signal(transfer="linear"), layout="mosaic", cfa=cfa), size=(25, 31))
    tools.assert_engine_laws("demosaic", frame, {"method": "superpixel"})
