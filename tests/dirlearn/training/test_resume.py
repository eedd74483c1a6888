"""A run that was killed and resumed is the run that was not, to the last bit."""

import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import safetensors.torch
import torch

from dirlearn.run import Runner
from dirlearn.training import checkpoint as checkpoints
from dirlearn.training.loop import TrainingFault


def weights(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.glob("**/final/tensors.safetensors")):
        for name, value in safetensors.torch.load_file(path).items():
            found[f"{path.parent.parent.name}/{name}"] = value.numpy().tobytes()
    return found


def logs(folder: Path) -> dict[str, list[dict[str, float]]]:
    return {
        path.parent.name: [
            {k: v for k, v in json.loads(line).items() if k != "steps_per_second"}
            for line in path.read_text().splitlines()
        ]
        for path in sorted(folder.glob("**/metrics.jsonl"))
    }


def whole(recipe) -> dict[str, bytes]:
    go_on(recipe, "nowhere", 0, resume=False)
    return weights(recipe.folder)


class Killer:
    """Ends its own process without a word, after a step."""

    def __init__(self, name: str, step: int) -> None:
        self.name, self.at = name, step

    def say(self, text: str) -> None: ...

    def step(self, name: str, done: int, total: int, values: object) -> None:
        if (name, done) == (self.name, self.at):
            os.kill(os.getpid(), signal.SIGKILL)


def go_on(recipe, name: str, step: int, resume: bool = True) -> None:
    """Every training, without the evaluation."""
    runner = Runner(recipe, Killer(name, step), resume)
    runner.prepare()
    representation = runner.stage1()
    for method in recipe.methods[1:]:
        runner.method(method, representation)


@pytest.fixture(autouse=True)
def _one_thread():
    """A fork has none of the threads that OpenMP keeps waiting, and would wait for them for ever."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_killed_and_resumed_is_bit_equal_in_both_stages(tiny) -> None:
    """Killed before the first checkpoint and between two, in either stage."""
    expected = whole(tiny(folder="whole"))
    recipe = tiny(folder="killed")
    for name, step in (("stage1", 1), ("stage1", 3), ("aligned", 3), ("nowhere", 0)):
        # a fork, since importing everything anew would take longer than the training
        process = multiprocessing.get_context("fork").Process(target=go_on, args=(recipe, name, step))
        process.start()
        process.join(60)
        assert process.exitcode == (-signal.SIGKILL if step else 0)
    assert weights(recipe.folder) == expected
    assert logs(recipe.folder) == logs(tiny(folder="whole").folder)


def test_resume_goes_on_and_does_not_start_anew(tiny) -> None:
    recipe = tiny()
    whole(recipe)
    said: list[str] = []

    class Listener:
        def say(self, text: str) -> None:
            said.append(text)

        def step(self, *about: object) -> None:
            assert "steps are taken again" not in said

    runner = Runner(recipe, Listener(), resume=True)
    runner.prepare()
    runner.stage1()
    assert said == ["stage1: done already"]


def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_taken(tiny) -> None:
    recipe = tiny("stage1.steps=6", folder="damaged")
    expected = weights_of_stage1(tiny("stage1.steps=6", folder="sound"))
    runner = Runner(recipe)
    runner.prepare()
    runner.stage1()
    places = sorted((recipe.folder / "stage1" / "checkpoints").iterdir())
    assert [p.name for p in places] == ["step-000000004", "step-000000006"]
    with (places[-1] / checkpoints.TENSORS).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    import shutil

    shutil.rmtree(recipe.folder / "stage1" / "final")
    said: list[str] = []

    class Listener:
        def say(self, text: str) -> None:
            said.append(text)

        def step(self, *about: object) -> None: ...

    again = Runner(recipe, Listener(), resume=True)
    again.stage1()
    assert "is not as it was written; going back" in said[0]
    assert said[1] == "stage1: resumed after step 4"
    assert weights(recipe.folder) == expected


def weights_of_stage1(recipe) -> dict[str, bytes]:
    runner = Runner(recipe)
    runner.prepare()
    runner.stage1()
    return weights(recipe.folder)


def test_checkpoints_of_another_recipe_are_refused(tiny) -> None:
    weights_of_stage1(tiny())
    changed = tiny("stage1.beta=0.5")
    import shutil

    shutil.rmtree(changed.folder / "stage1" / "final")
    with pytest.raises(TrainingFault, match="of another recipe"):
        Runner(changed, resume=True).stage1()


def test_a_run_is_not_overwritten(tiny) -> None:
    Runner(tiny()).prepare()
    with pytest.raises(TrainingFault, match="holds a run already"):
        Runner(tiny()).prepare()


def test_a_checkpoint_holds_no_pickle_and_says_what_it_is(tiny) -> None:
    recipe = tiny()
    weights_of_stage1(recipe)
    found = checkpoints.read(max((recipe.folder / "stage1" / "checkpoints").iterdir()))
    assert found.step == 4
    assert found.about["about"]["seed"] == 3
    assert found.about["versions"]["torch"]
    assert {name.split("/")[0] for name in found.tensors} == {"model", "optimiser", "average", "random"}
    assert {p.suffix for p in (recipe.folder / "stage1" / "checkpoints").glob("*/*")} == {".safetensors", ".json"}


@pytest.mark.parametrize("damage", ["{", '{"format": 1}', '{"format": 99, "sha256": "", "step": 1}'])
def test_a_damaged_json_is_a_fault(tmp_path: Path, damage: str) -> None:
    import torch

    place = checkpoints.write(tmp_path, 5, {"x": torch.ones(2)}, {}, keep=2)
    assert checkpoints.read(place).step == 5
    (place / checkpoints.ABOUT).write_text(damage)
    with pytest.raises(checkpoints.CheckpointFault):
        checkpoints.read(place)
    said: list[str] = []
    assert checkpoints.newest(tmp_path, said.append) is None
    assert len(said) == 1


def test_what_a_killed_writer_left_is_no_checkpoint(tmp_path: Path) -> None:
    import torch

    checkpoints.write(tmp_path, 5, {"x": torch.ones(2)}, {}, keep=2)
    (tmp_path / ".step-000000009.123").mkdir()
    found = checkpoints.newest(tmp_path, pytest.fail)
    assert found is not None
    assert found.step == 5
