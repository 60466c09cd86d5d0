"""Who is trained to the end, and in which order."""

from types import SimpleNamespace

import pytest

from automm.config import compose, to_settings
from automm.finals import Finals
from automm.refit import Refit, Refits
from automm.run_dir import RunDir
from automm.search.loop import SearchResult
from automm.search.selection import Members
from automm.trial import Trial
from automm.types import Goal, Splits


class Recorder(Refits):
    """Takes what shall be trained down, and trains nothing."""

    def __init__(self, folder, *more):
        asked = ["+task=vqa", "training.epochs=10", *more]
        splits = Splits(None, None, SimpleNamespace(targets=["yes"]))
        super().__init__(to_settings(compose(asked), folder), RunDir(folder), splits, None, None, None)
        self.trained = []

    def continued(self, name, trial, valid=None):
        return Refit(name, trial.candidate, 10)

    def settled(self, refit):
        return False

    def train(self, wanted):
        self.trained = [refit.name for refit in wanted]
        return dict.fromkeys(self.trained)


def trial(number, *, epochs, seconds, finished=False):
    said = {"values": {"accuracy": 0.5}, "state": "completed"}
    return Trial(number, {"at": number}, epochs=epochs, seconds=seconds, finished=finished, **said)


@pytest.mark.parametrize(
    ("anew", "unsearched", "winner", "first"),
    [
        (False, (1, 40.0), (2, 180.0), "defaults"),  # 9 epochs of 40 s against 8 of 90
        (False, (1, 40.0), (9, 810.0), "best"),  # it was trained on while others were searched
        (True, (1, 40.0), (9, 270.0), "best"),  # all ten once more, of 40 s against 30
        (True, (1, 4.0, True), (9, 270.0), "defaults"),  # a closed form is done after its first
        (True, (9, 90.0), (1, 4.0, True), "best"),
    ],
)
def test_who_has_the_shorter_way_goes_first(tmp_path, anew, unsearched, winner, first):
    """Ends come in the order of submission, and at the winner's its export begins."""
    refits = Recorder(tmp_path, f"training.refit_on_valid={str(anew).lower()}")
    trials = [
        trial(number, epochs=epochs, seconds=seconds, finished=bool(finished))
        for number, (epochs, seconds, *finished) in enumerate((unsearched, winner))
    ]
    found = SearchResult(trials[1], trials, "trials", 0.0)
    finals = Finals(
        refits,
        refits.dir,
        found,
        trials,
        Members(),
        goal=Goal("accuracy", "maximize"),
        measure=lambda _: {},
        defaults=True,
        say=lambda _: None,
    )
    finals.beside([Refit("text_only", {}, 2)])
    second = "best" if first == "defaults" else "defaults"
    assert refits.trained == [first, second, "text_only"]
