import copy
import json
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim import recipe, registry
from isp_sim.pipeline import walk
from isp_sim.recipe import RecipeError
from isp_sim.signal import IMAGE

# those of trainings lie beside them
RECIPES = [
    path
    for path in sorted((Path(__file__).parents[2] / "recipes").rglob("*.yaml"))
    if path.read_text().startswith("# isp-sim")
]

GOOD = """\
version: 1
seed: 3
input: {reader: images, path: photos/}
stages:
  - unprocess: {profile: generic_phone}
  - mosaic: {cfa: GBRG}
  - shot_read_noise: {shot: {loguniform: [1.0e-4, 1.0e-2]}, law: poisson}
  - clip
  - quantise: {bits: 10}
  - white_balance: {gains: [{normal: [2, 0.05]}, 1, 1.5]}
  - demosaic: {method: bilinear}
  - colour_matrix
  - tone_curve
  - clip
  - srgb_oetf
  - maybe: {p: 0.5, stages: [{jpeg: {quality: {randint: [10, 30]}}}]}
output: {writer: files, format: png, keep: [mosaic]}
"""

STEEP = "{log_linear: {of: shot, slope: -999, intercept: 0, log_base: e}}"


def faults(text):
    with pytest.raises(RecipeError) as caught:
        recipe.parse(text)
    return [(fault.line, fault.message) for fault in caught.value.faults]


def with_stages(*stages, head="version: 1\n"):
    return head + "stages:\n" + "".join(f"  - {stage}\n" for stage in stages)


class TestFiveMistakes:
    def test_exactly_five_faults_each_with_its_line(self, tmp_path):
        text = """\
version: 1
seed: 1
input: {reader: images, path: /nowhere/that/exists}
stages:
  - unproces: {profile: generic_phone}
  - mosaic: {cfa: RGGB}
  - gaussian_noise: {sigmaa: 0.1}
  - white_balance
  - colour_matrix
  - demosaic
  - srgb_oetf
  - jpeg:
      quality: {randint: [10, 130]}
seed: 2
"""
        file = tmp_path / "wrong.yaml"
        file.write_text(text)
        with pytest.raises(RecipeError) as caught:
            recipe.read(file)
        found = caught.value.faults
        assert [fault.line for fault in found] == [5, 7, 9, 13, 14]
        assert {fault.file for fault in found} == {str(file)}
        for fault, words in zip(
            found,
            [
                ("unknown", "'unproces'", "did you mean 'unprocess'"),
                ("gaussian_noise", "unknown parameter 'sigmaa'", "did you mean 'sigma'"),
                ("colour_matrix needs layout rgb, found mosaic; demosaic", "would give that"),
                ("jpeg: quality: 130", "less than or equal to 100", "upper end of {randint: [10, 130]}"),
                ("'seed' appears twice", "line 2"),
            ],
            strict=True,
        ):
            assert all(word in fault.message for word in words), fault
        assert str(caught.value) == "\n".join(f"{file}:{fault.line}: {fault.message}" for fault in found)

    def test_no_input_is_read_and_no_photo_either(self):
        # a right recipe whose input does not exist is right: the folder may be mounted later
        parsed = recipe.parse(GOOD.replace("photos/", "/nowhere/that/exists"))
        assert parsed.signals[0] == ("input", IMAGE)


