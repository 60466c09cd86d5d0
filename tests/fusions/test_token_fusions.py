"""Each fusion of tokens against its paper's mechanism, computed another way."""

import pytest
import torch

from automm.errors import OutOfRange
from automm.fusions.attention import SelfBlock
from automm.fusions.bottleneck import Bottleneck
from automm.fusions.cross_attention import CrossAttention
from automm.fusions.film import FiLM
from automm.fusions.merged_transformer import MergedTransformer
from automm.fusions.projection import focus
from automm.fusions.relation import Relation
from automm.testing import samples
from automm.types import Features, FeatureSpec

TWO = samples.FIELDS["image and text"]
THREE = samples.FIELDS["image, text and a number"]
IMAGES = samples.FIELDS["two images and a text"]
TINY = {"dim": 8, "heads": 2}


def prepared(fusion, items):
    return {field: fusion.prepare(field, x) for field, x in items.items()}


def run(fusion, items):
    with torch.no_grad():
        return fusion(prepared(fusion, items))[0].pooled_BD


def build(make, specs=TWO, **options):
    torch.manual_seed(0)
    return make(specs, **TINY, **options).eval()


def with_other_tokens(items, field):
    tokens = items[field].tokens_BND
    return {**items, field: items[field]._replace(tokens_BND=tokens.flip(0) + 1)}


def test_attention_is_softmax_of_cosines_by_a_learned_temperature():
    torch.manual_seed(0)
    block = SelfBlock(8, heads=2, dropout=0.0)
    x, mask = torch.randn(3, 5, 8), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 1, 0, 1]]).bool()
    normed = block.norm(x)
    query, (key, value) = block.attention.query(normed), block.keys(normed).chunk(2, -1)
    assert torch.equal(block.keys_of(x)[..., 8:], value)
    block.attention.sharpness_H11.data = torch.tensor([3.0, 5.0]).view(2, 1, 1)
    read = torch.zeros(3, 5, 8)
    for row in range(3):
        for head, temperature in ((slice(0, 4), 3.0), (slice(4, 8), 5.0)):
            cosine = torch.nn.functional.cosine_similarity
            scores = temperature * cosine(query[row, :, None, head], key[row, None, :, head], dim=-1)
            scores[:, ~mask[row]] = -torch.inf
            read[row, :, head] = scores.softmax(-1) @ value[row, :, head]
    middle = x + block.attention.out(read)
    expected = middle + block.feed(block.feed_norm(middle))
    torch.testing.assert_close(block(x, mask), expected)
    torch.testing.assert_close(block(x, mask, first=1), expected[:, :1])


@pytest.mark.parametrize("before", [0, 1])
def test_attention_over_a_grid_adds_a_number_by_offset_and_head(before):
    """Scores with the bias, by the definition: what the head's table holds for (rows down, columns across)."""
    torch.manual_seed(0)
    attention = SelfBlock(8, heads=2, dropout=0.0, grid=(2, 3)).attention
    bias = attention.bias
    x, mask = torch.randn(2, before + 6, 8), torch.ones(2, before + 6, dtype=torch.bool)
    keys = torch.randn(2, before + 6, 16)
    plain = attention(x, keys, mask)
    attention.bias = None
    torch.testing.assert_close(attention(x, keys, mask), plain)  # all of it is 0 at the start
    torch.nn.init.normal_(bias.table_RH)
    scores = bias(before + 6, before + 6)
    for head in range(2):
        of_offset = {}
        for one, (y, x_) in enumerate((y, x_) for y in range(2) for x_ in range(3)):
            for other, (v, u) in enumerate((v, u) for v in range(2) for u in range(3)):
                of_offset.setdefault((v - y, u - x_), set()).add(scores[head, before + one, before + other].item())
        assert len(of_offset) == 3 * 5
        assert all(len(found) == 1 for found in of_offset.values())
        assert len({next(iter(found)) for found in of_offset.values()}) == 3 * 5
        assert len(set(scores[head, :before].flatten().tolist())) == before  # a summary has one number for all


def test_heads_must_divide_the_width():
    with pytest.raises(OutOfRange, match="width 10 cannot be split into 4 heads"):
        MergedTransformer(TWO, dim=10)


