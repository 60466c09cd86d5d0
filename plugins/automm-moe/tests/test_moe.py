"""The mixture of experts: automm's contract, and the paper's mechanism."""

import subprocess
import sys

import pytest
import torch
from automm_moe.mixture import MixtureOfExperts, importance_loss

from automm.errors import OutOfRange
from automm.testing import checks_for, samples, subject

SPECS = samples.FIELDS["image and text"]


def build(**options):
    torch.manual_seed(0)
    fusion = MixtureOfExperts(SPECS, **{"hidden": 6, "experts": 4, "chosen": 2, **options})
    torch.nn.init.normal_(fusion.gate.weight)
    return fusion


@pytest.mark.parametrize("check", checks_for("fusion"), ids=lambda check: check.__name__)
def test_contract(check):
    check(subject("fusion", "moe"))


def test_a_row_is_given_to_its_chosen_experts_alone():
    """Against a loop over rows and experts that asks only those chosen."""
    fusion = build().eval()
    x = torch.randn(5, 6)
    gates = fusion.gates(x)
    assert ((gates > 0).sum(1) == 2).all()
    torch.testing.assert_close(gates.sum(1), torch.ones(5))
    expected = torch.zeros(5, 6)
    for row in range(5):
        logits = fusion.gate.weight @ x[row]
        chosen = logits.argsort(descending=True)[:2]
        for weight, expert in zip(logits[chosen].softmax(0), chosen, strict=True):
            hidden = torch.relu(x[row] @ fusion.first_EDD[expert] + fusion.bias_ED[expert])
            expected[row] += weight * (hidden @ fusion.second_EDD[expert])
    torch.testing.assert_close(fusion.mix(x, gates), expected)


def test_choosing_all_experts_is_a_soft_mixture():
    fusion = build(chosen=99).eval()
    x = torch.randn(5, 6)
    torch.testing.assert_close(fusion.gates(x), fusion.gate(x).softmax(-1))


def test_noise_is_for_training_alone():
    fusion, x = build(), torch.randn(64, 6)
    assert not torch.equal(fusion.gates(x), fusion.gates(x))
    fusion.eval()
    assert torch.equal(fusion.gates(x), fusion.gates(x))


def test_experts_start_alike_and_noise_spreads_the_rows():
    torch.manual_seed(0)
    fusion = MixtureOfExperts(SPECS, hidden=6, experts=4, chosen=1)
    rows = (fusion.gates(torch.randn(400, 6)) > 0).sum(0)
    assert rows.min() > 60


def test_the_importance_loss_is_the_squared_coefficient_of_variation():
    gates = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]])  # importance 2.5 and 0.5
    torch.testing.assert_close(importance_loss(gates), torch.tensor((1.0 / 1.5) ** 2))
    assert importance_loss(torch.full((3, 4), 0.25)) == 0


def test_balance_adds_the_gradient_of_the_importance_loss():
    fusion, x = build(noise=0.0, balance=0.3), torch.randn(16, 6)
    without = build(noise=0.0, balance=0.0)
    out = fusion.mix(x, fusion.gates(x))
    assert torch.equal(out, without.mix(x, without.gates(x)))
    out.sum().backward()
    gates = without.gates(x)
    (without.mix(x, gates).sum() + 0.3 * importance_loss(gates)).backward()
    torch.testing.assert_close(fusion.gate.weight.grad, without.gate.weight.grad)


def test_balance_brings_an_unused_expert_back():
    """With a gate that begins far to one side, and no other loss than the balance."""

    def used(balance):
        fusion = build(noise=0.5, balance=balance)
        with torch.no_grad():
            fusion.gate.weight.normal_()[0] += 2.0
        optimizer = torch.optim.Adam(fusion.parameters(), lr=0.02)
        x = torch.rand(128, 6)  # all positive: the first expert's logit is the greatest nearly everywhere
        for _ in range(60):
            optimizer.zero_grad()
            (0.0 * fusion.gates(x)).sum().backward()
            optimizer.step()
        return importance_loss(fusion.eval().gates(x)).item()

    assert used(1.0) < 0.5 * used(0.0)


@pytest.mark.parametrize("options", [{"experts": 0}, {"chosen": 0}])
def test_a_mixture_of_nothing_is_refused(options):
    with pytest.raises(OutOfRange, match="1 or more of both"):
        build(**options)


def test_presets_are_found_without_torch():
    code = "import automm_moe.conf, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
