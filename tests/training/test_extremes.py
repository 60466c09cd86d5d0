import pytest
import torch

from automm.extremes import amax


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_values_and_gradients_are_those_of_torch_where_nothing_ties(dim):
    x = torch.randn(3, 5, 4, dtype=torch.double, requires_grad=True)
    torch.testing.assert_close(amax(x, dim), x.amax(dim))
    weight = torch.randn_like(x.amax(dim))
    ours, theirs = (torch.autograd.grad((y * weight).sum(), x)[0] for y in (amax(x, dim), x.amax(dim)))
    torch.testing.assert_close(ours, theirs)


def test_the_gradient_is_the_derivative():
    x = torch.randn(2, 4, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: amax(x, 1), x)


def test_minus_infinity_is_no_obstacle():
    x = torch.tensor([[1.0, -torch.inf, 3.0]], requires_grad=True)
    amax(x, 1).sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0, 1.0]]
