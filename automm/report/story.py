"""A run's story for its page, gathered from the ledger, the gradient log and the rows that were answered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from automm.report.data import GradientRecord, ReportData, Sample, TrialRecord
from automm.runtime.decode import ARGMAX
from automm.tasks.task import Task
from automm.trial import Trial
from automm.types import FILES, Goal, Table

_EACH = 6  # sample rows answered rightly, and as many wrongly


class Answered(NamedTuple):
    """What a model said of a row."""

    prediction: Any
    score: float | None  # the prediction's, where it is a share
    right: bool | None  # None where nearness is what counts, or there is no target


def answered(task: Task, scores_BC: np.ndarray, table: Table) -> list[Answered]:
    """What a task makes of a table's scores, row by row."""
    out = []
    rows = zip(task.predictions(scores_BC, table), table.targets, scores_BC, strict=True)
    for prediction, target, scores_C in rows:
        right = None if target is None else task.right(prediction, target)
        out.append(Answered(prediction, float(scores_C.max()) if task.DECODE == ARGMAX else None, right))
    return out


def story(
    result: Mapping[str, Any],
    goal: Goal,
    trials: Sequence[Trial],
    *,
    gradients: Path,
    table: Table,
    split: str,
    answers: Sequence[Answered],
) -> ReportData:
    """What the page is made from.

    Args:
        result: what result.json will hold.
        goal: what the search drove at.
        trials: of the search, in order.
        gradients: the gradient log of the winner's training (JSON).
        table: the rows that were answered.
        split: what these rows are called.
        answers: to each row.
    """
    log = json.loads(gradients.read_text(encoding="utf-8")) if gradients.exists() else {}
    return ReportData(
        result=result,
        goal=goal,
        trials=[_trial(trial) for trial in trials],
        gradients=[_gradient(norms) for norms in log.get("norms", [])],
        findings=[finding["sentence"] for finding in log.get("findings", [])],
        samples=_samples(table, answers, seed=int(result["seed"])),
        sampled=split,
    )


def _trial(trial: Trial) -> TrialRecord:
    curve = [{"epoch": epoch, "values": dict(values)} for epoch, values in trial.reports]
    return TrialRecord(trial.number, trial.state, trial.candidate, trial.values, curve, trial.reason, trial.findings)


def _gradient(norms: Mapping[str, float]) -> GradientRecord:
    branches = {name: norm for name, norm in norms.items() if name not in ("epoch", "total")}
    return GradientRecord(norms["epoch"], norms["total"], branches)


def _samples(table: Table, answers: Sequence[Answered], *, seed: int) -> list[Sample]:
    """A few rows answered wrongly and as many answered rightly, drawn at random from rows that have a target."""
    rng = np.random.default_rng(seed)
    chosen: dict[bool | None, list[Sample]] = {False: [], True: [], None: []}
    for row in rng.permutation(len(table)):
        kind = chosen[answers[row].right]
        if table.targets[row] is not None and len(kind) < _EACH:
            kind.append(_sample(table, int(row), answers[row]))
    return [sample for kind in chosen.values() for sample in kind]


def _sample(table: Table, row: int, answer: Answered) -> Sample:
    values = table.row(row)
    shown = {name: table.schema[name].modality for name in values}
    return Sample(
        images={name: value for name, value in values.items() if shown[name] == "image"},
        texts={name: value for name, value in values.items() if shown[name] not in FILES},
        answer=table.targets[row],
        prediction=answer.prediction,
        score=answer.score,
        right=answer.right,
        sounds={name: value for name, value in values.items() if shown[name] == "audio"},
    )
