"""The contract tests themselves: each break of a contract is caught, and told for what it is."""

import random
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from automm.data.source import Source
from automm.errors import UnknownKey
from automm.fusions.attention import masked_mean
from automm.fusions.fusion import Fusion
from automm.metrics.metric import metric
from automm.registry import Component
from automm.runtime.decode import HALF_OR_MORE
from automm.search.executors.in_process import InProcess
from automm.search.strategies.random import Random, draw
from automm.space import Int, Space
from automm.tasks.classification import Classification
from automm.testing import ContractBroken, Subject, check_component, checks_for, subject
from automm.trial import Outcome
from automm.types import Column, FieldSpec, Goal, Schema, Splits, Stream, Table


class Sum(Fusion):
    """The sum of every field's mean token and pooled vector, through one layer.

    Args:
        hidden: the width of the stream.
    """

    SPACE = Space({"hidden": Int(2, 16, default=4)})

    def __init__(self, specs, *, hidden: int = 4) -> None:
        super().__init__()
        self.order = [s.field for s in specs]
        self.linear = torch.nn.ModuleList(torch.nn.Linear(2 * s.width, hidden) for s in specs)
        self.widths = (hidden,)

    @classmethod
    def accepts(cls, specs):
        return None if specs else "nothing to sum."

    def vector(self, x):
        return torch.cat([masked_mean(x.tokens_BND, x.mask_BN), x.pooled_BD], -1)

    def forward(self, features):
        parts = [linear(self.vector(features[f])) for f, linear in zip(self.order, self.linear, strict=True)]
        return (Stream(torch.stack(parts).sum(0)),)


class IgnoresMasks(Sum):
    __doc__ = Sum.__doc__

    def vector(self, x):
        return torch.cat([x.tokens_BND.mean(1), x.pooled_BD], -1)


class Narrower(Sum):
    __doc__ = Sum.__doc__

    def forward(self, features):
        return (Stream(super().forward(features)[0].pooled_BD[:, 1:]),)


class LooksAtOtherRows(Sum):
    __doc__ = Sum.__doc__

    def forward(self, features):
        out = super().forward(features)[0].pooled_BD
        return (Stream(out - out.mean(0)),)


class DropsAField(Sum):
    __doc__ = Sum.__doc__

    def forward(self, features):
        return (Stream(self.linear[0](self.vector(features[self.order[0]]))),)


class FusesOtherwise(Sum):
    __doc__ = Sum.__doc__

    def fuse(self, features, rows):
        return (Stream(2 * super().fuse(features, rows)[0].pooled_BD),)


class TakesNothing(Sum):
    __doc__ = Sum.__doc__

    @classmethod
    def accepts(cls, specs):
        return None


class DrawsAnew(Sum):
    __doc__ = Sum.__doc__

    def forward(self, features):
        out = super().forward(features)[0].pooled_BD
        return (Stream(out + torch.randn_like(out)),)


class BranchesOnValues(Sum):
    __doc__ = Sum.__doc__

    def forward(self, features):
        out = super().forward(features)[0].pooled_BD
        return (Stream(out if float(out.sum()) > 0 else 2 * out),)


class SaysNothingOfAnOption(Sum):
    """The sum of everything."""


class DefaultsApart(Sum):
    __doc__ = Sum.__doc__
    SPACE = Space({"hidden": Int(2, 16, default=8)})


class TakesAnything(Sum):
    __doc__ = Sum.__doc__

    def __init__(self, specs, **options) -> None:
        super().__init__(specs, **options)


class Unseeded(Random):
    """Draws from Python's global generator."""

    def ask(self):
        self._rng = __import__("numpy").random.default_rng(random.getrandbits(32))
        return draw(self.space, self._rng)


class Illegal(Random):
    """Adds a path of its own."""

    def ask(self):
        return {**super().ask(), "mine": 1}


class Swallows(InProcess):
    """Turns a bug into an outcome."""

    def wait(self, on_report):
        try:
            return super().wait(on_report)
        except ZeroDivisionError:
            return super().wait(on_report) if self._queue else self._ended()

    def _ended(self):
        from automm.search.executors.executor import Ended
        from automm.trial import Job

        return Ended(Job(0, {}, 0, 1), outcome=Outcome({}, 1, True, 0.0))


class Forgets(Classification):
    """Does not keep what it learnt."""

    def state(self):
        return {"labels": ["no", "yes"]}


class WeighsOtherwise(Classification):
    """Has a loss of its own, and weighs another."""

    def loss(self, logits_BC, targets, *, label_smoothing):
        return 2 * super().loss(logits_BC, targets, label_smoothing=label_smoothing)


class ServedOtherwise(Classification):
    """Says of its bundle what it does not do itself."""

    DECODE = HALF_OR_MORE


class NotShares(Classification):
    """Has label numbers, as a softmax has, and scores each class by itself."""

    def probabilities(self, logits_BC):
        return torch.sigmoid(logits_BC)


class Leaks(Source):
    """One image in two splits."""

    def load(self, seed, cache_dir):
        schema = Schema((FieldSpec("image", "image"),))
        index = torch.arange(2).numpy()
        table = Table(schema, {"image": Column([b"one", b"two"], index)}, ["a", "b"], [0, 1])
        return Splits(table, table)


