import json
import math

import pytest
import torch
from torch import nn

from automm.building import build_solver
from automm.errors import TrialFailed
from automm.training.monitor import GradientMonitor


def branches(**norms):
    """A parameter a branch, with a gradient of the given norm."""
    made = {}
    for name, norm in norms.items():
        parameter = nn.Parameter(torch.ones(4))
        parameter.grad = torch.full((4,), norm / 2)
        made[name] = [parameter]
    return made


def set_norm(branch, norm):
    branch[0].grad.fill_(norm / 2)


def sample(monitor, progress=0.1, loss=1.0):
    monitor.sample(progress=progress, loss=loss, lr=0.1)


def test_norms_are_those_of_each_branch_and_of_the_whole():
    monitor = GradientMonitor({**branches(fusion=3.0, head=4.0), "frozen": [nn.Parameter(torch.ones(2), False)]})
    sample(monitor)
    assert monitor.norms == [{"epoch": 0.1, "total": pytest.approx(5.0), "fusion": 3.0, "head": 4.0}]


def test_a_branch_without_gradient_is_said_to_vanish_once():
    made = branches(fusion=1.0, head=1.0)
    made["fusion"][0].grad = None
    monitor = GradientMonitor(made)
    for epoch in (1, 2):
        sample(monitor, epoch - 0.5)
        monitor.close_epoch(epoch, 1.0)
    (finding,) = monitor.findings
    assert (finding.kind, finding.branch, finding.epoch) == ("vanishing", "fusion", 1)
    assert finding.sentence.startswith("In epoch 1 almost no gradient reached fusion")


def test_a_jump_is_said_to_explode():
    made = branches(fusion=1.0, head=1.0)
    monitor = GradientMonitor(made)
    for _ in range(10):
        sample(monitor)
    set_norm(made["head"], 5000.0)
    sample(monitor, 1.5)
    (finding,) = monitor.findings
    assert (finding.kind, finding.branch, finding.epoch) == ("exploding", "head", 2)
    assert "5000 times its usual 1" in finding.sentence


def test_what_is_no_number_ends_the_trial_and_names_the_branch():
    made = branches(fusion=1.0, head=1.0)
    monitor = GradientMonitor(made)
    sample(monitor)
    made["fusion"][0].grad[1] = math.nan
    with pytest.raises(TrialFailed, match=r"gradients in fusion are not finite in epoch 3, at a learning rate of 0\.1"):
        sample(monitor, 2.2)
    with pytest.raises(TrialFailed, match=r"the training loss became inf .* last gradient norm before that was 1\.41"):
        monitor.check_loss(progress=0.5, loss=math.inf, lr=0.1)


def test_a_step_that_overflows_in_half_precision_is_no_failure():
    made = branches(head=math.inf)
    monitor = GradientMonitor(made, scaled=True)
    sample(monitor)
    assert monitor.norms == []
    with pytest.raises(TrialFailed, match="became nan"):
        sample(monitor, loss=math.nan)


def test_a_loss_far_above_where_it_began_ends_the_trial():
    monitor = GradientMonitor(branches(head=1.0))
    sample(monitor, loss=2.0)
    monitor.close_epoch(1, 9.9)
    with pytest.raises(TrialFailed, match=r"training diverged: the mean loss of epoch 2 is 10\.1"):
        monitor.close_epoch(2, 10.1)


def test_no_gradient_anywhere_ends_the_trial_unless_everything_is_learnt():
    monitor = GradientMonitor(branches(head=1e-12))
    sample(monitor, loss=1.0)
    monitor.close_epoch(1, 0.01)
    sample(monitor, loss=1.0)
    with pytest.raises(TrialFailed, match="no gradient reaches any weight"):
        monitor.close_epoch(2, 1.0)


def test_its_state_is_json_and_goes_on():
    made = branches(head=1.0)
    monitor, other = GradientMonitor(made), GradientMonitor(made)
    sample(monitor)
    monitor.close_epoch(1, 1.0)
    other.restore(json.loads(json.dumps(monitor.state())))
    assert other.norms == monitor.norms
    assert other.state() == monitor.state()


def test_a_frozen_branch_is_no_finding_of_a_real_fit(bench, candidate):
    job = bench.job(candidate())
    job.model.encoders[0].requires_grad_(False)
    result = build_solver(candidate()).fit(job, lambda *_: None)
    assert result.findings == []
    assert result.norms[0].keys() == {"epoch", "total", "encoder.question", "fusion", "head"}