@pytest.mark.parametrize(("objects", "layers"), [(6, 1), (6, 3), (4, 2)])
@pytest.mark.parametrize("specs", [TWO, THREE, (samples.IMAGE,)])
def test_relation_is_the_double_loop_of_its_paper(specs, objects, layers):
    fusion = build(Relation, specs, objects=objects, layers=layers, pair=5, hidden=7, context_layers=0)
    items = samples.features(specs, 3)
    tokens, mask, _ = fusion.tokens(items["image"])
    if objects < samples.IMAGE.tokens:
        tokens, mask = fusion.summarise(tokens, mask)
        assert tokens.shape == (3, objects, 8)
    w_i, w_j = fusion.first_ij.weight.chunk(2)
    b_i, b_j = fusion.first_ij.bias.chunk(2)
    others = [s.field for s in specs if s.field != "image"]
    weight = torch.cat([w_i, w_j, *(fusion.first_q[f].linear.weight for f in others)], 1)
    bias = b_i + b_j + sum(fusion.first_q[f].linear.bias for f in others)
    rows = []
    for row in range(3):
        question = [fusion.first_q[f].norm(items[f].pooled_BD[row]) for f in others]
        pairs = []
        for i in range(tokens.shape[1]):
            for j in range(tokens.shape[1]):
                if mask[row, i] and mask[row, j]:
                    g = torch.relu(weight @ torch.cat([tokens[row, i], tokens[row, j], *question]) + bias)
                    for layer in fusion.g:
                        g = torch.relu(layer(g))
                    pairs.append(g)
        rows.append(sum(pairs) / len(pairs))
    expected = fusion.f(torch.stack(rows))
    torch.testing.assert_close(run(fusion, items), expected.detach(), atol=1e-5, rtol=1e-4)


def test_relation_refuses_what_has_no_pairs():
    reason = Relation.accepts(samples.FIELDS["a number and a category"])
    assert "age, colour" in reason
    assert "none has them" in reason


def test_film_modulates_the_image_by_the_question():
    fusion = build(FiLM, THREE, blocks=2, context_layers=0)
    items = samples.features(THREE, 3)
    condition = fusion.condition["question"](items["question"].pooled_BD) + fusion.condition["age"](
        items["age"].pooled_BD
    )
    film = fusion.modulate(condition).view(3, 2, 2, 8)  # row, block, gamma or beta, unit
    image = fusion.tokens(items["image"])
    rows = []
    for row in range(3):
        tokens = [image.pooled_BD[row], *image.tokens_BND[row][image.mask_BN[row]]]
        for at, block in enumerate(fusion.blocks):
            gamma, beta = 1 + film[row, at, 0], film[row, at, 1]
            for n, x in enumerate(tokens):
                h = block.linear.weight @ x
                h = (h - h.mean()) / torch.sqrt(h.var(unbiased=False) + 1e-5)
                tokens[n] = x + torch.relu(gamma * h + beta)
        stacked = torch.stack(tokens)
        rows.append(torch.cat([stacked.mean(0), stacked.amax(0)]))
    torch.testing.assert_close(run(fusion, items), fusion.norm(torch.stack(rows)).detach(), atol=1e-5, rtol=1e-4)


def test_film_reads_of_other_fields_the_pooled_vector_alone():
    fusion, items = build(FiLM), samples.features(TWO, 3)
    assert torch.equal(run(fusion, with_other_tokens(items, "question")), run(fusion, items))
    assert not torch.allclose(run(fusion, with_other_tokens(items, "image")), run(fusion, items))


@pytest.mark.parametrize("readers", ["all", "others"])
@pytest.mark.parametrize("specs", [TWO, IMAGES])
def test_cross_attention_is_invariant_to_the_order_of_tokens_without_positions(specs, readers):
    fusion = build(CrossAttention, specs, positions=False, readers=readers, layers=3)
    items = samples.features(specs, 3)
    order = torch.tensor([4, 2, 0, 1, 3])
    shuffled = {**items, "question": items["question"]._replace(
        tokens_BND=items["question"].tokens_BND[:, order], mask_BN=items["question"].mask_BN[:, order]
    )}  # fmt: skip
    torch.testing.assert_close(run(fusion, shuffled), run(fusion, items), atol=1e-5, rtol=1e-4)

    placed = build(CrossAttention, specs, positions=True, readers=readers, layers=3)
    assert not torch.allclose(run(placed, shuffled), run(placed, items), atol=1e-3)


