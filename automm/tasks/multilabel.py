"""Multi-label classification.

Shape legend: B rows, C labels, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.metrics import average_precision_score, f1_score
from torch import Tensor, nn
from torch.nn import functional as F

from automm.errors import DataError, OutOfRange
from automm.runtime import decode
from automm.tasks import scoring
from automm.tasks.task import Task
from automm.tasks.weighing import Weighing
from automm.types import Goal, Table


class MultiLabel(Task):
    """Any number of labels a row, none included: a binary cross-entropy each, judged by micro-averaged F1.

    A target is a list of labels, or a text that lists them. A label is answered where its score is half or more. Labels
    that only validation or test rows have count as missed there.

    Args:
        separator: between the labels of a text.

    Raises:
        OutOfRange: `separator` is empty.
    """

    goal = Goal("f1", "maximize")
    goals = (
        goal,
        *(Goal(name, "maximize") for name in ("f1_macro", "map", "subset_accuracy")),
        Goal("loss", "minimize"),
    )
    gives = ("labels",)
    DECODE: ClassVar[str] = decode.HALF_OR_MORE

    def __init__(self, *, separator: str = ",") -> None:
        if not separator:
            raise OutOfRange("task.separator is empty. Next: what stands between labels, such as task.separator=';'.")
        self.separator = separator

    def fit(self, train: Table) -> None:
        """Learn the labels.

        Raises:
            DataError: a row has no target (an empty list is one), there is no label at all, or all rows have the same.
        """
        rows = self._names(train)
        found = {label for names in rows for label in names}
        if not found:
            raise DataError("no training row has a label. Next: name another target column.")
        if all(set(names) == found for names in rows):
            raise DataError(
                f"the training targets do not differ: all are {', '.join(sorted(found))}. Next: name another target."
            )
        self.labels = scoring.in_reading_order(found)

    def targets(self, table: Table) -> dict[str, np.ndarray]:
        """`labels`, float32 [rows, C], 1 for each label that a row has."""
        return {"labels": self.perfect(table)}

    def perfect(self, table: Table) -> np.ndarray:
        """Several-hot [rows, C]."""
        at = {label: number for number, label in enumerate(self.labels)}
        out_BC = np.zeros((len(table), len(self.labels)), np.float32)
        for row, names in enumerate(self._names(table)):
            out_BC[row, [at[name] for name in names if name in at]] = 1.0
        return out_BC

    def head(self, width: int, *, hidden: int, dropout: float) -> nn.Module:
        """[B, width] -> logits [B, C]."""
        return scoring.mlp_head(width, len(self.labels), hidden=hidden, dropout=dropout)

    def loss(self, logits_BC: Tensor, targets: Mapping[str, Tensor], *, label_smoothing: float) -> Tensor:
        """Mean over rows of the labels' binary cross-entropies, summed."""
        wanted_BC = _smoothed(targets["labels"].to(logits_BC.dtype), label_smoothing)
        return F.binary_cross_entropy_with_logits(logits_BC, wanted_BC, reduction="sum") / len(logits_BC)

    def weighed_loss(
        self, logits_BC: Tensor, targets: Mapping[str, Tensor], *, label_smoothing: float, weighing: Weighing
    ) -> Tensor:
        """The same; the rarer a label, the more its presence weighs, while the absence of any weighs 1."""
        wanted_BC = targets["labels"].to(logits_BC.dtype)
        return weighing.sigmoid(logits_BC, wanted_BC, _smoothed(wanted_BC, label_smoothing))

    def probabilities(self, logits_BC: Tensor) -> Tensor:
        """A sigmoid each."""
        return torch.sigmoid(logits_BC)

    def metrics(self, scores_BC: np.ndarray, table: Table) -> dict[str, float]:
        """`f1` (micro) and `f1/<group>`, `f1_macro`, `map` (mean average precision), `subset_accuracy`, `loss`.

        `loss` is what a row's binary cross-entropies sum to, on average. Macro averages are over labels that occur.
        """
        wanted_BC, answered_BC = self.perfect(table) > 0, scores_BC >= decode.HALF
        missed_B = self._missed(table)
        occurs_C = wanted_BC.any(axis=0)
        groups = {f"f1/{group}": of == group for of in table.groups.values() for group in sorted(set(of.tolist()))}
        everyone = np.ones(len(table), bool)
        macro = f1_score(wanted_BC[:, occurs_C], answered_BC[:, occurs_C], average="macro", zero_division=0)
        average = average_precision_score(wanted_BC[:, occurs_C], scores_BC[:, occurs_C], average="macro")
        exact_B = (wanted_BC == answered_BC).all(axis=1) & (missed_B == 0)
        p_BC = np.clip(scores_BC.astype(np.float64), 1e-7, 1 - 1e-7)
        loss_BC = -np.where(wanted_BC, np.log(p_BC), np.log1p(-p_BC))
        return {
            **{
                name: _micro_f1(wanted_BC[rows], answered_BC[rows], missed_B[rows])
                for name, rows in {"f1": everyone, **groups}.items()
            },
            "f1_macro": float(macro),
            "map": float(average),
            "subset_accuracy": float(exact_B.mean()),
            "loss": float(loss_BC.sum(axis=1).mean()),
        }

    def compared(self, scores_BC: np.ndarray, table: Table) -> tuple[np.ndarray, np.ndarray]:
        """Scores and which labels a row has, both with columns for as many labels never seen as a row has at most."""
        missed_B = self._missed(table)
        unseen_BM = np.arange(missed_B.max(initial=0)) < missed_B[:, None]
        zero_BM = np.zeros(unseen_BM.shape, scores_BC.dtype)
        return np.hstack([scores_BC, zero_BM]), np.hstack([self.perfect(table) > 0, unseen_BM])

    def decode(self, scores_C: np.ndarray) -> list[str]:
        """The labels whose score is half or more, the highest first."""
        answer: list[str] = decode.half_or_more(scores_C, self.labels, 0)["answer"]
        return answer

    def right(self, prediction: Any, target: Any) -> bool:
        """Whether the answered labels are the target's."""
        return set(prediction) == set(self._listed(target))

    def majority(self, train: Table, rows: int) -> np.ndarray:
        """The labels' frequencies among the training rows, the same for every row."""
        share_C = self.perfect(train).mean(axis=0)
        return np.broadcast_to(share_C, (rows, len(share_C)))

    def _names(self, table: Table) -> list[list[str]]:
        return [self._listed(value) for value in scoring.checked(table.targets, table.ids)]

    def _missed(self, table: Table) -> np.ndarray:
        """int64 [rows]: how many labels a row has that training never saw."""
        known = set(self.labels)
        return np.fromiter((len(set(names) - known) for names in self._names(table)), np.int64, len(table))

    def _listed(self, value: Any) -> list[str]:
        if isinstance(value, str):
            return [name for part in value.split(self.separator) if (name := part.strip())]
        if isinstance(value, Iterable):
            return [scoring.as_label(each) for each in value]
        return [scoring.as_label(value)]


def _smoothed(wanted_BC: Tensor, label_smoothing: float) -> Tensor:
    return wanted_BC * (1 - label_smoothing) + label_smoothing / 2


def _micro_f1(wanted_BC: np.ndarray, answered_BC: np.ndarray, missed_B: np.ndarray) -> float:
    """F1 over all pairs of row and label; `missed` labels a row has that no output stands for."""
    hits = float((wanted_BC & answered_BC).sum())
    total = float(wanted_BC.sum() + answered_BC.sum() + missed_B.sum())
    return 2 * hits / total if total else 1.0
