"""Whatever happens to a file or a recipe, it is read, or refused with one clear line."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from isp_sim import recipe as recipes
from isp_sim.cameras.profile import ProfileFault
from isp_sim.cameras.profile import parse as parse_profile
from isp_sim.formats import limits
from isp_sim.formats.files import npy
from isp_sim.formats.images import Images
from isp_sim.formats.raw import Raw
from isp_sim.formats.reader import InputFault, Item, Reader
from isp_sim.recipe import RecipeError
from isp_sim.render.manifest import parsed
from isp_sim.testing.mutations import MUTATIONS, mutated, samples
from tests.isp_sim.render.photos import RECIPES

SAMPLES = samples()
CHANGES = 60
OTHERS = tuple(SAMPLES.values())
PROFILE = Path(__file__).parents[3] / "isp_sim" / "cameras" / "profiles" / "generic_phone.yaml"


def generator(name: str) -> np.random.Generator:
    return np.random.default_rng([len(name), *name.encode()])


def reader_of(name: str) -> Reader:
    return Raw(Raw.Params()) if name.endswith(".dng") else Images(Images.Params())


@pytest.mark.parametrize("name", [name for name in SAMPLES if not name.endswith(".npy")])
def test_a_changed_picture_is_read_or_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(limits.VARIABLE, "1000000")
    path, rng, reader = tmp_path / name, generator(name), reader_of(name)
    path.write_bytes(SAMPLES[name])
    assert reader.read(Item(name, str(path))).frame.pixels.numel() in (24 * 32, 3 * 24 * 32)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(CHANGES):
        path.write_bytes(mutated(SAMPLES[name], rng, OTHERS))
        try:
            frame = reader.read(Item(name, str(path))).frame
        except InputFault as fault:
            outcomes["refused"] += len(str(fault).splitlines()) == 1
        else:
            outcomes["read"] += 1
            assert frame.size[0] * frame.size[1] <= 1_000_000
            assert bool(torch.isfinite(frame.pixels).all())
    assert sum(outcomes.values()) == CHANGES
    assert outcomes["refused"] > 0


def test_a_changed_array_is_read_or_refused() -> None:
    rng, outcomes = generator("npy"), set[str]()
    for _ in range(200):
        try:
            npy(mutated(SAMPLES["plain.npy"], rng, OTHERS))
            outcomes.add("read")
        except InputFault as fault:
            outcomes.add(f"refused in {len(str(fault).splitlines())} line")
    assert outcomes == {"read", "refused in 1 line"}


@pytest.mark.parametrize("name", ["phone_night.yaml", "develop_raw.yaml"])
def test_a_changed_recipe_is_valid_or_refused_with_its_faults(name: str, tmp_path: Path) -> None:
    text, rng = (RECIPES / name).read_bytes(), generator(name)
    others = tuple(path.read_bytes() for path in sorted(RECIPES.glob("*.yaml")))
    path, outcomes = tmp_path / name, set[str]()
    for _ in range(60):
        path.write_bytes(mutated(text, rng, others))
        try:
            recipes.read(path)
            outcomes.add("valid")
        except RecipeError as error:
            told = error.faults and all(fault.line >= 1 and fault.message for fault in error.faults)
            outcomes.add("refused with its faults" if told else "refused without a word")
    assert outcomes <= {"valid", "refused with its faults"}
    assert "refused with its faults" in outcomes


def test_a_changed_camera_profile_is_valid_or_refused() -> None:
    text, rng, outcomes = PROFILE.read_bytes(), generator("profile"), set[str]()
    for _ in range(60):
        try:
            parse_profile(mutated(text, rng), "p.yaml")
            outcomes.add("valid")
        except ProfileFault:
            outcomes.add("refused")
    assert outcomes == {"valid", "refused"}


def test_a_changed_row_is_a_row_or_none() -> None:
    row = b'{"key":"a","view":0,"status":"ok","output":"a.png","files":{"a.png":"0"},"members":{"a.png":[0,9]}}'
    rng, outcomes = generator("row"), set[str]()
    for _ in range(500):
        try:
            parsed(mutated(row, rng))
            outcomes.add("row")
        except ValueError:
            outcomes.add("none")
    assert outcomes == {"row", "none"}


def test_mutations_are_those_of_their_seed() -> None:
    data = SAMPLES["8.png"]
    once, again = ([mutated(data, np.random.default_rng(5), OTHERS) for _ in range(3)] for _ in range(2))
    assert once == again
    for mutation in MUTATIONS:
        changed = {mutation(data, np.random.default_rng(seed), OTHERS) for seed in range(20)}
        assert len(changed - {data}) > 10
        assert isinstance(mutation(b"", np.random.default_rng(0), OTHERS), bytes)


def test_the_terminal_is_not_filled_with_damaged_tags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])  # as in a program that sets up no logging
    path = tmp_path / "a.tif"
    data = bytearray(SAMPLES["deflate.tif"])
    first = int.from_bytes(data[4:8], "little")
    for tag in range(int.from_bytes(data[first : first + 2], "little")):
        data[first + 2 + 12 * tag + 2] = 200  # no type of a tag
    path.write_bytes(data)
    with pytest.raises(InputFault):
        Images(Images.Params()).read(Item("a.tif", str(path)))
    assert capsys.readouterr().err == ""
