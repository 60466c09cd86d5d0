"""Each fusion of pooled vectors against its paper's equation, computed another way."""

import math
from functools import reduce

import pytest
import torch
import torch.nn.functional as F

from automm.fusions.concat import Concat
from automm.fusions.gated import Gated
from automm.fusions.late import Late
from automm.fusions.lmf import LMF
from automm.fusions.mfb import MFB
from automm.fusions.towers import Towers
from automm.testing import samples

TWO = samples.FIELDS["image and text"]
THREE = samples.FIELDS["image, text and a number"]


def prepared(fusion, items):
    return {field: fusion.prepare(field, x) for field, x in items.items()}


def normalised(projection, pooled):
    return projection.norm(pooled)


@pytest.mark.parametrize("specs", [TWO, THREE])
def test_concat_is_an_mlp_over_the_concatenation(specs):
    torch.manual_seed(0)
    fusion, items = Concat(specs, hidden=7, layers=2), samples.features(specs, 4)
    shares = [fusion.first[s.field] for s in specs]
    x = torch.cat([normalised(p, items[s.field].pooled_BD) for p, s in zip(shares, specs, strict=True)], -1)
    weight = torch.cat([p.linear.weight for p in shares], 1)
    hidden = F.gelu(x @ weight.T + sum(p.linear.bias for p in shares))
    expected = F.gelu(fusion.rest[2](hidden))
    (stream,) = fusion(prepared(fusion, items))
    torch.testing.assert_close(stream.pooled_BD, expected)


def test_late_averages_decisions_that_know_nothing_of_each_other():
    torch.manual_seed(0)
    fusion, items = Late(THREE, hidden=7), samples.features(THREE, 4)
    with torch.no_grad():
        fusion.weight_F.copy_(torch.tensor([1.0, -1.0, 0.5]))
    streams = fusion(prepared(fusion, items))
    weights = torch.cat([s.weight_B for s in streams])
    torch.testing.assert_close(
        weights, torch.tensor([1.0, -1.0, 0.5]).exp() / torch.tensor([1.0, -1.0, 0.5]).exp().sum()
    )

    changed = {**items, "question": items["question"]._replace(pooled_BD=torch.zeros(4, 12))}
    other = fusion(prepared(fusion, changed))
    assert torch.equal(other[0].pooled_BD, streams[0].pooled_BD)
    assert torch.equal(other[2].pooled_BD, streams[2].pooled_BD)
    assert not torch.allclose(other[1].pooled_BD, streams[1].pooled_BD)


def test_gmu_of_two_fields_shares_one_gate():
    torch.manual_seed(0)
    hidden = 7
    fusion, items = Gated(TWO, hidden=hidden), samples.features(TWO, 4)
    h, z = [], 0.0
    for spec in TWO:
        projection, x = fusion.project[spec.field], items[spec.field].pooled_BD
        w, b, x = projection.linear.weight, projection.linear.bias, projection.norm(x)
        h.append(torch.tanh(x @ w[:hidden].T + b[:hidden]))
        z = z + x @ w[hidden:].T + b[hidden:]
    z = torch.sigmoid(z)
    (stream,) = fusion(prepared(fusion, items))
    torch.testing.assert_close(stream.pooled_BD, z * h[0] + (1 - z) * h[1])
    assert z.shape == (4, hidden)  # a gate per unit, not per field


def test_gmu_of_three_fields_has_a_gate_for_each_driven_by_all():
    torch.manual_seed(0)
    hidden = 5
    fusion, items = Gated(THREE, hidden=hidden), samples.features(THREE, 4)
    rows = []
    for row in range(4):
        h, z = [], torch.zeros(3, hidden)
        for spec in THREE:
            p = fusion.project[spec.field]
            out = p.linear(p.norm(items[spec.field].pooled_BD[row]))
            h.append(torch.tanh(out[:hidden]))
            z = z + out[hidden:].view(3, hidden)
        rows.append(sum(torch.sigmoid(z[f]) * h[f] for f in range(3)))
    (stream,) = fusion(prepared(fusion, items))
    torch.testing.assert_close(stream.pooled_BD, torch.stack(rows))


def test_mfb_pools_the_bilinear_products_of_its_rank():
    torch.manual_seed(0)
    hidden, rank = 6, 3
    fusion, items = MFB(TWO, hidden=hidden, rank=rank), samples.features(TWO, 4)
    u, v = (fusion.project[s.field] for s in TWO)
    x, y = (p.norm(items[s.field].pooled_BD) for p, s in zip((u, v), TWO, strict=True))
    x, y = (torch.cat([t, torch.ones(4, 1)], -1) for t in (x, y))  # biases as one more input
    bilinear = torch.einsum(
        "okd,oke->ode",
        *(torch.cat([p.linear.weight, p.linear.bias[:, None]], 1).view(hidden, rank, -1) for p in (u, v)),
    )  # one full bilinear form per output unit
    z = torch.einsum("bd,ode,be->bo", x, bilinear, y)
    z = z.sign() * z.abs().sqrt()
    expected = z / z.norm(dim=-1, keepdim=True)
    (stream,) = fusion(prepared(fusion, items))
    torch.testing.assert_close(stream.pooled_BD / math.sqrt(hidden), expected, atol=1e-3, rtol=1e-3)


def test_mfb_of_rank_one_is_mlb():
    torch.manual_seed(0)
    fusion, items = MFB(TWO, hidden=6, rank=1), samples.features(TWO, 4)
    u, v = (fusion.project[s.field](items[s.field].pooled_BD) for s in TWO)
    (stream,) = fusion(prepared(fusion, items))
    hadamard = u * v
    expected = F.normalize(hadamard.sign() * hadamard.abs().sqrt(), dim=-1)
    torch.testing.assert_close(stream.pooled_BD / math.sqrt(6), expected, atol=1e-3, rtol=1e-3)


