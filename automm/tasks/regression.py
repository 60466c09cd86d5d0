"""Regression.

Shape legend: B rows, D width. There is one output.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from automm.errors import DataError
from automm.runtime import decode
from automm.tasks import scoring
from automm.tasks.task import Task
from automm.types import Goal, Table

_OUTPUT = "value"


class Regression(Task):
    """One number a row: squared error, judged by its root mean.

    Targets are standardised by the training rows' mean and deviation for the loss; scores, metrics and answers are in
    the targets' own unit.
    """

    goal = Goal("rmse", "minimize")
    goals = (goal, Goal("mae", "minimize"), Goal("r2", "maximize"), Goal("loss", "minimize"))
    gives = ("numbers",)
    DECODE: ClassVar[str] = decode.NUMBER
    CLASSES: ClassVar[bool] = False

    def fit(self, train: Table) -> None:
        """Learn the mean and the deviation.

        Raises:
            DataError: a row has no target, one that is no finite number, or all have the same.
        """
        value_B = _numbers(train)
        self.mean, self.deviation = float(value_B.mean()), float(value_B.std())
        if not self.deviation > 1e-12 * max(1.0, abs(self.mean)):
            raise DataError(f"the training targets do not differ: all are {self.mean:g}. Next: name another target.")
        self.labels = (_OUTPUT,)

    @property
    def score_scale(self) -> float:
        """The targets' deviation; more where they lie so far from 0 that float32 does not hold it as exactly."""
        return max(self.deviation, abs(self.mean) / 100)

    def state(self) -> dict[str, Any]:
        """The label, the mean and the deviation."""
        return {**super().state(), "mean": self.mean, "deviation": self.deviation}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        super().restore(state)
        self.mean, self.deviation = float(state["mean"]), float(state["deviation"])

    def targets(self, table: Table) -> dict[str, np.ndarray]:
        """`value`, float32 [rows], standardised."""
        return {"value": ((_numbers(table) - self.mean) / self.deviation).astype(np.float32)}

    def perfect(self, table: Table) -> np.ndarray:
        """The targets, [rows, 1]."""
        return _numbers(table)[:, None].astype(np.float32)

    def wanted_logits(self, table: Table) -> np.ndarray:
        """The standardised targets, [rows, 1]."""
        return self.targets(table)["value"][:, None]

    def head(self, width: int, *, hidden: int, dropout: float) -> nn.Module:
        """[B, width] -> [B, 1]."""
        return scoring.mlp_head(width, 1, hidden=hidden, dropout=dropout)

    def loss(self, logits_BC: Tensor, targets: Mapping[str, Tensor], *, label_smoothing: float) -> Tensor:
        """Mean squared error of standardised targets; numbers have no labels to smooth."""
        return F.mse_loss(logits_BC[:, 0], targets["value"].to(logits_BC.dtype))

    def probabilities(self, logits_BC: Tensor) -> Tensor:
        """In the targets' unit; not a probability."""
        return logits_BC * self.deviation + self.mean

    def metrics(self, scores_BC: np.ndarray, table: Table) -> dict[str, float]:
        """`rmse` and `mae`, each also as `<metric>/<group>`, `r2`, and `loss` (mean squared error)."""
        wanted_B = _numbers(table)
        error_B = scores_BC[:, 0].astype(np.float64) - wanted_B
        squared = dict(scoring.by_group("rmse", error_B**2, table.groups))
        spread = float(((wanted_B - wanted_B.mean()) ** 2).mean())
        return {
            **{name: math.sqrt(value) for name, value in squared.items()},
            **dict(scoring.by_group("mae", np.abs(error_B), table.groups)),
            **({"r2": 1 - squared["rmse"] / spread} if spread else {}),
            "loss": squared["rmse"],
        }

    def compared(self, scores_BC: np.ndarray, table: Table) -> tuple[np.ndarray, np.ndarray]:
        """The scores as they are, and the targets in their own unit."""
        return scores_BC, _numbers(table)

    def decode(self, scores_C: np.ndarray) -> float:
        """The number."""
        return float(scores_C[0])

    def right(self, prediction: Any, target: Any) -> None:
        """Numbers are near or far."""

    def majority(self, train: Table, rows: int) -> np.ndarray:
        """The training targets' mean, for every row."""
        return np.full((rows, 1), _numbers(train).mean(), np.float32)


def _numbers(table: Table) -> np.ndarray:
    """The targets, float64 [rows].

    Raises:
        DataError: a target is missing, or no finite number.
    """
    targets: Sequence[Any] = scoring.checked(table.targets, table.ids)
    out_B = np.empty(len(targets))
    for at, value in enumerate(targets):
        try:
            out_B[at] = float(value)
        except (TypeError, ValueError):
            out_B[at] = math.nan
        if not math.isfinite(out_B[at]):
            raise DataError(
                f"row {table.ids[at]!r} has the target {value!r}, which is no finite number. "
                "Next: clean the column, or use task=classification for names."
            )
    return out_B
