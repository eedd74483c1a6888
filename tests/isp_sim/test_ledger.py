import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from isp_sim import ledger, recipe
from isp_sim.frame import MissingFact
from isp_sim.parameters import Parameters, StageParams
from isp_sim.pipeline import Pipeline, StageStep
from isp_sim.signal import Signal
from isp_sim.stage import Recovery, Result, Stage
from isp_sim.stages.mosaic import mosaic

LINEAR = Signal(transfer="linear")
SCENE = Signal(colour="camera", white_balanced=False, transfer="linear", reference="scene")
BAYER = SCENE.changed({"layout": "mosaic", "cfa": "GRBG"})
DEVELOP = ["white_balance", "colour_matrix", "tone_curve", "srgb_oetf"]


def one(tools, signal, **options):
    return tools.picture(signal, batch=1, **{"size": (61, 67), **options})


def by_step(found):
    return {entry.step: entry for entry in found.entries}


class TestMeasure:
    @pytest.mark.parametrize(("dtype", "least"), [(torch.float32, 100), (torch.float64, 200)])
    def test_what_has_an_inverse_loses_nothing(self, tools, dtype, least):
        chain = tools.chain(["unprocess", {"exposure": {"ev": {"uniform": [-2, 2]}}}, *DEVELOP])
        found = ledger.measure(chain, one(tools, Signal(), low=0.02, high=0.98, dtype=dtype))
        assert [entry.step for entry in found.entries] == [step.id for step in reversed(chain.steps)]
        assert {entry.how for entry in found.entries} == {"exact"}
        for entry in found.entries:
            for loss in (entry.alone, entry.together):
                assert loss.psnr is None or loss.psnr > least
                assert loss.off == 0
        assert found.reached == "input"
        assert found.stopped is None
        assert not found.off.any()

    @given(st.integers(4, 12))
    def test_quantisation_is_a_uniform_error(self, tools, bits):
        frame = one(tools, LINEAR, size=(107, 103), dtype=torch.float64)
        (entry,) = ledger.measure(tools.chain([{"quantise": {"bits": bits}}]), frame).entries
        assert entry.alone.psnr == pytest.approx(10 * math.log10(12 * (2**bits - 1) ** 2), abs=0.1)
        assert (entry.alone.off > 0) == (0.5 / (2**bits - 1) > 0.5 / 255)
        assert f"{2**bits} codes" in entry.lost

    @given(st.floats(0.01, 0.2))
    def test_noise_is_its_standard_deviation(self, tools, sigma):
        frame = one(tools, LINEAR)
        (entry,) = ledger.measure(tools.chain([{"gaussian_noise": {"sigma": sigma}}]), frame).entries
        spread = 10 / math.log(10) * math.sqrt(2 / frame.pixels.numel())  # of dB, by the chi-square law
        assert abs(entry.alone.psnr + 20 * math.log10(sigma)) < tools.normal_quantile() * spread

    def test_clipping_is_the_share_of_clipped_pixels(self, tools):
        frame = one(tools, LINEAR, low=-0.3, high=1.5)
        found = ledger.measure(tools.chain(["clip"]), frame, tolerance=0)
        outside = ((frame.pixels < 0) | (frame.pixels > 1)).any(dim=1, keepdim=True)
        (entry,) = found.entries
        assert entry.alone.off == entry.marked == outside.double().mean().item()
        assert torch.equal(found.off, outside)
        assert torch.equal(found.frame.maps["lost"], outside)
        expected = -10 * torch.log10((frame.pixels - frame.pixels.clamp(0, 1)).double().square().mean())
        assert entry.alone.psnr == pytest.approx(expected.item(), rel=1e-9)

    def test_a_mosaic_is_interpolated_and_taken_again(self, tools):
        frame = one(tools, SCENE)
        chain = tools.chain([{"mosaic": {"cfa": "GRBG"}}, {"demosaic": {"method": "bilinear"}}])
        found = by_step(ledger.measure(chain, frame))
        assert found["demosaic"].alone.psnr is None  # bilinear keeps the samples: every bit is equal
        assert found["demosaic"].how == "exact"
        by_hand = tools.run_chain([{"mosaic": {"cfa": "GRBG"}}, {"demosaic": {"method": "malvar2004"}}], frame).pixels
        expected = -10 * torch.log10((by_hand - frame.pixels).double().square().mean())
        assert found["mosaic"].together.psnr == pytest.approx(expected.item(), rel=1e-9)
        assert found["mosaic"].by == "demosaic by malvar2004"

    def test_a_demosaicer_that_changes_samples_says_so(self, tools):
        chain = tools.chain([{"demosaic": {"method": "menon2007"}}])
        (entry,) = ledger.measure(chain, one(tools, BAYER)).entries
        assert (entry.how == "exact") == (entry.alone.psnr is None)

    def test_a_CFA_that_nobody_interpolates_stops_the_chain(self, tools):
        chain = tools.chain([{"mosaic": {"cfa": "RCCC"}}, {"clip": {"low": -1, "high": 2}}])
        found = ledger.measure(chain, one(tools, SCENE))
        assert [entry.how for entry in found.entries] == ["approximate", "stop"]
        assert "no demosaicer knows this CFA" in found.stopped.lost
        assert found.reached == "mosaic"

    def test_losses_add_up(self, tools):
        """Alone each is measured on its own input; together they are measured on what the later ones left."""
        chain = tools.chain(["srgb_eotf", {"gaussian_noise": {"sigma": 0.01}}, "srgb_oetf", {"quantise": {"bits": 6}}])
        found = by_step(ledger.measure(chain, one(tools, Signal(), low=0.1, high=0.9)))
        assert found["srgb_oetf"].alone.psnr > 130
        assert found["srgb_oetf"].together.psnr < 60
        assert found["gaussian_noise"].together.psnr < found["gaussian_noise"].alone.psnr
        assert found["srgb_eotf"].alone.psnr > 130 > found["srgb_eotf"].together.psnr

    def test_values_that_were_drawn_are_undone(self, tools):
        chain = tools.chain([{"exposure": {"ev": {"uniform": [-3, 3]}}}])
        frame = tools.picture(LINEAR, batch=4, size=(9, 7))
        for i in range(4):
            (entry,) = ledger.measure(chain, frame.select([i])).entries
            assert entry.alone.psnr is None or entry.alone.psnr > 130
        outcome = chain.run(frame)
        back = chain.inverse(outcome.frame, outcome.values).pixels
        assert (back - frame.pixels).abs().max() < 1e-6
        assert (chain.inverse(outcome.frame).pixels - frame.pixels).abs().max() > 0.1

    def test_an_error_on_top_is_lost(self, tools):
        params = {"white_balance": {"gains": [2, 1, 2], "deviate": {"gains.0": {"factor": 1.1}}}}
        (entry,) = ledger.measure(tools.chain([params]), one(tools, SCENE)).entries
        assert entry.how == "approximate"
        assert "`deviate`" in entry.lost
        assert entry.alone.psnr < 40
        (plain,) = ledger.measure(tools.chain([{"white_balance": {"gains": [2, 1, 2]}}]), one(tools, SCENE)).entries
        assert plain.how == "exact"

    def test_safe_highlights_are_lost_and_marked(self, tools):
        develop = ["white_balance", "digital_gain", "colour_matrix", "srgb_oetf", "smoothstep"]
        entry = {"profile": "brooks2019", "develop": develop, "highlights": "safe"}
        frame = one(tools, Signal(), low=0.985)
        found = by_step(ledger.measure(tools.chain([{"unprocess": entry}, *develop]), frame))["unprocess"]
        assert (found.how, found.by) == ("approximate", "its inverse, by safe gains")
        assert found.alone.psnr < 80
        assert 0 < found.alone.off <= found.marked < 1
        (told,) = ledger.symbolic(tools.chain([{"unprocess": entry}]))
        assert told.lost == "what was dimmer than white in front of the gains"

    def test_digital_numbers_are_measured_by_their_range(self, tools):
        levels = {"black_level": torch.full((1, 1, 2, 2), 64.0), "white_level": torch.full((1, 1, 2, 2), 1088.0)}
        signal = BAYER.changed({"levels": "dn"})
        frame = one(tools, signal, low=64, high=1088, capture=levels)
        chain = tools.chain(["normalise", {"gaussian_noise": {"sigma": 0.01}}])
        found = by_step(ledger.measure(chain, frame))
        assert found["normalise"].together.psnr == pytest.approx(found["gaussian_noise"].alone.psnr, abs=0.01)

    def test_back_to_a_step_is_the_picture_after_it(self, tools):
        chain = tools.chain(["srgb_eotf", "exposure", "srgb_oetf"])
        frame = one(tools, Signal())
        found = ledger.measure(chain, frame, to="srgb_eotf")
        assert [entry.step for entry in found.entries] == ["srgb_oetf", "exposure"]
        assert found.reached == "srgb_eotf"
        expected = tools.run_chain(["srgb_eotf"], frame)
        assert (found.frame.pixels - expected.pixels).abs().max() < 1e-6
        assert found.frame.signal == expected.signal

    def test_what_moved_out_stops_the_chain(self, tools):
        chain = tools.chain(["srgb_eotf", {"crop": {"height": 8, "width": 8}}, "srgb_oetf"])
        found = ledger.measure(chain, one(tools, Signal()))
        assert [(entry.step, entry.how) for entry in found.entries] == [("srgb_oetf", "exact"), ("crop", "stop")]
        assert found.reached == "crop"
        assert "window of 8x8" in found.stopped.lost

    def test_the_branch_that_a_sample_took(self, tools):
        text = (
            "version: 1\nseed: 3\nstages:\n  - one_of: [jpeg, [srgb_eotf, srgb_oetf]]\n"
            "  - maybe: {p: 0.5, stages: [{quantise: {bits: 4}}]}\n"
            "  - shuffle: [clip, {gaussian_noise: {sigma: 0.01}}]\n"
        )
        pipeline, seen = recipe.parse(text).pipeline, set()
        for i in range(8):
            frame = one(tools, Signal(), size=(16, 16), keys=(f"{i}",))
            records = pipeline.run(frame).values[0]
            found = [entry.step for entry in ledger.measure(pipeline, frame).entries]
            stages = [id for id in records if id not in ("one_of", "maybe", "shuffle")]
            assert found == stages[::-1]
            seen.add(tuple(found))
            taken = replace(pipeline.taken(f"{i}"))
            tools.assert_same_frame(taken.run(frame).frame, pipeline.run(frame).frame)
        assert len(seen) > 3

    def test_what_a_file_kept_comes_first(self, tools):
        frame = one(tools, Signal(), dtype=torch.float64)

        def written(after):
            line = ledger.Entry("output", "files", "approximate", "the file's samples", "the rest")
            return line, torch.round(after.pixels * 15) / 15

        found = ledger.measure(tools.chain(["srgb_eotf"]), frame, written=written)
        assert [entry.step for entry in found.entries] == ["output", "srgb_eotf"]
        assert found.entries[0].alone.psnr == pytest.approx(10 * math.log10(12 * 15**2), abs=0.5)
        assert found.entries[1].together.psnr < found.entries[1].alone.psnr

    def test_one_picture_and_a_step_that_is_there(self, tools):
        chain = tools.chain(["srgb_eotf"])
        with pytest.raises(ValueError, match=r"one picture, found 2: use frame.select"):
            ledger.measure(chain, tools.picture(Signal(), batch=2, size=(4, 4)))
        with pytest.raises(ValueError, match="passes no step 'jpeg'; it passes input, srgb_eotf"):
            ledger.measure(chain, one(tools, Signal()), to="jpeg")