class TestFaults:
    @pytest.mark.parametrize(
        ("text", "line", "message"),
        [
            ("", 1, "a recipe is a mapping"),
            ("just words", 1, "a recipe is a mapping"),
            ("[1, 2]", 1, "a recipe is a mapping"),
            ("stages: [clip]\n", 1, "needs version: 1, found None"),
            ("version: 2\nstages: [clip]\n", 1, "needs version: 1, found 2"),
            ("version: 1\nstages: [clip]\nsteps: []\n", 3, "unknown key 'steps': did you mean 'stages'"),
            ("version: 1\n", 1, "needs stages"),
            ("version: 1\nstages: []\n", 2, "needs stages"),
            ("version: 1\nstages: {clip: {}}\n", 2, "needs stages"),
            ("version: 1\nseed: -1\nstages: [clip]\n", 2, "seed must be a whole number"),
            ("version: 1\nseed: true\nstages: [clip]\n", 2, "seed must be a whole number"),
            ("version: 1\nseed: 1.5\nstages: [clip]\n", 2, "seed must be a whole number"),
            ("version: 1\ndescription: 3\nstages: [clip]\n", 2, "description must be a text"),
            ("version: 1\ninput: images\nstages: [clip]\n", 2, "input must be a mapping"),
            (
                "version: 1\ninput: {reader: imagse}\nstages: [clip]\n",
                2,
                "unknown reader 'imagse': did you mean 'images'",
            ),
            ("version: 1\ninput: {orient: no}\nstages: [clip]\n", 2, "orient: 'no'"),
            (
                "version: 1\ninput: {orient: {choice: [true]}}\nstages: [clip]\n",
                2,
                "no distribution may stand here",
            ),
            ("version: 1\nstages: [clip]\noutput: {format: gif}\n", 3, "format: 'gif'"),
            (
                "version: 1\nstages: [clip]\noutput: {keep: [clp]}\n",
                3,
                "no step has the id 'clp': did you mean 'clip'",
            ),
            ("version: 1\nstages: [unprocess]\noutput: {format: tiff, bits: 12}\n", 3, "bits: 12"),
            (with_stages("{clip: {}, jpeg: {}}"), 3, "a step is a name, or a mapping with one name"),
            (with_stages("[clip]"), 3, "a step is a name"),
            (with_stages("3"), 3, "a step is a name"),
            (with_stages("clip: 3"), 3, "parameters are a mapping, found 3"),
            (with_stages("clip: {low: [1]}"), 3, "clip: low"),
            (with_stages("clip: {low: 0.5, high: 0.5}"), 3, "must lie below"),
            (with_stages("{clip: {}, id: a/b}"), 3, "an id is made of"),
            (with_stages("{clip: {}, id: 3}"), 3, "an id is made of"),
            (with_stages("{clip: {}, id: same}", "{jpeg: {}, id: same}"), 4, "two steps have the id 'same'"),
            (with_stages("unprocess: {profile: generic_phne}"), 3, "did you mean 'generic_phone'"),
            (with_stages("unprocess: {profile: ../../etc/passwd}"), 3, "unknown camera profile"),
            (with_stages("unprocess: {develop: [clip]}"), 3, "clip can't be undone"),
            (with_stages("unprocess: {develop: [colour_matrix, white_balance, srgb_oetf]}"), 3, "can't undo"),
            (
                with_stages("srgb_eotf", "mosaic: {cfa: {choice: [RGGB]}}"),
                4,
                "no distribution may stand here",
            ),
            (with_stages("srgb_eotf", "mosaic: {cfa: ''}"), 4, "CFA"),
            (with_stages("srgb_eotf", "mosaic: {cfa: REGB}"), 4, "known filters are R, G, B, C, M, Y, W"),
            (
                with_stages("srgb_eotf", "mosaic", "demosaic: {method: malvar2014}"),
                5,
                "did you mean 'malvar2004'",
            ),
            (
                with_stages("srgb_eotf", "mosaic: {cfa: RG/GB/GB}", "demosaic"),
                5,
                "does not know the CFA RG/GB/GB",
            ),
            (with_stages("isp_sim.stages.mosaic:Mosaic"), 3, "isp_sim.stages.mosaic:Mosaic"),
            (with_stages("os.system: {command: ls}"), 3, "unknown degradation or stage 'os.system'"),
            (with_stages("!!python/name:os.system clip"), 3, "python/name"),
            (with_stages("jpeg: {quality: !!python/object/apply:os.getpid []}"), 3, "python/object/apply"),
            (with_stages("gaussian_noise: {sigma: 1" + "0" * 400 + "}"), 3, "64 bits"),
            ("version: 1\nseed: 0x" + "f" * 6000 + "\nstages: [clip]\n", 2, "64 bits"),
            (with_stages("srgb_eotf", f"shot_read_noise: {{shot: 0.1, read: {STEEP}}}"), 4, "read: inf"),
            (with_stages("jpeg: {quality: {choice: {values: [1, 2], weights: 3}}}"), 3, "weights"),
        ],
    )
    def test_a_mistake_is_named_with_its_line(self, text, line, message):
        found = faults(text)
        assert any(at == line and message in words for at, words in found), found

    def test_all_places_at_once(self):
        text = (
            "version: 3\nseed: x\ninput: {reader: nope}\nstages:\n  - clip: {low: 9}\n  - jpeg: {quality: 0}\n"
            "output: {writer: nope}\nextra: 1\n"
        )
        lines = [line for line, _ in faults(text)]
        assert lines[:3] == [1, 2, 3]
        assert set(lines) == {1, 2, 3, 5, 6, 7, 8}

    def test_faults_of_one_line_keep_their_order(self):
        names = [f"wrong_{i}" for i in range(12)]
        text = with_stages("clip: {" + ", ".join(f"{name}: 1" for name in names) + "}")
        assert [message.split("'")[1] for _, message in faults(text)] == names

    def test_a_wrong_stage_does_not_hide_what_is_wrong_after_it(self):
        found = faults(with_stages("srgb_eotfs", "mosaic", "jpeg"))
        assert [line for line, _ in found] == [3, 5]
        assert "jpeg needs layout rgb" in found[1][1]

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(RecipeError, match="can't read the recipe"):
            recipe.read(tmp_path / "missing.yaml")
        with pytest.raises(RecipeError, match="can't read the recipe"):
            recipe.read(tmp_path)

    def test_a_plugin_that_is_no_stage_costs_its_own_line(self, monkeypatch):
        load = registry.load

        def fake(name, *groups):
            return print if name == "clip" else load(name, *groups)

        monkeypatch.setattr(registry, "load", fake)
        ((line, message),) = faults(with_stages("jpeg", "clip", "jpeg"))
        assert line == 4
        assert "clip" in message


