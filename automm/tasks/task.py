"""What a task is: targets, a head per stream, a loss, metrics, a goal, and how a score becomes an answer.

Shape legend: B rows, C outputs (classes), D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from automm.metrics.named import measured
from automm.runtime.decode import ARGMAX
from automm.tasks import scoring
from automm.tasks.weighing import Weighing
from automm.types import Goal, Table, Targets


class Task:
    """Base of every task. Built from keyword options, then `fit` on the training table learns the label set."""

    API: ClassVar[int] = 1
    DECODE: ClassVar[str] = ARGMAX  # how the runtime turns scores into an answer: a name in runtime/decode.py
    CLASSES: ClassVar[bool] = True  # whether outputs are classes that targets count for
    PAIRS: ClassVar[bool] = False  # True: rows are pairs without a target, scores a vector of each of the two fields
    goal: Goal
    goals: tuple[Goal, ...] = ()  # every metric that `metrics` gives, groups aside
    gives: tuple[Targets, ...] = ()  # what `compared` makes of targets, or may make where the table decides it
    named: tuple[str, ...] = ()  # further metrics, by name; `judged.py` sets them, and the objective
    objective: Goal | None = None  # what to drive at instead of the goal
    labels: tuple[str, ...]  # what each of the C outputs means; set by fit

    @property
    def score_scale(self) -> float:
        """What counts as one in the scores' own unit: a difference between two computations is judged against it."""
        return 1.0

    @property
    def aim(self) -> Goal:
        """What a search drives at, and what patience watches."""
        return self.objective or self.goal

    def outputs(self, widths: Sequence[int]) -> int:
        """How many scores a row has, C, where the heads read streams of these widths."""
        return len(self.labels)

    def fit(self, train: Table) -> None:
        """Learn the label set from the training table's targets.

        Raises:
            DataError: the targets cannot be learnt (none, one class only).
        """
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """What `fit` learnt, as plain JSON; a saved model needs it beside the task's options."""
        return {"labels": list(self.labels)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`, instead of `fit`."""
        self.labels = tuple(state["labels"])

    def targets(self, table: Table) -> dict[str, np.ndarray]:
        """The arrays `loss` needs, each with a leading row axis; a target unseen in training scores as wrong."""
        raise NotImplementedError

    def unseen(self, table: Table, among: Table | None = None) -> list[str]:
        """The classes of rows whose class no row of `among` has, one entry a row; empty where targets are no classes.

        Without `among` that is the training table; it is the other folds' rows where `table` holds those of a fold.
        """
        return []

    def label_numbers(self, table: Table) -> np.ndarray | None:
        """Which output each row's answer is, int64 [rows], UNSEEN where none; None where scores are no softmax.

        A model is calibrated by these, and its answer is the output of the highest score.
        """
        return None

    def extra_rows(self, train: Table) -> Table | None:
        """Rows with the same columns to learn from beside those of the training table; nothing is judged by them.

        After `fit`. None: there are none.
        """
        return None

    def perfect(self, table: Table) -> np.ndarray:
        """The scores [rows, C] float32 a perfect model gives. All zero: an unseen target."""
        raise NotImplementedError(f"{type(self).__name__} states no perfect scores; closed forms need them")

    def wanted_logits(self, table: Table) -> np.ndarray:
        """What closed forms regress on, float32 [rows, C]: `perfect`, where logits have the scores' scale."""
        return self.perfect(table)

    def head(self, width: int, *, hidden: int, dropout: float) -> nn.Module:
        """A module [B, width] -> logits [B, C]; `hidden` 0 is a linear head."""
        raise NotImplementedError

    def loss(self, logits_BC: Tensor, targets: Mapping[str, Tensor], *, label_smoothing: float) -> Tensor:
        """The scalar training loss."""
        raise NotImplementedError

    def weighed_loss(
        self, logits_BC: Tensor, targets: Mapping[str, Tensor], *, label_smoothing: float, weighing: Weighing
    ) -> Tensor:
        """`loss` with its terms weighed; a task that has none is not trained with class weights or a focal loss.

        The weights of the classes come from their shares, which `majority` gives. `Weighing()` gives `loss`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no weighed loss")

    @property
    def weighs(self) -> bool:
        """Whether there is a `weighed_loss`."""
        return type(self).weighed_loss is not Task.weighed_loss

    def probabilities(self, logits_BC: Tensor) -> Tensor:
        """Logits -> scores a user reads, [B, C]; part of the exported graph."""
        raise NotImplementedError

    def metrics(self, scores_BC: np.ndarray, table: Table) -> dict[str, float]:
        """Every metric by name, `loss` (plain negative log-likelihood or squared error) and `<metric>/<group>` too."""
        raise NotImplementedError

    def compared(self, scores_BC: np.ndarray, table: Table) -> tuple[np.ndarray, np.ndarray]:
        """Scores and targets as metrics by name read them; see `automm.metrics.metric`."""
        raise NotImplementedError(f"{type(self).__name__} has nothing for metrics by name to read")

    def measure(self, scores_BC: np.ndarray, table: Table) -> dict[str, float]:
        """What `metrics` gives, then the metrics in `named` that are not among that.

        Raises:
            BrokenPlugin: one of them raised, or gave no number.
        """
        own = self.metrics(scores_BC, table)
        further = [name for name in self.named if name not in own]
        if not further:
            return own
        scores_BC, targets = self.compared(scores_BC.astype(np.float32, copy=False), table)
        return {**own, **dict(measured(further, scores_BC, targets, table.groups))}

    def decode(self, scores_C: np.ndarray) -> Any:
        """The answer for one row's scores; plain JSON."""
        return self.labels[int(scores_C.argmax())]

    def predictions(self, scores_BC: np.ndarray, table: Table) -> list[Any]:
        """What is said of every row of a table whose scores are known; plain JSON."""
        return [self.decode(scores_C) for scores_C in scores_BC]

    def right(self, prediction: Any, target: Any) -> bool | None:
        """Whether a prediction is a raw target; None where nearness is what counts."""
        return bool(prediction == scoring.as_label(target))

    def majority(self, train: Table, rows: int) -> np.ndarray:
        """The scores [rows, C] of the baseline that knows the training targets' distribution alone."""
        raise NotImplementedError

    def answers(self, predictions: Sequence[Any], table: Table) -> list[dict[str, Any]]:
        """Predictions in the task's result format."""
        return [{"id": i, "prediction": p} for i, p in zip(table.ids, predictions, strict=True)]
