"""What a run says of its winner beside how good it is: which inputs that rests on, and whether scores can be believed.

Nothing is chosen by it.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from automm.ensemble import Ensemble
from automm.export.checkpoint import Trained
from automm.model import Model
from automm.training import calibration
from automm.training.inputs import costly_field
from automm.training.objective import TrainingObjective
from automm.training.reliance import REPEATS, drawn, reliance
from automm.types import Goal, Table


def inputs_relied_on(
    trained: Trained, objective: TrainingObjective, table: Table, goal: Goal, *, split: str, seed: int
) -> dict[str, Any]:
    """`explained`, `removed` and `importance` of result.json.

    Args:
        trained: the model.
        objective: the run's, which knows where features are kept.
        table: rows with targets, at the end of a run those of the test; a sample where they are many.
        goal: what importance is told in.
        split: what the rows are called.
        seed: of the sample and the shuffling.
    """
    sample = drawn(table, seed=seed, group_by=costly_field(table))
    weights = trained.model.weights if isinstance(trained.model, Ensemble) else (1.0,)
    members = [
        (weight, *objective.reading(cast(Model, each.model), each.candidate, sample, each.preprocessors))
        for weight, each in zip(weights, trained.members or (trained,), strict=True)
    ]
    found = reliance(members, objective.task, goal, seed=seed)
    about = {"split": split, "rows": len(sample), "repeats": REPEATS, "metric": found.metric, "whole": found.whole}
    return {
        "explained": about,
        "removed": found.removed,
        "importance": {name: {"drop": drop.mean, "spread": drop.spread} for name, drop in found.importance.items()},
    }


def calibration_of(
    trained: Trained, scores_BC: np.ndarray, table: Table, *, fitted_by: str | None
) -> dict[str, Any] | None:
    """`calibration` of result.json; None where scores are no softmax, which has a temperature.

    Args:
        trained: the model.
        scores_BC: what it scores.
        table: the rows that it scores, with their targets.
        fitted_by: whose validation scores its temperature is from: `winner`, `trial` or None.
    """
    label_B = trained.task.label_numbers(table)
    if label_B is None:
        return None
    temperature = round(float(trained.model.temperature), 4)
    before_BC = calibration.at_temperature_one(scores_BC, temperature)
    before, after = (calibration.reliability(each, label_B) for each in (before_BC, scores_BC))
    return {
        "temperature": temperature,
        "fitted_by": fitted_by,
        "ece_before": calibration.expected_error(before),
        "ece_after": calibration.expected_error(after),
        "bins": calibration.BINS,
        "bins_before": [each._asdict() for each in before],
        "bins_after": [each._asdict() for each in after],
    }