class TestWarnings:
    @pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
    def test_our_recipes_are_right_and_not_odd(self, path):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            parsed = recipe.read(path)
        assert [str(w) for w in parsed.warnings] == []

    def test_there_are_recipes(self):
        assert len(RECIPES) >= 4

    def test_what_is_undone_should_be_done_again(self):
        parsed = recipe.parse(with_stages("unprocess", "white_balance", "colour_matrix", "srgb_oetf"))
        (warning,) = parsed.warnings
        assert warning.line == 3
        assert "undoes tone_curve, which no later stage does again" in warning.message

    def test_a_curve_that_is_not_used(self):
        develop = "[white_balance, colour_matrix, srgb_oetf]"
        parsed = recipe.parse(with_stages(f"unprocess: {{develop: {develop}}}", *develop.strip("[]").split(", ")))
        (warning,) = parsed.warnings
        assert (
            "profile generic_phone has tone_curve, which develop does not hold; it is for [white_balance"
            in warning.message
        )

    def test_a_picture_that_looks_too_dark(self):
        (warning,) = recipe.parse(with_stages("srgb_eotf")).warnings
        assert "viewers take them as sRGB" in warning.message


class TestResolved:
    @pytest.mark.parametrize("text", [GOOD, *[path.read_text() for path in RECIPES]])
    def test_read_again_it_is_the_same_recipe(self, text):
        first = recipe.parse(text)
        again = recipe.parse(json.dumps(first.resolved))
        assert again.resolved == first.resolved
        assert again.hash == first.hash
        assert again.signals == first.signals
        assert again.seed == first.seed

    def test_every_default_is_explicit(self):
        resolved = recipe.parse(GOOD).resolved
        assert resolved["seed"] == 3
        assert resolved["stages"][3] == {
            "clip": {"low": 0.0, "high": 1.0, "mode": "exact", "softness": 0.02},
            "id": "clip",
        }
        assert resolved["stages"][9]["id"] == "clip_2"
        assert resolved["stages"][11]["maybe"]["stages"][0]["jpeg"] == {
            "quality": {"randint": [10, 30]},
            "subsampling": "4:2:0",
            "mode": "exact",
            "tables": None,
            "generations": 1,
            "sharpness": 4,
        }
        assert resolved["input"] == {"reader": "images", "path": "photos/", "orient": True}
        assert resolved["output"]["bits"] is None

    def test_a_law_that_was_cut_says_so(self):
        gains = recipe.parse(GOOD).resolved["stages"][5]["white_balance"]["gains"]
        assert gains[0]["truncated_normal"]["high"] == 100
        assert gains[1:] == [1.0, 1.5]

    def test_yaml_1_2(self):
        noise = with_stages("srgb_eotf", "shot_read_noise: {shot: 1e-4}")
        assert recipe.parse(noise).resolved["stages"][1]["shot_read_noise"]["shot"] == 1e-4
        names = recipe.parse("version: 1\ninput: {path: no}\nstages: [{clip: {}, id: on}]\n")
        assert names.resolved["input"]["path"] == "no"
        assert names.resolved["stages"][0]["id"] == "on"


def shuffled(node, order):
    """The same mapping with its keys in another order, all the way down."""
    if isinstance(node, dict):
        keys = list(node)
        order.shuffle(keys)
        return {key: shuffled(node[key], order) for key in keys}
    return [shuffled(item, order) for item in node] if isinstance(node, list) else node


