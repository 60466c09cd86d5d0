"""Who goes first where the leader of a search could train on or a candidate be asked for."""

import pytest
from curves import GOAL, SPACE

from automm.search.driver import Driver
from automm.search.history import History
from automm.search.strategies.random import Random
from automm.search.study import Event


class Told:
    """A driver with two rungs, 1 and 2, and ten candidates to ask for, of which four are asked."""

    def __init__(self, horizon):
        history = History(GOAL, min_epochs=1, max_epochs=2, eta=2, family="fusion")
        self.driver = Driver(SPACE, history, Random(SPACE, seed=0, budget=10), trials=10, seed=0, horizon=horizon)
        self.seq = 0
        for trial in range(4):
            self.say("ask", trial, candidate=SPACE.defaults(), origin="strategy", repeats=0)

    def say(self, kind, trial, **data):
        self.driver.apply(Event(self.seq, kind, trial, data, 0.0, 0.0))
        self.seq += 1

    def measure(self, trial, *accuracies):
        """Train a trial to the rungs these were measured at."""
        for rung, accuracy in enumerate(accuracies, start=1):
            if rung > 1:
                self.say("promote", trial, start=1, stop=2)
            self.say("tell", trial, values={"accuracy": accuracy}, epochs=rung, finished=False, seconds=0.0)

    def next(self):
        decision = self.driver.decide()
        return decision.kind, decision.trial, decision.data.get("stop")


@pytest.mark.parametrize(
    ("horizon", "expected"), [(9, ("promote", 0, 3)), (8, ("ask", 4, None)), (None, ("ask", 4, None))]
)
def test_a_leader_goes_first_when_its_way_is_longer_than_what_is_left_to_ask(horizon, expected):
    told = Told(horizon)
    told.measure(0, 0.6, 0.7)
    told.measure(1, 0.5, 0.55)
    assert told.next() == expected  # six are left to ask


def test_a_leader_waits_while_another_is_expected_to_end_better():
    told = Told(horizon=20)
    told.measure(0, 0.6, 0.7)
    told.measure(1, 0.5, 0.55)
    told.measure(2, 0.66)
    told.say("promote", 2, start=1, stop=2)
    assert told.next() == ("ask", 4, None)
    told.say("tell", 2, values={"accuracy": 0.69}, epochs=2, finished=False, seconds=0.0)
    assert told.next() == ("promote", 0, 3)


def test_who_alone_was_trained_to_the_last_rung_is_no_leader_yet():
    told = Told(horizon=20)
    told.measure(0, 0.6, 0.7)
    assert told.next() == ("ask", 4, None)


def test_a_leader_that_trains_on_stays_completed():
    told = Told(horizon=20)
    told.measure(0, 0.6, 0.7)
    told.measure(1, 0.5, 0.55)
    told.say("promote", 0, start=2, stop=3)
    assert told.driver.history.trials[0].state == "completed"
    told.say("tell", 0, values={"accuracy": 0.9}, epochs=3, finished=False, seconds=0.0)
    assert told.driver.history.trials[0].values == {"accuracy": 0.7}
