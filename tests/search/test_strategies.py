import math

import numpy as np
import pytest
from curves import SPACE

from automm.errors import UnknownComponent
from automm.registry import get, names
from automm.search.strategies import nevergrad
from automm.search.strategies.design import Spread, first
from automm.search.strategies.nevergrad import OPTIMIZERS, Nevergrad
from automm.search.strategies.portfolio import Portfolio
from automm.search.strategies.random import Random, draw
from automm.search.strategies.strategy import key_of
from automm.search.strategies.tree import addresses, build, from_unit, tidy, to_unit, values_of, widest_choice
from automm.space import Float, Int, OneOf, Space

STRATEGIES = names("strategy")


def worth(candidate):
    """A loss on the conditional space of the curves."""
    loss = 0.1 * {"concat": 2, "film": 1, "relation": 0}[candidate["fusion"]] + 0.01 * abs(candidate["batch"] - 64) / 16
    if candidate["solver"] == "closed_form":
        return loss + 0.3 + 0.02 * abs(math.log10(candidate["ridge"]))
    return loss + 0.1 * abs(math.log10(candidate["lr"]) + 2.5) + candidate["warmup"] ** 2


def play(strategy, count):
    """Ask and tell, the defaults first."""
    asked = [strategy.space.defaults()]
    strategy.tell(asked[0], worth(asked[0]))
    for _ in range(count - 1):
        asked.append(strategy.ask())
        strategy.tell(asked[-1], worth(asked[-1]))
    return asked


@pytest.mark.parametrize("name", STRATEGIES)
def test_golden_trajectory(name, golden):
    """A study can only be resumed by what proposes the same: see `--regenerate-golden`."""
    found = play(get("strategy", name).factory(SPACE, 11, 16), 16)
    golden(f"trajectory-{name}", found)


@pytest.mark.parametrize("name", STRATEGIES)
def test_candidates_are_legal_and_the_seed_decides(name):
    make = get("strategy", name).factory
    found = play(make(SPACE, 1, 12), 12)
    for candidate in found:
        SPACE.check(candidate)
        assert all(tidy(param, candidate[path]) == candidate[path] for path, param in SPACE.active(candidate))
    assert play(make(SPACE, 1, 12), 12) == found
    assert play(make(SPACE, 2, 12), 12) != found
    assert all(type(v) in (int, float, str) for c in found for v in c.values())


@pytest.mark.parametrize("name", STRATEGIES)
def test_foreign_candidates_and_second_thoughts_are_welcome(name):
    strategy = get("strategy", name).factory(SPACE, 1, 20)
    rng = np.random.default_rng(0)
    for _ in range(6):
        candidate = draw(SPACE, rng)
        strategy.tell(candidate, worth(candidate))
        strategy.tell(candidate, worth(candidate) - 0.1)
        strategy.tell(candidate, worth(candidate) - 0.1)
        SPACE.check(strategy.ask())


@pytest.mark.parametrize("name", STRATEGIES)
def test_odd_spaces(name):
    spaces = [
        Space({"a": OneOf((None, True, 1, "x"))}),
        Space({"a": Float(0.0, 1.0, default=0.0), "b": Float(1e-3, 1.0, log=True, default=1.0)}),
        Space({"a": Int(1, 2), "b": Int(1, 64, log=True, default=64), "c": Float(0.5, 0.5)}),
        Space({"a": OneOf((1,))}),
        Space(
            {"a": OneOf(("u", "v"), children={c: Space({"lr": Float(0.0, b)}) for c, b in (("u", 1.0), ("v", 9.0))})}
        ),
    ]
    for space in spaces:
        strategy = get("strategy", name).factory(space, 1, 12)
        strategy.tell(space.defaults(), 1.0)
        for at in range(9):
            candidate = strategy.ask()
            space.check(candidate)
            strategy.tell(candidate, at / 10)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_on_the_list_is_reproducible(optimizer):
    def trajectory():
        return play(Nevergrad(SPACE, 5, 14, optimizer=optimizer, explore=3), 14)

    np.random.seed(1)
    first = trajectory()
    np.random.seed(2)
    assert trajectory() == first


def test_other_optimizers_are_refused():
    with pytest.raises(UnknownComponent, match="Did you mean 'OnePlusOne'"):
        Nevergrad(SPACE, 1, 10, optimizer="OnePlusTwo")


