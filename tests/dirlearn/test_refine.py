"""Stage II changes the alignment and nothing else, and learns through the decoder."""

import torch
from torch import nn

from dirlearn.refine import Refine
from dirlearn.run import Runner
from dirlearn.training.data import Needs, Stream

NORMED = (
    "networks.encoder={pix2pix: {depth: 2, base: 4, channels: 4, norm: batch}}",
    "networks.decoder={pix2pix: {base: 4, norm: batch}}",
)


def state(module: nn.Module) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in module.state_dict().items()}


def test_frozen_networks_keep_every_bit_buffers_included(tiny) -> None:
    recipe = tiny(*NORMED)
    runner = Runner(recipe)
    runner.prepare()
    representation = runner.stage1()
    before = state(representation)
    assert any("running_mean" in name for name in before)
    assert any("num_batches_tracked" in name and bytes(value) != bytes(8) for name, value in before.items())
    job = runner.method(recipe.methods[2], representation)
    assert isinstance(job, Refine)
    assert state(representation) == before
    assert not any(module.training for module in representation.modules())


def test_gradients_reach_the_alignment_through_the_decoder(tiny) -> None:
    """With the L1 of representations left out, all that the alignment learns comes through D*."""
    recipe = tiny()
    runner = Runner(recipe)
    job = Refine(_fresh(recipe), recipe.methods[2].training)
    job.train()
    stream = Stream(runner.train_data, recipe.views, job.needs, 0, 4, 16)
    batch = stream[0]
    job.forward(batch, 0).terms["l1"].backward()
    assert job.alignment.last.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in job.representation.parameters())


def test_pilot_and_target_are_means_and_carry_no_gradient(tiny) -> None:
    recipe = tiny("stage2.alignment=identity")
    representation = _fresh(recipe)
    job = Refine(representation, recipe.methods[2].training)
    stream = Stream(Runner(recipe).train_data, recipe.views, Needs(views=1), 0, 4, 16)
    batch = stream[0]
    found = job(batch, 0)
    expected = (representation.dir(batch.views[0]).mean - representation.dfr(batch.clean).mean).abs().mean()
    torch.testing.assert_close(found.terms["alignment"], expected)
    assert not found.loss.requires_grad


def test_an_alignment_without_parameters_needs_no_training(tiny) -> None:
    from dirlearn.run import load_method, restore_pictures

    recipe = tiny("methods={as it is: {refine: {alignment: identity}}}")
    results = Runner(recipe).everything()
    assert results["parameters"]["as it is"]["trained"] == 0
    x = torch.rand(1, 3, 16, 16)
    job = load_method(recipe, "as it is")
    found = job.representation
    with torch.no_grad():
        expected = found.decoder(found.dir(x).mean, (16, 16)).clamp(0, 1)
    assert torch.equal(restore_pictures(job, x), expected)


def test_only_what_is_trained_is_saved_and_moved(tiny) -> None:
    recipe = tiny()
    job = Refine(_fresh(recipe), recipe.methods[2].training)
    assert {name.split(".")[0] for name in job.state_dict()} == {"alignment"}
    job.double()
    assert next(job.representation.parameters()).dtype == torch.float64


def _fresh(recipe):
    from dirlearn.represent import Representation

    torch.manual_seed(0)
    return Representation(recipe.networks)
