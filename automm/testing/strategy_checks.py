"""What every strategy must keep. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Callable

from automm.search.strategies.strategy import Strategy
from automm.space import Candidate, Float, Int, OneOf, Space, pinned
from automm.testing.requirement import require
from automm.testing.subject import Subject

_BUDGET = 12
_SPACE = Space(
    {
        "lr": Float(1e-5, 1e-1, log=True, default=1e-3),
        "epochs": Int(1, 4),
        "seed": pinned(7),
        "fusion": OneOf(
            ("concat", "film", "late"),
            children={
                "film": Space({"blocks": Int(1, 6, log=True), "norm": OneOf((True, False))}),
                "concat": Space({"hidden": OneOf((64, 128, 256), ordered=True, default=128)}),
            },
        ),
        "dropout": Float(0.0, 0.5),
    }
)
_PINNED = Space({"lr": pinned(1e-3), "fusion": pinned("late")})


def check_candidates_are_legal(under_test: Subject) -> None:
    """Candidates hold exactly the active paths with legal values, and are plain JSON that reads back the same."""
    for space in (_SPACE, _PINNED):
        for candidate in _trajectory(under_test, space):
            space.check(candidate)
            require(json.loads(json.dumps(candidate)) == candidate, f"a candidate is not plain JSON: {candidate}")


def check_is_seeded(under_test: Subject) -> None:
    """The same seed and calls give the same candidates: a search is resumed by replaying it. Seeds differ."""
    first, again, other = (_trajectory(under_test, _SPACE, seed=seed) for seed in (0, 0, 1))
    require(first == again, "two runs from one seed differ")
    require(first != other, "another seed gives the same candidates")


def check_runs_do_not_share_state(under_test: Subject) -> None:
    """Two strategies at once do not disturb each other: nothing draws from a global generator."""
    alone = _trajectory(under_test, _SPACE)
    first, second = (_new(under_test, _SPACE, seed) for seed in (0, 5))
    woven = []
    for _ in range(_BUDGET):
        candidate = first.ask()
        second.tell(second.ask(), 0.5)
        first.tell(candidate, _loss(candidate))
        woven.append(candidate)
    require(woven == alone, "its candidates change when another strategy runs beside it")


def check_asks_ahead(under_test: Subject) -> None:
    """Several candidates may be out at once, answered in any order, corrected later, told unasked."""
    strategy = _new(under_test, _SPACE, 0)
    strategy.tell(_SPACE.defaults(), 0.7)
    out = [strategy.ask() for _ in range(4)]
    for candidate in reversed(out):
        strategy.tell(candidate, _loss(candidate))
    strategy.tell(out[0], 0.25)
    strategy.tell(out[0], 0.125)
    for _ in range(_BUDGET):
        candidate = strategy.ask()
        _SPACE.check(candidate)
        strategy.tell(candidate, 1.0)  # ties, as when all fail


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_candidates_are_legal,
    check_is_seeded,
    check_runs_do_not_share_state,
    check_asks_ahead,
)


def _new(under_test: Subject, space: Space, seed: int) -> Strategy:
    strategy = under_test.build(space, seed, _BUDGET)
    require(isinstance(strategy, Strategy), "it is no automm Strategy")
    return strategy  # type: ignore[no-any-return]


def _trajectory(under_test: Subject, space: Space, *, seed: int = 0) -> list[Candidate]:
    strategy = _new(under_test, space, seed)
    out = []
    for _ in range(_BUDGET):
        out.append(strategy.ask())
        strategy.tell(out[-1], _loss(out[-1]))
    return out


def _loss(candidate: Candidate) -> float:
    """A deterministic stand-in for a validation loss."""
    return abs(float(candidate["lr"] or 0) - 3e-3) + len(str(candidate["fusion"])) / 10