class TestHash:
    @given(st.randoms(use_true_random=False))
    def test_the_order_of_keys_does_not_matter(self, order):
        first = recipe.parse(GOOD)
        again = recipe.parse(json.dumps(shuffled(first.resolved, order)))
        assert again.hash == first.hash

    def test_written_short_or_long_it_is_the_same(self):
        short = with_stages("jpeg", head="version: 1\n")
        long = with_stages(
            "jpeg: {subsampling: 4:2:0, quality: 75}", head="version: 1\nseed: 0\ninput: {reader: images}\n"
        )
        assert recipe.parse(short).hash == recipe.parse(long).hash

    def test_places_and_seed_are_no_part_of_it(self):
        first = recipe.parse(GOOD)
        assert first.with_places("elsewhere", "out", 99).hash == first.hash
        assert first.with_places("elsewhere", "out", 99).seed == 99
        assert first.with_places("elsewhere", "out").resolved["output"]["path"] == "out"
        assert first.seed == 3

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("bits: 10", "bits: 12"),
            ("[1.0e-4", "[1.1e-4"),
            ("randint: [10, 30]", "randint: [10, 31]"),
            ("p: 0.5", "p: 0.4"),
            ("GBRG", "RGGB"),
            ("format: png", "format: tiff"),
            ("  - clip\n  - quantise", "  - quantise"),
            ("keep: [mosaic]", "keep: []"),
            ("- colour_matrix", "- {colour_matrix: {}, id: ccm}"),  # another id is another draw
        ],
    )
    def test_what_changes_the_pictures_changes_it(self, old, new):
        assert old in GOOD
        assert recipe.parse(GOOD.replace(old, new)).hash != recipe.parse(GOOD).hash

    def test_a_camera_profile_of_one_s_own_is_part_of_it(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        profile = tmp_path / "mine.yaml"
        head = "name: a\ndescription: b\nsource: c\nlicence: d\nxyz_to_camera: generic_phone\nmix: [1, 1, 1, 1]\n"
        text = "version: 1\nstages:\n  - unprocess: {profile: {choice: [generic_phone, mine.yaml]}}\n"
        hashes = []
        for red in (2, 2, 3):
            profile.write_text(f"{head}wb_gains: [{red}, 1, 2]\n")
            hashes.append(recipe.parse(text).hash)
        assert hashes[0] == hashes[1] != hashes[2]

    def test_equal_in_another_process(self):
        code = f"from isp_sim import recipe; print(recipe.parse({GOOD!r}).hash)"
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert ran.stdout.strip() == recipe.parse(GOOD).hash


class TestRecipe:
    def test_pickled_and_back(self):
        first = recipe.parse(GOOD, "good.yaml").with_places("in", "out", 12)
        again = pickle.loads(pickle.dumps(first))
        assert again.resolved == first.resolved
        assert (again.name, again.seed) == ("good.yaml", 12)

    def test_walk_visits_inner_steps(self):
        ids = [step.id for step in walk(recipe.parse(GOOD).pipeline.steps)]
        assert ids[-2:] == ["maybe", "maybe/jpeg"]

    def test_the_seed_moves_the_draws_and_nothing_else(self, tools):
        frame = tools.picture(IMAGE.changed({"bit_depth": None}), size=(8, 8))
        first = recipe.parse(GOOD)
        runs = [first.with_places(seed=seed).pipeline.run(frame) for seed in (3, 3, 4)]
        tools.assert_same_frame(runs[0].frame, runs[1].frame)
        assert runs[0].values != runs[2].values


def paths(node, path=()):
    yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, inner in items:
        yield from paths(inner, (*path, key))


DATA = recipe.parse(GOOD).resolved
PATHS = [path for path in paths(DATA) if path]
WORDS = """
clip jpeg one_of maybe shuffle branches stages weights id reader raw RGGB
uniform normal choice randint linear log_linear constant of shot p values
"""
words = st.sampled_from(["", *WORDS.split()])
things = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 300), st.floats(), words, st.just(10**30)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(words, inner, max_size=3)),
    max_leaves=8,
)


def outcome(text):
    """The recipe, or its faults."""
    try:
        return recipe.parse(text), ()
    except RecipeError as error:
        return None, error.faults


class TestNothingElseIsRaised:
    @settings(max_examples=100)
    @given(st.text(alphabet=st.sampled_from(list("ab1:-[]{},&*!|>%@`'\"#?~ \n\t.e")), max_size=60))
    def test_random_text(self, text):
        with pytest.raises(RecipeError):
            recipe.parse(text)

    @settings(max_examples=100)
    @given(st.integers(0, len(GOOD)), st.integers(0, 30), st.text(max_size=5))
    def test_a_recipe_with_a_hole(self, start, length, filling):
        parsed, wrong = outcome(GOOD[:start] + filling + GOOD[start + length :])
        assert (parsed is None) == bool(wrong)
        assert all(fault.line >= 1 and fault.message for fault in wrong)

    @settings(max_examples=200)
    @given(st.data())
    def test_a_recipe_with_a_thing_in_the_wrong_place(self, data):
        """It is refused with its faults, or accepted, and then it resolves to itself."""
        changed = copy.deepcopy(DATA)
        path = data.draw(st.sampled_from(PATHS))
        place = changed
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = data.draw(things)
        text = json.dumps(changed).replace("Infinity", ".inf").replace("NaN", ".nan")
        parsed, wrong = outcome(text)
        assert (parsed is None) == bool(wrong)
        assert all(fault.line == 1 and fault.message for fault in wrong)
        if parsed is not None:
            assert recipe.parse(json.dumps(parsed.resolved)).resolved == parsed.resolved
