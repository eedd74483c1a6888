import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim import elementary
from isp_sim.elementary import apply_matrix, at_most, between, blockwise, positive_power, power, total


def bits(x):
    return x.contiguous().numpy().tobytes()


class TestBetween:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_is_where_to_the_bit(self, dtype):
        x, yes, no = torch.randn(3, 5, 1031, dtype=dtype)
        x[0, :7] = 0.25
        found = between(at_most(x, 0.25), yes, no)
        assert bits(found) == bits(torch.where(x <= 0.25, yes, no))

    def test_each_side_gets_the_gradient_where_it_is_taken(self):
        x = torch.tensor([0.0, 1.0])
        yes, no = torch.tensor([[3.0, 3.0], [5.0, 5.0]], requires_grad=True).unbind(0)
        yes.retain_grad(), no.retain_grad()
        between(at_most(x, 0.5), yes, no).sum().backward()
        assert yes.grad.tolist() == [1, 0]
        assert no.grad.tolist() == [0, 1]


class TestPower:
    @given(st.floats(0, 1e6), st.floats(0.05, 5))
    def test_is_the_power(self, x, exponent):
        found = power(torch.tensor([x], dtype=torch.float64), exponent).item()
        assert found == pytest.approx(x**exponent, rel=1e-13, abs=1e-300)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("exponent", [1 / 2.4, 2.4])
    @pytest.mark.parametrize("power", [power, positive_power])
    def test_equal_bits_whatever_shape_and_stride(self, dtype, exponent, power):
        x = torch.rand(4097, dtype=dtype) * 2 + 1e-9
        whole = power(x, exponent)
        one_by_one = torch.stack([power(value, exponent) for value in x[:200]])
        assert bits(one_by_one) == bits(whole[:200])
        for part in (slice(1, None), slice(None, None, 3), slice(5, 14)):
            assert bits(power(x[part], exponent)) == bits(whole[part])

    def test_at_zero_and_below(self):
        x = torch.tensor([0.0, -1.0, -0.0], requires_grad=True)
        y = power(x, 0.4)
        y.sum().backward()
        assert y.tolist() == [0, 0, 0]
        assert x.grad.tolist() == [0, 0, 0]

    def test_an_exponent_a_sample(self):
        x = torch.rand(2, 3, 4, 5, dtype=torch.float64)
        exponents = torch.tensor([0.5, 2.0], dtype=torch.float64).reshape(2, 1, 1, 1)
        np.testing.assert_allclose(power(x, exponents), x.numpy() ** exponents.numpy(), rtol=1e-14)


class TestApplyMatrix:
    @pytest.mark.parametrize(("n", "m"), [(3, 3), (2, 3), (4, 1)])
    def test_is_the_product(self, n, m):
        x, matrix = torch.rand(2, m, 5, 7, dtype=torch.float64), torch.rand(2, n, m, dtype=torch.float64)
        expected = np.einsum("bnm,bmyx->bnyx", matrix, x)
        np.testing.assert_allclose(apply_matrix(x, matrix), expected, rtol=1e-14)

    def test_equal_bits_whatever_the_batch(self):
        x, matrix = torch.rand(5, 3, 33, 31), torch.rand(5, 3, 3)
        whole = apply_matrix(x, matrix)
        for i in range(5):
            assert bits(apply_matrix(x[i : i + 1], matrix[i : i + 1])) == bits(whole[i : i + 1])


class TestBlockwise:
    """A pointwise function in blocks; the pictures here are larger than a block."""

    @staticmethod
    def function(x, table):
        return torch.exp(-x * table[:, :1]) + torch.where(x > 0.5, torch.log1p(x), power(x.clamp_min(0), 0.4))

    @pytest.mark.parametrize("layout", ["contiguous", "channels last", "every second"])
    def test_equal_bits_as_in_one_piece(self, layout, monkeypatch):
        x = torch.rand(2, 3, 311, 307)
        monkeypatch.setattr(elementary, "BLOCK", 1 << 17)
        assert x[0].numel() > 2 * elementary.BLOCK
        table = torch.rand(2, 1)
        expected = self.function(x.reshape(2, -1), table).reshape(x.shape)
        if layout == "channels last":
            x = x.contiguous(memory_format=torch.channels_last)
        if layout == "every second":
            x = torch.stack([x, x], dim=-1).flatten(-2)[..., ::2]
        threads = torch.get_num_threads()
        try:
            for count in (1, 2):
                torch.set_num_threads(count)
                assert bits(blockwise(self.function, x, table)) == bits(expected)
        finally:
            torch.set_num_threads(threads)
        assert bits(blockwise(self.function, x[1:], table[1:])) == bits(expected[1:])

    def test_gradients_pass(self, monkeypatch):
        monkeypatch.setattr(elementary, "BLOCK", 100)
        x = torch.rand(1, 3, 31, 37, dtype=torch.float64, requires_grad=True)
        blockwise(torch.square, x).sum().backward()
        assert torch.equal(x.grad, 2 * x.detach())

    def test_small_things(self):
        assert blockwise(torch.square, torch.tensor(3.0)).item() == 9
        assert blockwise(torch.square, torch.zeros(2, 0)).shape == (2, 0)

    @pytest.mark.parametrize(
        ("name", "transfer"), [("srgb_oetf", "linear"), ("srgb_eotf", "srgb"), ("tone_curve", "linear")]
    )
    def test_stages_on_a_large_picture(self, tools, name, transfer, monkeypatch):
        monkeypatch.setattr(elementary, "BLOCK", 1 << 17)
        from isp_sim.signal import Signal

        signal = Signal(transfer=transfer, reference="scene" if name == "tone_curve" else "display")
        params = {"points": [[0, 0], [0.3, {"uniform": [0.4, 0.6]}], [1, 1]]} if name == "tone_curve" else None
        tools.assert_engine_laws(name, tools.picture(signal, batch=2, size=(229, 231), low=-0.1, high=1.1), params)


class TestTotal:
    @given(st.integers(0, 70), st.integers(0, 99))
    def test_is_the_sum(self, n, seed):
        x = torch.from_numpy(np.random.default_rng(seed).normal(size=(2, 3, n)))
        np.testing.assert_allclose(total(x), x.numpy().sum(axis=-1), rtol=1e-13, atol=1e-13)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_equal_bits_whatever_else_there_is(self, dtype):
        x = torch.rand(5, 3, 40001, generator=torch.Generator().manual_seed(1)).to(dtype)
        whole = total(x)
        strided = torch.stack([x, x + 1], dim=-1).flatten(-2)[..., ::2]
        assert bits(total(strided)) == bits(whole)
        assert bits(total(x.transpose(1, 2).contiguous().transpose(1, 2))) == bits(whole)
        assert all(bits(total(x[i, j])) == bits(whole[i, j]) for i in range(5) for j in range(3))

    def test_the_gradient_is_1(self):
        x = torch.rand(2, 7, requires_grad=True)
        total(x).sum().backward()
        assert bool((x.grad == 1).all())
