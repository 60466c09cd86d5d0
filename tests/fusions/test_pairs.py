import pytest
import torch

from automm.errors import OutOfRange
from automm.fusions.cross_attention import CrossAttention
from automm.fusions.pairs import PairBlock
from automm.testing import samples

FIELDS = samples.FIELDS["image and text"]


def build(**options):
    torch.manual_seed(0)
    return CrossAttention(FIELDS, dim=8, heads=2, **options).eval()


def run(fusion, items):
    with torch.no_grad():
        return fusion({field: fusion.prepare(field, x) for field, x in items.items()})[0].pooled_BD


def naive(block, x, mask):
    """The docstring's equation, one pair at a time."""
    n = block.norm(x)
    units = block.message.out_features
    messages = torch.zeros(*x.shape[:2], 2 * units)
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            sent = []
            for j in range(x.shape[1]):
                if i != j and mask[row, j]:
                    of_i, _ = block.first_ij(n[row, i]).chunk(2)
                    _, of_j = block.first_ij(n[row, j]).chunk(2)
                    square = (block.direction(n[row, i]) - block.direction(n[row, j])) ** 2
                    sent.append(block.message(torch.nn.functional.gelu(of_i + of_j + block.square(square))))
            if sent:
                stacked = torch.stack(sent)
                messages[row, i] = torch.cat([stacked.amax(0), -stacked.amin(0)])
    middle = x + block.out(messages)
    return middle + block.feed(block.feed_norm(middle))


def test_messages_are_those_of_the_equation():
    torch.manual_seed(0)
    block = PairBlock(8, units=6, differences=3)
    x = torch.randn(3, 5, 8)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]).bool()
    with torch.no_grad():
        torch.testing.assert_close(block(x, mask), naive(block, x, mask), atol=1e-5, rtol=1e-4)


def test_gradients_are_those_of_the_equation():
    torch.manual_seed(0)
    block = PairBlock(8, units=6, differences=3)
    x = torch.randn(3, 5, 8, requires_grad=True)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]).bool()
    wanted = [x, *block.parameters()]
    ours, theirs = (torch.autograd.grad(y.sin().sum(), wanted) for y in (block(x, mask), naive(block, x, mask)))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-3)


def test_one_layer_can_learn_the_shape_of_the_nearest():
    """Distances to the nearest of either kind are two maxima: no depth is needed."""
    torch.manual_seed(0)
    block, head = PairBlock(16, units=32, differences=4), torch.nn.Linear(16, 2)
    embed = torch.nn.Linear(3, 16)
    optimizer = torch.optim.Adam([*block.parameters(), *head.parameters(), *embed.parameters()], lr=5e-3)
    mask = torch.ones(256, 4, dtype=torch.bool)
    right = []
    for _ in range(250):
        place, kind = torch.rand(256, 4, 2) * 2 - 1, torch.randint(0, 2, (256, 4))
        distance = torch.cdist(place, place) + torch.eye(4) * 9
        wanted = kind.gather(1, distance[:, 0].argmin(1)[:, None])[:, 0]
        logits = head(block(embed(torch.cat([place, kind[..., None] * 2.0 - 1], -1)), mask)[:, 0])
        loss = torch.nn.functional.cross_entropy(logits, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right.append((logits.argmax(1) == wanted).float().mean().item())
    # guessing the majority of the three others is right in three of four
    assert sum(right[-20:]) / 20 > 0.8


@pytest.mark.parametrize("readers", ["all", "summary"])
def test_padding_changes_nothing_where_tokens_pair(readers):
    fusion = build(context="pairs", context_layers=2, readers=readers)
    items = samples.features(FIELDS, 3)
    changed = {
        name: f._replace(tokens_BND=torch.where(f.mask_BN[..., None], f.tokens_BND, torch.full_like(f.tokens_BND, 7.0)))
        for name, f in items.items()
    }
    torch.testing.assert_close(run(fusion, items), run(fusion, changed))


def test_an_unknown_context_is_refused():
    with pytest.raises(OutOfRange, match="attention, pairs"):
        build(context="graph")