@metric(higher_is_better=False, reads=("classes",))
def wrong_way(scores_BC, label_B):
    """Says that lower is better of an accuracy."""
    return float((scores_BC.argmax(1) == label_B).mean())


@metric(higher_is_better=True, reads=("numbers",))
def nothing_of_what_is_constant(scores_BC, value_B):
    """A correlation, undefined where nothing varies."""
    return float(np.corrcoef(scores_BC[:, 0], value_B)[0, 1])


@metric(higher_is_better=True, reads=("labels",))
def of_the_first_row(scores_BC, wanted_BC):
    """What stands first decides."""
    return float((scores_BC[0] * wanted_BC[0]).sum())


@metric(higher_is_better=True, reads=("classes",))
def a_tensor(scores_BC, label_B):
    """Not a float."""
    return torch.tensor(1.0)


class GivesTwoKinds(Classification):
    """Does not decide what its targets are."""

    gives = ("classes", "shares")


class AddsStrangers(Classification):
    def extra_rows(self, train):
        return replace(train, targets=["maybe"] * len(train))


class ListsTooLittle(Classification):
    """Has more metrics than it says."""

    goals = (Goal("accuracy", "maximize"),)


BREAKS = [
    ("fusion", IgnoresMasks, "check_masks_are_honoured", "what stands in the padding of 'image' changes the output"),
    ("fusion", Narrower, "check_streams", "a stream is (1, 3), not (1, 4)"),
    ("fusion", LooksAtOtherRows, "check_rows_are_independent", "a row changes with those beside it"),
    ("fusion", DropsAField, "check_every_field_matters", "no gradient reaches 'question'"),
    ("fusion", FusesOtherwise, "check_fuse_is_forward", "fuse and forward differ"),
    ("fusion", TakesNothing, "check_accepts", "accepts a table without input fields"),
    ("fusion", DrawsAnew, "check_is_seeded", "two evaluations differ"),
    ("fusion", BranchesOnValues, "check_exports", "cannot export it to ONNX"),
    ("fusion", SaysNothingOfAnOption, "check_options_documented", "does not say what 'hidden' is"),
    ("fusion", DefaultsApart, "check_space", "defaults to 4, but a search starts at 8"),
    ("fusion", TakesAnything, "check_signature", "takes any option"),
    ("strategy", Unseeded, "check_is_seeded", "two runs from one seed differ"),
    ("executor", Swallows, "check_bugs_are_not_swallowed", "`wait` did not"),
    ("task", Forgets, "check_learns_labels", "other labels"),
    ("task", WeighsOtherwise, "check_weighs", "weighing nothing it is"),
    ("task", ServedOtherwise, "check_answers", "a bundle that decodes by 'labels of half or more'"),
    ("task", NotShares, "check_label_numbers", "scores do not sum to 1"),
    ("task", GivesTwoKinds, "check_compared", "gives ('classes', 'shares'), not one kind"),
    ("task", AddsStrangers, "check_extra_rows", "classes that no training row has: ['maybe'"),
    ("task", ListsTooLittle, "check_metrics", "`goals` does not list ['loss']"),
    ("metric", wrong_way, "check_direction", "perfect scores of classes give 1.0"),
    ("metric", nothing_of_what_is_constant, "check_gives_a_number", "RuntimeWarning"),
    ("metric", of_the_first_row, "check_is_a_function", "in another order"),
    ("metric", a_tensor, "check_gives_a_number", "no float"),
    ("data", Leaks, "check_splits_do_not_leak", "an image of valid.image is in train too"),
]


def under_test(kind, factory):
    return Subject(Component(kind, "broken", "these tests", "0", factory))


@pytest.mark.parametrize(("kind", "factory", "name", "message"), BREAKS, ids=[case[1].__name__ for case in BREAKS])
def test_a_broken_contract_is_told(kind, factory, name, message):
    (check,) = [c for c in checks_for(kind) if c.__name__ == name]
    with pytest.raises(ContractBroken, match=re.escape(message)):
        check(under_test(kind, factory))


def test_a_candidate_that_is_not_legal_is_told():
    (check,) = [c for c in checks_for("strategy") if c.__name__ == "check_candidates_are_legal"]
    with pytest.raises(UnknownKey, match="mine"):
        check(under_test("strategy", Illegal))


@pytest.mark.parametrize("check", [c for c in checks_for("fusion") if c.__name__ != "check_exports"])
def test_a_fusion_in_a_few_lines_keeps_it(check):
    check(under_test("fusion", Sum))


def test_a_failure_names_component_and_check(monkeypatch):
    from automm import registry

    monkeypatch.setitem(registry._session, ("fusion", "narrower"), Narrower)
    registry.get.cache_clear()
    with pytest.raises(ContractBroken, match=r"fusion 'narrower', check_streams: .*a stream is"):
        check_component("fusion", "narrower")


def test_options_that_are_none_are_refused():
    with pytest.raises(UnknownKey, match="no option 'hiden'"):
        subject("fusion", "concat", hiden=3)