class Halves(Stage):
    """Keeps every second column. Declares by its one hook how it is undone."""

    needs = Signal.where(layout="rgb")

    class Params(StageParams):
        times: float = Field(2.0, ge=1, le=4, description="how much brighter [factor]")

    def apply(self, frame, p, rng):
        return frame.pixels * p.times

    def recovery(self, p):
        def back(frame, p, before):
            marked = torch.ones_like(frame.pixels[:, :1], dtype=torch.bool)
            return Result(frame.pixels / p.times + 0.01, maps={"lost": marked})

        return Recovery(back, "a guess", f"the rest of {p.times:g}")


class Opaque(Stage):
    """Says nothing of being undone."""

    def apply(self, frame, p, rng):
        return frame.pixels.clone()


def test_a_third_partys_stage_says_itself_how_it_is_undone(tools):
    steps = [
        StageStep(name, name, kind(), Parameters.bind(kind.Params)) for name, kind in [("o", Opaque), ("h", Halves)]
    ]
    found = ledger.measure(Pipeline(tuple(steps)), one(tools, Signal()))
    halves, opaque = found.entries
    assert (halves.how, halves.by, halves.lost, halves.marked) == ("approximate", "a guess", "the rest of 2", 1.0)
    assert halves.alone.psnr == pytest.approx(40, abs=1e-3)
    assert (opaque.how, opaque.lost) == ("stop", "it has no inverse")
    assert found.frame.maps["lost"].all()


