"""Laws of every encoder and decoder."""

import pytest
import torch

from dirlearn.decoders.decoder import build_decoder
from dirlearn.encoders.encoder import LARGEST_LOGVAR, JointEncoder, build_encoder
from dirlearn.layers import normalisation

SMALL = {
    "light": {"width": 8, "channels": 4, "blocks": 1},
    "pix2pix": {"depth": 3, "base": 4, "channels": 4},
    "resnet": {"depth": 2, "base": 4, "channels": 4, "blocks": 1},
    "unet_encoder": {"base": 4, "channels": 4},
}
DECODERS = [
    {"light": {"width": 8, "blocks": 1}},
    {"pix2pix": {"base": 4}},
    {"pix2pix": {"base": 4, "upsample": "resize"}},
]


def encoder(name: str):
    torch.manual_seed(0)
    return build_encoder({name: SMALL[name]})


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [(32, 48), (33, 17), (9, 40)])
def test_any_size_goes_in_and_comes_out(name: str, size: tuple[int, int]) -> None:
    e = encoder(name)
    x = torch.rand(2, 3, *size)
    p = e(x)
    assert p.mean.shape == p.logvar.shape == (2, e.channels, -(-size[0] // e.stride), -(-size[1] // e.stride))
    assert p.features.shape[1] == e.width
    for node in DECODERS:
        assert build_decoder(node, e)(p.mean, size).shape == x.shape
    joint = JointEncoder(e)(p.features, p.features)
    assert joint.mean.shape == p.mean.shape


@pytest.mark.parametrize("name", SMALL)
def test_log_variance_is_bounded(name: str) -> None:
    e = encoder(name)
    with torch.no_grad():
        for parameter in e.head.parameters():
            parameter.mul_(1e4)
    assert e(torch.rand(1, 3, 32, 32)).logvar.abs().max() <= LARGEST_LOGVAR


@pytest.mark.parametrize("name", SMALL)
def test_samples_do_not_see_each_other(name: str) -> None:
    e = encoder(name).train()
    x = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(e(x).mean[1:2], e(x[1:2]).mean, rtol=1e-4, atol=1e-5)


def test_a_posterior_is_sampled_with_its_mean_and_deviation() -> None:
    p = encoder("light")(torch.rand(1, 3, 16, 16))
    assert torch.equal(p.sample(torch.zeros_like(p.mean)), p.mean)
    torch.testing.assert_close(p.sample(torch.ones_like(p.mean)) - p.mean, (0.5 * p.logvar).exp())


@pytest.mark.parametrize("kind", ["layer", "instance", "group", "none"])
def test_norms_without_batch_statistics_have_no_buffers(kind: str) -> None:
    norm = normalisation(kind, 8)
    assert list(norm.buffers()) == []
    x = torch.randn(3, 8, 5, 4)
    torch.testing.assert_close(norm(x)[:1], norm(x[:1]), rtol=1e-4, atol=1e-5)


def test_pix2pix_decoder_needs_a_power_of_two() -> None:
    from dirlearn.component import build

    with pytest.raises(ValueError, match="power of two"):
        build("dirlearn.decoders", "pix2pix", channels=4, stride=6)


def test_networks_have_the_sizes_of_the_paper() -> None:
    e = build_encoder("pix2pix")
    assert (e.stride, e.channels) == (16, 256)
    assert [m.out_channels for m in e.modules() if isinstance(m, torch.nn.Conv2d)] == [64, 128, 256, 512]
