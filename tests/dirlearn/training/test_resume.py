"""A run that was killed and resumed is the run that was not, to the last bit."""

import json
import multiprocessing
import os
import shutil
import signal
import socket
from pathlib import Path

import pytest
import safetensors.torch
import torch

from dirlearn.recipe import Recipe
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


def test_two_processes_killed_and_resumed_are_bit_equal(tiny) -> None:
    """One of them dies, and the other with it, in either stage."""
    methods = "methods={degraded: degraded, aligned: refine}"
    expected, recipe = tiny(methods, folder="whole"), tiny(methods, folder="killed")
    assert together(expected, "nowhere", 0) == [0, 0]
    for name, step in (("stage1", 3), ("aligned", 1)):
        assert together(recipe, name, step) == [-signal.SIGKILL] * 2
    assert together(recipe, "nowhere", 0) == [0, 0]
    assert weights(recipe.folder) == weights(expected.folder)
    assert logs(recipe.folder) == logs(expected.folder)


def together(recipe: Recipe, name: str, step: int) -> list[int | None]:
    """Two processes, of which the second ends itself; returns their exit codes."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    # forked from a process that has imported everything, and has none of the threads of the tests before
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["dirlearn.run", "dirlearn.training.samples"])
    processes = [server.Process(target=as_rank, args=(rank, port, recipe, name, step)) for rank in range(2)]
    for process in processes:
        process.start()
    processes[1].join(120)
    if step:
        processes[0].kill()
    processes[0].join(120)
    return [process.exitcode for process in processes]


def as_rank(rank: int, port: int, recipe: Recipe, name: str, step: int) -> None:
    torch.set_num_threads(1)
    about = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    os.environ.update(about, RANK=str(rank), LOCAL_RANK=str(rank))
    go_on(recipe, name, step if rank else 0)


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


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def no_json(path: Path) -> None:
    (path.parent / checkpoints.ABOUT).write_bytes(b"\0" * 100)


@pytest.mark.parametrize(
    ("damaged", "message"),
    [(cut_short, "is not as it was written"), (flip_a_bit, "is not as it was written"), (no_json, "is damaged")],
)
def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_taken(tiny, damaged, message: str) -> None:
    recipe = tiny("stage1.steps=6", folder="damaged")
    expected = weights_of_stage1(tiny("stage1.steps=6", folder="sound"))
    runner = Runner(recipe)
    runner.prepare()
    runner.stage1()
    places = sorted((recipe.folder / "stage1" / "checkpoints").iterdir())
    assert [p.name for p in places] == ["step-000000004", "step-000000006"]
    damaged(places[-1] / checkpoints.TENSORS)
    shutil.rmtree(recipe.folder / "stage1" / "final")
    said: list[str] = []

    class Listener:
        def say(self, text: str) -> None:
            said.append(text)

        def step(self, *about: object) -> None: ...

    again = Runner(recipe, Listener(), resume=True)
    with pytest.warns(RuntimeWarning, match=f"stage1: .*{message}.*; going back to the checkpoint before it"):
        again.stage1()
    assert said == ["stage1: resumed after step 4"]
    assert weights(recipe.folder) == expected


def test_where_no_checkpoint_can_be_read_nothing_is_trained_anew(tiny) -> None:
    recipe = tiny("stage1.steps=6", folder="damaged")
    weights_of_stage1(recipe)
    shutil.rmtree(recipe.folder / "stage1" / "final")
    folder = recipe.folder / "stage1" / "checkpoints"
    for place in folder.iterdir():
        cut_short(place / checkpoints.TENSORS)
    with pytest.raises(checkpoints.CheckpointFault, match=r"none of the 2 checkpoints can be read") as caught:
        Runner(recipe, resume=True).stage1()
    assert f"remove {folder}" in str(caught.value)
    assert all(place.name in str(caught.value) for place in folder.iterdir())
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("damaged", [cut_short, flip_a_bit])
def test_damaged_final_weights_are_made_again(tiny, damaged) -> None:
    recipe = tiny()
    expected = weights_of_stage1(recipe)
    damaged(recipe.folder / "stage1" / "final" / checkpoints.TENSORS)
    with pytest.warns(RuntimeWarning, match="stage1: .*is not as it was written; making it again"):
        Runner(recipe, resume=True).stage1()
    assert weights(recipe.folder) == expected


def test_the_log_is_cut_at_once(tiny) -> None:
    """Killed while lines are dropped that will be written again, a run must not lose the others."""
    recipe = tiny("stage1.steps=6")
    expected = weights_of_stage1(recipe)
    lines, log = logs(recipe.folder), recipe.folder / "stage1" / "metrics.jsonl"
    before = log.read_text()
    shutil.rmtree(recipe.folder / "stage1" / "final")
    shutil.rmtree(recipe.folder / "stage1" / "checkpoints" / "step-000000006")
    with log.open() as old:
        Runner(recipe, resume=True).stage1()
        assert old.read() == before
    assert weights(recipe.folder) == expected
    assert logs(recipe.folder) == lines


def weights_of_stage1(recipe) -> dict[str, bytes]:
    runner = Runner(recipe)
    runner.prepare()
    runner.stage1()
    return weights(recipe.folder)


def test_checkpoints_of_another_recipe_are_refused(tiny) -> None:
    weights_of_stage1(tiny())
    changed = tiny("stage1.beta=0.5")
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
    place = checkpoints.write(tmp_path, 5, {"x": torch.ones(2)}, {}, keep=2)
    assert checkpoints.read(place).step == 5
    (place / checkpoints.ABOUT).write_text(damage)
    with pytest.raises(checkpoints.CheckpointFault):
        checkpoints.read(place)
    with pytest.raises(checkpoints.CheckpointFault, match="none of the 1 checkpoints"):
        checkpoints.newest(tmp_path, pytest.fail)


def test_what_a_killed_writer_left_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, 5, {"x": torch.ones(2)}, {}, keep=2)
    (tmp_path / ".step-000000009.123").mkdir()
    found = checkpoints.newest(tmp_path, pytest.fail)
    assert found is not None
    assert found.step == 5
    checkpoints.write(tmp_path, 9, {"x": torch.ones(2)}, {}, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000000005", "step-000000009"]


def test_a_checkpoint_just_written_is_kept_whatever_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "step-000000007").mkdir()  # damaged, of a later step
    checkpoints.write(tmp_path, 6, {"x": torch.ones(2)}, {}, keep=1)
    assert checkpoints.read(tmp_path / "step-000000006").step == 6