def test_mfb_has_a_finite_gradient_where_a_product_is_zero():
    fusion = MFB(TWO, hidden=6, rank=1)
    items = samples.features(TWO, 4)
    items = {f: x._replace(pooled_BD=torch.zeros_like(x.pooled_BD)) for f, x in items.items()}
    torch.nn.init.zeros_(fusion.project["image"].linear.bias)
    (stream,) = fusion(prepared(fusion, items))
    stream.pooled_BD.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in fusion.parameters())


@pytest.mark.parametrize("specs", [TWO, THREE])
def test_lmf_is_tensor_fusion_with_decomposed_weights(specs):
    torch.manual_seed(0)
    rank, hidden, dim = 3, 5, 4
    fusion, items = LMF(specs, hidden=hidden, rank=rank, dim=dim), samples.features(specs, 4)
    with torch.no_grad():
        fusion.bias_H.normal_()
        fusion.rank_weight_R.normal_()
    vectors = [torch.cat([fusion.project[s.field](items[s.field].pooled_BD), torch.ones(4, 1)], -1) for s in specs]
    factors = [fusion.factors[s.field].weight_RIH for s in specs]
    letters = "ijk"[: len(specs)]
    # The full weight tensor [I, I, .., H] and the full outer product [B, I, I, ..] of tensor fusion.
    weight = torch.einsum("r," + ",".join(f"r{c}h" for c in letters) + f"->{letters}h", fusion.rank_weight_R, *factors)
    outer = torch.einsum(",".join(f"b{c}" for c in letters) + f"->b{letters}", *vectors)
    expected = torch.einsum(f"b{letters},{letters}h->bh", outer, weight) + fusion.bias_H
    ready = prepared(fusion, items)
    torch.testing.assert_close(fusion.combine([ready[s.field].pooled_BD for s in specs]), expected)
    (stream,) = fusion(ready)
    torch.testing.assert_close(stream.pooled_BD, fusion.norm(expected))


def test_the_one_that_lmf_appends_keeps_each_field_alone():
    """With one field at zero, what is left depends on the other: without the 1 the product would be constant."""
    torch.manual_seed(0)
    fusion, items = LMF(TWO, hidden=5, dim=4), samples.features(TWO, 4)
    silent = fusion.factors["question"](torch.zeros(4, 4))
    spoken = fusion.factors["image"](fusion.project["image"](items["image"].pooled_BD))
    fused = fusion.combine([spoken, silent])
    assert not torch.allclose(fused[0], fused[1])


@pytest.mark.parametrize("make", [Concat, Late, Gated, MFB, LMF, Towers])
def test_vector_fusions_do_not_read_tokens(make):
    torch.manual_seed(0)
    fusion, items = make(TWO).eval(), samples.features(TWO, 3)
    other = {f: x._replace(tokens_BND=torch.randn_like(x.tokens_BND)) for f, x in items.items()}
    assert not make.TOKENS
    for left, right in zip(fusion(prepared(fusion, items)), fusion(prepared(fusion, other)), strict=True):
        assert torch.equal(left.pooled_BD, right.pooled_BD)


def test_a_number_keeps_its_magnitude():
    """Numbers are not normalised: twice the value is another input."""
    torch.manual_seed(0)
    fusion, items = Concat(THREE), samples.features(THREE, 3)
    doubled = {**items, "age": items["age"]._replace(pooled_BD=2 * items["age"].pooled_BD)}
    first, second = (fusion(prepared(fusion, x))[0].pooled_BD for x in (items, doubled))
    assert not torch.allclose(first, second)


def test_fields_are_multiplied_in_any_number():
    torch.manual_seed(0)
    fusion, items = MFB(THREE, hidden=6, rank=2), samples.features(THREE, 4)
    product = reduce(torch.mul, [fusion.project[s.field](items[s.field].pooled_BD) for s in THREE])
    z = product.view(4, 6, 2).sum(-1)
    expected = F.normalize(z.sign() * z.abs().sqrt(), dim=-1)
    (stream,) = fusion(prepared(fusion, items))
    torch.testing.assert_close(stream.pooled_BD / math.sqrt(6), expected, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("layers", [1, 2])
def test_towers_are_unit_vectors_that_know_nothing_of_each_other(layers):
    torch.manual_seed(0)
    fusion, items = Towers(TWO, dim=6, layers=layers), samples.features(TWO, 4)
    (stream,) = fusion(prepared(fusion, items))
    assert fusion.widths == (stream.pooled_BD.shape[1],) == (12,)
    image, text = stream.pooled_BD.split(6, dim=1)
    for half in (image, text):
        torch.testing.assert_close(half.norm(dim=1), torch.ones(4))
    changed = {**items, "question": items["question"]._replace(pooled_BD=torch.randn(4, 12))}
    other = fusion(prepared(fusion, changed))[0].pooled_BD
    assert torch.equal(other[:, :6], image)
    assert not torch.allclose(other[:, 6:], text)
    if layers == 1:
        norm, _, linear = fusion.project["image"]
        torch.testing.assert_close(image, F.normalize(linear(norm(items["image"].pooled_BD)), dim=1))


def test_towers_compare_two_fields():
    assert Towers.accepts(THREE) == "towers compares exactly two input fields, and there are 3."
    assert Towers.accepts(TWO) is None