def summaries(fusion, items, dim=8):
    """What each field's summary became, by field; the readout is undone up to its norm."""
    fusion.norm = torch.nn.Identity()
    out = run(fusion, items)
    return {f: out[:, at * dim : (at + 1) * dim] for at, f in enumerate(fusion.fields)}


@pytest.mark.parametrize(("reader", "read"), [("image", "question"), ("question", "image")])
def test_cross_attention_reads_in_both_directions(reader, read):
    fusion = build(CrossAttention, context_layers=0, layers=1)
    items = samples.features(TWO, 3)
    before, after = summaries(fusion, items), summaries(fusion, with_other_tokens(items, read))
    assert not torch.allclose(before[reader], after[reader])
    assert torch.equal(before[read], after[read])  # one layer: a field does not read itself


def test_a_second_layer_of_cross_attention_reads_what_the_first_changed():
    """The image changes the question's tokens, which the image then reads: its own tokens come back to it."""
    fusion = build(CrossAttention, context_layers=0, layers=2)
    items = samples.features(TWO, 3)
    before, after = summaries(fusion, items), summaries(fusion, with_other_tokens(items, "image"))
    assert not torch.allclose(before["image"], after["image"])


@pytest.mark.parametrize("readers", ["others", "summary"])
def test_a_still_field_is_read_and_reads_nothing(readers):
    fusion = build(CrossAttention, context_layers=0, layers=2, readers=readers)
    items = samples.features(TWO, 3)
    other_image, other_text = with_other_tokens(items, "image"), with_other_tokens(items, "question")
    assert torch.equal(run(fusion, items), run(fusion, other_text)) == (readers == "summary")  # whose tokens ask
    before = summaries(fusion, items)
    assert not torch.allclose(before["question"], summaries(fusion, other_image)["question"])
    assert torch.equal(before["image"], summaries(fusion, other_text)["image"])


def test_cross_attention_with_one_field_of_three_asking_each_other():
    fusion = build(CrossAttention, IMAGES, context_layers=0, layers=1)
    items = samples.features(IMAGES, 3)
    before = summaries(fusion, items)
    for read in ("left.image", "forward"):
        assert not torch.allclose(before["question"], summaries(fusion, with_other_tokens(items, read))["question"])


@pytest.mark.parametrize("case", ["one image", "a number and a category", "one number"])
def test_cross_attention_refuses_what_it_cannot_attend_to(case):
    assert "cross_attention needs" in CrossAttention.accepts(samples.FIELDS[case])