class TestSymbolic:
    def test_last_step_first_and_on_past_a_stop(self, tools):
        chain = tools.chain(["srgb_eotf", {"crop": {"height": 8, "width": 8}}, "srgb_oetf", {"quantise": {"bits": 6}}])
        found = ledger.symbolic(chain)
        assert [entry.how for entry in found] == ["approximate", "exact", "stop", "exact"]
        assert all(entry.alone is None for entry in found)

    def test_says_where_it_shows_one_draw_of_many(self, tools):
        (drawn,) = ledger.symbolic(tools.chain([{"jpeg": {"quality": {"randint": [10, 30]}}}]))
        assert drawn.lost.endswith("at quality 10, at the first end of what is drawn")
        (plain,) = ledger.symbolic(tools.chain([{"jpeg": {"quality": 10}}]))
        assert plain.lost.endswith("at quality 10")

    def test_every_stage_of_a_combinator_has_its_line(self):
        text = "version: 1\nstages:\n  - one_of: [jpeg, {quantise: {bits: 3}}]\n"
        found = ledger.symbolic(recipe.parse(text).pipeline)
        assert [entry.step for entry in found] == ["one_of/1/quantise", "one_of/0/jpeg"]


class TestEstimate:
    CAPTURE = {  # noqa: RUF012
        "wb_gains": torch.tensor([2.0, 1, 1.5]).reshape(1, 3, 1, 1),
        "ccm": torch.tensor([[[1.6, -0.4, -0.2], [-0.3, 1.5, -0.2], [0.1, -0.6, 1.5]]]),
    }

    def photo(self, tools, **options):
        return one(tools, Signal(), capture=self.CAPTURE, **options)

    @settings(max_examples=10)
    @given(st.integers(0, 10**6))
    def test_developed_again_it_is_the_photo(self, tools, seed):
        develop = tools.chain(["white_balance", "colour_matrix", "srgb_oetf"])
        photo = self.photo(tools, seed=seed, size=(9, 7), high=0.99)
        found = ledger.estimate(develop, photo, SCENE)
        again = develop.run(replace(found.frame, maps={})).frame
        assert (again.pixels - photo.pixels).abs().max() < 1e-5
        assert found.frame.signal == SCENE
        assert all(entry.again.psnr > 110 for entry in found.entries)
        assert not found.frame.maps["lost"].any()

    def test_back_to_the_mosaic(self, tools):
        develop = tools.chain([{"demosaic": {"method": "bilinear"}}, "white_balance", "colour_matrix", "srgb_oetf"])
        photo = self.photo(tools)
        found = ledger.estimate(develop, photo, BAYER)
        rgb = tools.chain(["white_balance", "colour_matrix", "srgb_oetf"]).inverse(photo)
        assert torch.equal(found.frame.pixels, mosaic(rgb.pixels, "GRBG"))
        assert found.frame.signal == BAYER

    def test_what_is_saturated_or_at_a_clip_is_marked(self, tools):
        photo = self.photo(tools, low=0.1, high=0.9)
        pixels = photo.pixels.clone()
        pixels[0, 1, 3, 4], pixels[0, :, 5, 6] = 1, 0
        chain = tools.chain(["clip", "srgb_oetf"])
        found = ledger.estimate(chain, replace(photo, pixels=pixels), LINEAR)
        assert np.argwhere(found.frame.maps["lost"][0, 0].numpy()).tolist() == [[3, 4], [5, 6]]
        assert by_step(found)["clip"].again is None

    def test_what_it_can_not_know_it_asks_for(self, tools):
        with pytest.raises(MissingFact, match="wb_gains"):
            ledger.estimate(tools.chain(["white_balance"]), one(tools, SCENE), SCENE)
        with pytest.raises(ValueError, match="whose CFA a file would tell"):
            ledger.estimate(tools.chain(["demosaic"]), one(tools, SCENE), BAYER.changed({"cfa": "?"}))