def test_a_corrected_loss_moves_the_search():
    """What looked best is taken back: nevergrad goes on from what is best now."""
    space = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
    strategy = Nevergrad(space, 3, 60, explore=0)
    strategy.tell({"x": 0.9, "y": 0.1}, 0.0)
    strategy.tell({"x": 0.1, "y": 0.9}, 0.5)
    strategy.tell({"x": 0.9, "y": 0.1}, 1.0)
    near = [strategy.ask() for _ in range(20)]
    assert sum(c["x"] == 0.1 or c["y"] == 0.9 for c in near) > sum(c["x"] == 0.9 or c["y"] == 0.1 for c in near)


@pytest.mark.parametrize("optimizer", nevergrad._MUTATE_THE_BEST)
def test_to_know_the_best_is_to_know_all(optimizer, monkeypatch):
    """Optimizers that only mutate the best propose what they would if they had been told every candidate."""

    def proposals():
        strategy, rng = Nevergrad(SPACE, 5, 60, optimizer=optimizer, explore=0), np.random.default_rng(0)
        told, asked = [SPACE.defaults()], []
        strategy.tell(told[0], 0.5)
        for turn in range(1, 31):
            told.append(draw(SPACE, rng) if turn % 3 else strategy.ask())
            asked += [] if turn % 3 else told[-1:]
            strategy.tell(told[-1], float(rng.random()))
            strategy.tell(told[rng.integers(len(told))], float(rng.random()))  # another estimate
        return asked

    few = proposals()
    monkeypatch.setattr(nevergrad, "_MUTATE_THE_BEST", ())
    assert proposals() == few


def test_the_same_path_under_two_choices_has_two_addresses():
    space = Space({"s": OneOf(("a", "b"), children={c: Space({"lr": Float(1e-4, 1.0, log=True)}) for c in "ab"})})
    assert [a for a, _ in addresses(space)] == ["s", "s=a/lr", "s=b/lr"]
    candidate = {"s": "b", "lr": 0.01}
    assert [(a, v) for a, _, v in values_of(space, candidate)] == [("s", "b"), ("s=b/lr", 0.01)]
    values = {"s": "b", "s=b/lr": 0.01}
    assert build(space, lambda address, _param: values[address]) == candidate


@pytest.mark.parametrize(
    "param", [Float(1e-5, 1e-1, log=True), Float(-1.0, 2.0), Int(1, 6), Int(1, 300, log=True), OneOf(("a", "b", "c"))]
)
def test_units(param):
    seen = {from_unit(param, u) for u in np.linspace(0, 1, 2001)}
    assert all(param.holds(v) for v in seen)
    for value in sorted(seen)[::50] if len(seen) > 300 else seen:
        assert from_unit(param, to_unit(param, value)) == pytest.approx(value) if not isinstance(value, str) else True
    if not isinstance(param, Float):
        full = param.choices if isinstance(param, OneOf) else range(param.low, param.high + 1)
        assert seen == set(full)


def test_the_widest_choice_is_the_family():
    assert widest_choice(SPACE) == "fusion"
    assert widest_choice(Space({"x": Float(0.0, 1.0), "one": OneOf((1,)), "o": OneOf((1, 2), ordered=True)})) is None


def test_a_spread_misses_nothing():
    for seed in range(20):
        spread = Spread(SPACE, 4, np.random.default_rng(seed))
        found = [SPACE.defaults(), *(spread.draw() for _ in range(7))]  # what is measured first has had its turn
        for four in (found[:4], found[4:]):
            assert {c["fusion"] for c in four} == {"concat", "film", "relation"}
            assert {c["batch"] for c in four} == {16, 32, 64, 128}


def test_every_family_is_seen_where_the_budget_lets_it():
    many = Space({"fusion": OneOf(tuple("abcdefghij"), default="a"), "lr": Float(1e-4, 1e-1, log=True)})
    for seed in range(5):
        strategy = Portfolio(many, seed, 12)
        asked = [many.defaults()]
        for _ in range(9):
            strategy.tell(asked[-1], 0.5)
            asked.append(strategy.ask())
        assert {c["fusion"] for c in asked} == set("abcdefghij")
    assert first(8, 12, many) == 10
    assert first(8, 9, many) == 6
    assert first(0, 12, many) == 1


def test_random_covers_the_space():
    found = [draw(SPACE, np.random.default_rng(at)) for at in range(200)]
    assert {c["fusion"] for c in found} == {"concat", "film", "relation"}
    rates = [math.log10(c["lr"]) for c in found if "lr" in c]
    assert abs(np.mean(rates) + 3) < 0.3
    assert len({key_of(c) for c in found}) == 200
    assert Random(SPACE, 0, 5).ask() != Random(SPACE, 1, 5).ask()