def test_cross_attention_names_the_readers_it_knows():
    with pytest.raises(OutOfRange, match="all, others, summary"):
        CrossAttention(TWO, readers="both")


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_merged_transformer_is_one_encoder_over_all_tokens(layers):
    fusion = build(MergedTransformer, THREE, layers=layers)
    items = samples.features(THREE, 3)
    with torch.no_grad():
        parts = [fusion.project[f](x) for f, x in items.items()]
        x = torch.cat([sum(p.pooled_BD for p in parts)[:, None], *(p.tokens_BND for p in parts)], 1)
        mask = torch.cat([torch.ones(3, 1, dtype=torch.bool), *(p.mask_BN for p in parts)], 1)
        for block in fusion.blocks:  # whose own equation is tested above
            x = block(x, mask)
        expected = fusion.norm(x[:, 0])
    torch.testing.assert_close(run(fusion, items), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("layers", [1, 2])
def test_rows_of_a_merged_transformer_share_items_with_the_numbers_they_would_get_alone(layers):
    fusion, items = build(MergedTransformer, layers=layers), samples.features(TWO, 3)
    rows = {"image": torch.tensor([0, 0, 1, 1, 2, 2]), "question": torch.tensor([2, 0, 0, 1, 2, 0])}
    with torch.no_grad():
        ready = prepared(fusion, items)
        together = fusion.fuse(ready, rows)[0].pooled_BD
        alone = fusion({f: Features(*(x[rows[f]] for x in ready[f])) for f in ready})[0].pooled_BD
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_fields_meet_in_the_latents_of_a_bottleneck_alone():
    """The latents are what is read out, and with every read silenced no token reaches them."""
    fusion, items = build(Bottleneck, latents=3, layers=2, context_layers=0), samples.features(TWO, 3)
    before = run(fusion, items)
    assert not torch.allclose(before, run(fusion, with_other_tokens(items, "image")))
    assert not torch.allclose(before, run(fusion, with_other_tokens(items, "question")))
    for field in fusion.order:
        for block in fusion.read[field]:
            torch.nn.init.zeros_(block.attention.out.weight)
    silent = run(fusion, items)
    for field in fusion.order:
        assert torch.equal(run(fusion, with_other_tokens(items, field)), silent)


def test_a_bottleneck_is_what_its_definition_says():
    fusion, items = build(Bottleneck, latents=3, layers=2, context_layers=0), samples.features(TWO, 3)
    heads = fusion.exchange[0].attention.heads
    with torch.no_grad():
        parts = {f: fusion.project[f](x) for f, x in items.items()}
        latents = fusion.latents_KD + sum(p.pooled_BD for p in parts.values())[:, None]
        for layer in range(2):
            for field in ("question", "image"):  # the one with the most to read last
                norm, linear = fusion.keys[field]
                packed = linear(norm(parts[field].tokens_BND))[..., 16 * layer : 16 * (layer + 1)]
                key = torch.nn.functional.normalize(packed[..., :8].unflatten(-1, (heads, -1)), dim=-1).flatten(-2)
                keys = torch.cat([key, packed[..., 8:]], dim=-1)
                latents = fusion.read[field][layer](latents, keys, parts[field].mask_BN)
            latents = fusion.exchange[layer](latents, torch.ones(3, 3, dtype=torch.bool))
        expected = fusion.out(latents)
    torch.testing.assert_close(run(fusion, items), expected)


def test_the_field_in_focus_is_an_image_before_a_longer_text():
    long_text = FeatureSpec("text", "text", 8, 512, True)
    pooled_image = FeatureSpec("photo", "image", 8, 1, False)
    small, large = FeatureSpec("small", "image", 8, 9, True), FeatureSpec("large", "image", 8, 49, True)
    assert focus([long_text, small]) == "small"
    assert focus([small, long_text, large]) == "large"
    assert focus([pooled_image, long_text]) == "text"
    assert focus([pooled_image, samples.AGE]) == "photo"


@pytest.mark.parametrize("make", [FiLM, CrossAttention, MergedTransformer, Bottleneck, Relation])
def test_context_layers_let_tokens_of_one_field_see_each_other(make):
    """A change to one image token changes what `prepare` makes of another, only with context layers.

    Those start as the identity, so that it takes other weights than the first to see it.
    """
    items = samples.features(TWO, 3)["image"]
    items = items._replace(mask_BN=torch.ones_like(items.mask_BN))
    tokens = items.tokens_BND.clone()
    tokens[:, 5] = torch.randn(8)
    for layers, seen in ((0, False), (1, True)):
        fusion = build(make, context_layers=layers, **({"objects": 6} if make is Relation else {}))
        for trained in (False, True):
            if trained:
                for parameter in fusion.parameters():
                    parameter.data += 0.1 * torch.randn_like(parameter)
            first, second = (
                fusion.prepare("image", x).tokens_BND[:, 0] for x in (items, items._replace(tokens_BND=tokens))
            )
            assert torch.allclose(first, second) != (seen and trained)


def test_a_text_gets_no_further_context():
    """Its tokens have seen each other in its encoder; layers over them would cost more than those over an image."""
    fusion = build(MergedTransformer, context_layers=2)
    items = samples.features(TWO, 3)[samples.TEXT.field]
    changed = items._replace(tokens_BND=torch.cat([items.tokens_BND[:, :-1], items.tokens_BND[:, -1:] + 1], 1))
    first, second = (fusion.prepare(samples.TEXT.field, x).tokens_BND[:, 0] for x in (items, changed))
    torch.testing.assert_close(first, second)
