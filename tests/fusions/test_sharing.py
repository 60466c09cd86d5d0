"""Rows that share an item read its keys together, with the numbers they would get alone."""

import pytest
import torch

from automm.fusions.attention import ReadBlock
from automm.fusions.sharing import Context, read_as_one


@pytest.fixture
def block():
    torch.manual_seed(0)
    return ReadBlock(8, heads=2, dropout=0.0)


@pytest.mark.parametrize(
    ("rows", "folded"),
    [
        ([0, 0, 1, 1, 2, 2], True),
        ([2, 0, 1, 2, 1, 0, 2], True),  # out of order, uneven
        ([0, 0, 0, 0, 0, 0, 1], False),  # too uneven: three items of six places for seven rows
        ([0, 1, 2], False),  # nothing to share
        ([1, 1, 1, 2, 2, 2], True),  # an item without rows
    ],
)
def test_reading_together_is_reading_alone(block, rows, folded):
    keys, mask = torch.randn(3, 5, 16), torch.rand(3, 5) < 0.5
    mask[:, 0] = True
    rows = torch.tensor(rows)
    x = torch.randn(len(rows), 2, 8, requires_grad=True)
    context = Context.shared(keys, mask, rows)
    assert (context.slots is not None) == folded

    together = context.read(block, x)
    alone = torch.cat([block(x[b : b + 1], keys[r : r + 1], mask[r : r + 1]) for b, r in enumerate(rows)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    (left,) = torch.autograd.grad(together.square().sum(), x)
    (right,) = torch.autograd.grad(alone.square().sum(), x)
    torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-4)


def test_a_reader_takes_its_share_of_packed_keys(block):
    keys, mask, x = torch.randn(2, 5, 32), torch.ones(2, 5, dtype=torch.bool), torch.randn(2, 3, 8)
    torch.testing.assert_close(Context(keys, mask).read(block, x, slice(16, 32)), block(x, keys[..., 16:], mask))


def test_several_contexts_are_read_as_one_that_holds_all_their_keys(block):
    """Two that rows share, each in its own way, and one of the rows' own; some keys are no valid ones."""
    images, texts = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([1, 0, 0, 0, 0, 1])
    keys = [torch.randn(6, 1, 16), torch.randn(3, 5, 16), torch.randn(2, 4, 16)]
    masks = [torch.ones(6, 1, dtype=torch.bool), torch.rand(3, 5) < 0.5, torch.rand(2, 4) < 0.5]
    query = torch.randn(6, 2, 8, requires_grad=True)
    contexts = [Context(keys[0], masks[0]), *map(Context.shared, keys[1:], masks[1:], (images, texts))]
    assert contexts[1].slots is not None
    assert contexts[2].slots is not None

    joint = read_as_one(block.attention, query, contexts)
    rows = [torch.arange(6), images, texts]
    alone = block.attention(
        query,
        torch.cat([each[at] for each, at in zip(keys, rows, strict=True)], dim=1),
        torch.cat([each[at] for each, at in zip(masks, rows, strict=True)], dim=1),
    )
    torch.testing.assert_close(joint, alone, atol=1e-5, rtol=1e-4)
    (left,) = torch.autograd.grad(joint.square().sum(), query)
    (right,) = torch.autograd.grad(alone.square().sum(), query)
    torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-4)
