"""A cheap objective that learns like a network does: a plateau, a rise, and a level that the candidate decides.

It keeps a state a rung on disk, as training does, and refuses to go on from one that isn't there.
"""

import math
from pathlib import Path

from automm.errors import TrialFailed
from automm.search.loop import search
from automm.search.study import Study
from automm.settings import ComponentSettings, SearchSettings
from automm.space import Float, Int, OneOf, Space
from automm.trial import Outcome
from automm.types import Goal

GOAL = Goal("accuracy", "maximize")
SPACE = Space(
    {
        "solver": OneOf(
            ("gradient", "closed_form"),
            children={
                "gradient": Space({"lr": Float(1e-5, 1e-1, log=True), "warmup": Float(0.0, 0.5, default=0.0)}),
                "closed_form": Space({"ridge": Float(1e-4, 1e2, log=True)}),
            },
        ),
        "fusion": OneOf(("concat", "film", "relation"), children={"film": Space({"blocks": Int(1, 4)})}),
        "batch": OneOf((16, 32, 64, 128), ordered=True, default=32),
        "pinned": OneOf((7,)),
    }
)


class Curves:
    """Real in every way but the data. `run` is deterministic; `ran` lists the jobs that ended well."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.ran = []

    def check(self, candidate):
        return "relation does not fit a batch of 128" if _pair(candidate) == ("relation", 128) else None

    def run(self, job, report):
        if job.start:
            assert (self.folder / f"{job.trial}-{job.start}").exists(), "no state to go on from"
        if _pair(job.candidate) == ("film", 16):
            raise TrialFailed("out of memory")
        if job.candidate["solver"] == "closed_form":
            outcome = Outcome({"accuracy": 0.6 - 0.01 * abs(math.log10(job.candidate["ridge"]))}, 1, True, 0.5)
        else:
            for epoch in range(job.start + 1, job.stop + 1):
                value = self.accuracy(job.candidate, epoch)
                report(epoch, {"accuracy": value, "loss": 1 - value})
            outcome = Outcome({"accuracy": value}, job.stop, False, 1.0 * (job.stop - job.start))
        (self.folder / f"{job.trial}-{job.stop}").touch()
        self.ran.append((job.trial, job.start, job.stop))
        return outcome

    def accuracy(self, candidate, epoch):
        level = {"concat": 0.7, "film": 0.8, "relation": 0.95}[candidate["fusion"]]
        level -= 0.05 * abs(math.log10(candidate["lr"]) + 3) + 0.1 * candidate["warmup"]
        plateau = {"concat": 1, "film": 3, "relation": 5}[candidate["fusion"]]
        return 0.5 + (level - 0.5) / (1 + math.exp(-(epoch - plateau)))


def _pair(candidate):
    return candidate["fusion"], candidate["batch"]


def settings(strategy="random", executor="in_process", **changes):
    return SearchSettings(
        **{
            "strategy": ComponentSettings(strategy),
            "executor": executor if isinstance(executor, ComponentSettings) else ComponentSettings(executor),
            "trials": 12,
            "timeout": None,
            "min_epochs": 2,
            "max_epochs": 8,
            "eta": 2,
            "max_gflop": None,
            "keep_checkpoints": 1,
        }
        | changes
    )


def run(
    folder,
    *,
    objective=None,
    space=SPACE,
    seed=3,
    on_event=lambda event: None,
    goal=GOAL,
    horizon=None,
    may_climb=lambda candidate: True,
    **changes,
):
    """One sitting of a search whose study and states lie in `folder`."""
    folder.mkdir(exist_ok=True)
    with Study.open(folder / "study.db") as study:
        judge = objective or Curves(folder)
        asked = settings(**changes)
        return search(space, judge, goal, asked, study, seed, on_event, horizon=horizon, may_climb=may_climb)


def story(folder):
    """All that a study says, but for times and for how often it was interrupted."""
    with Study.open(folder / "study.db", readonly=True) as study:
        lived = [e for e in study.events if e.kind not in ("launch", "report", "stop")]
        return [(e.kind, e.trial, dict(e.data)) for e in lived]
