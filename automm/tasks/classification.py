"""Single-label classification.

Shape legend: B rows, C classes, D width.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from automm.metrics.classes import UNSEEN, log_loss
from automm.tasks import scoring
from automm.tasks.task import Task
from automm.tasks.weighing import Weighing
from automm.types import Column, Goal, Table

log = logging.getLogger(__name__)

_MANY = 1000  # classes
_FEW = 100  # training rows a class, on average, up to which its name is worth a row
_BETWEEN_WORDS = re.compile(r"[\W_]+")
_NO_LETTERS = re.compile(r"[\W\d_]+")


class Classification(Task):
    """One of a few classes a row: cross-entropy, judged by accuracy.

    The classes are the distinct training targets as text, numbers in their own order. A class that only validation or
    test rows have counts as wrong there.

    Args:
        label_rows: learn from the classes' names too, where rows have texts and a class has few rows: every class whose
            name, digits aside, no other shares is a further training row: its texts say the name, it lacks all else.
    """

    goal = Goal("accuracy", "maximize")
    goals = (goal, Goal("loss", "minimize"))
    gives = ("classes",)

    def __init__(self, *, label_rows: bool = True) -> None:
        self.label_rows = label_rows
        self._has_few_rows = False  # at most _FEW a class in the table given to `fit`; folds and refits go by that too

    def fit(self, train: Table) -> None:
        """Learn the classes; where most stand in one row alone, or are very many, a warning says so.

        Raises:
            DataError: a row has no target, or all have the same.
        """
        counts = Counter(self._names(train))
        self.labels = scoring.label_set(list(counts))
        self._has_few_rows = len(train) <= _FEW * len(self.labels)
        alone = sum(count == 1 for count in counts.values())
        if len(counts) > _MANY or 2 * alone > len(counts):
            log.warning(
                "the target has %d classes in %d training rows, %d of them in one row alone: what stands once can be "
                "learnt and not validated. Next: see whether it is a number (+task=regression), or too fine.",
                len(counts),
                len(train),
                alone,
            )

    def extra_rows(self, train: Table) -> Table | None:
        """A row a class that has a name: see `label_rows`. Numbers, single letters and numbered codes are none."""
        texts = [spec.name for spec in train.schema.inputs if spec.modality == "text"]
        letters = {label: _NO_LETTERS.sub("", label).lower() for label in self.labels}
        sharing = Counter(letters.values())
        named = [label for label, each in letters.items() if len(each) > 1 and sharing[each] == 1]
        if not (self.label_rows and self._has_few_rows and texts and named):
            return None
        said = Column([_BETWEEN_WORDS.sub(" ", label).strip() for label in named], np.arange(len(named)))
        nothing = Column([], np.full(len(named), -1))
        return Table(
            train.schema,
            {name: said if name in texts else nothing for name in train.columns},
            named,
            [f"the class {label}" for label in named],
            {name: np.full(len(named), "") for name in train.groups},
        )

    def unseen(self, table: Table, among: Table | None = None) -> list[str]:
        """The classes of rows whose class no training row has, or none of `among`; a row without a target has none."""
        known = set(self.labels) if among is None else set(_named(among))
        return [name for name in _named(table) if name not in known]

    def targets(self, table: Table) -> dict[str, np.ndarray]:
        """`label`, int64 [rows]."""
        return {"label": self.label_numbers(table)}

    def label_numbers(self, table: Table) -> np.ndarray:
        """Each row's class."""
        return scoring.label_numbers(self._names(table), self.labels)

    def perfect(self, table: Table) -> np.ndarray:
        """One-hot [rows, C]."""
        return scoring.one_hot(self.label_numbers(table), len(self.labels))

    def head(self, width: int, *, hidden: int, dropout: float) -> nn.Module:
        """[B, width] -> logits [B, C]."""
        return scoring.mlp_head(width, len(self.labels), hidden=hidden, dropout=dropout)

    def loss(self, logits_BC: Tensor, targets: Mapping[str, Tensor], *, label_smoothing: float) -> Tensor:
        """Mean cross-entropy over the rows whose class is known."""
        return F.cross_entropy(logits_BC, targets["label"], label_smoothing=label_smoothing, ignore_index=UNSEEN)

    def weighed_loss(
        self, logits_BC: Tensor, targets: Mapping[str, Tensor], *, label_smoothing: float, weighing: Weighing
    ) -> Tensor:
        """The same, weighed by class and by how well a row is known."""
        return weighing.softmax(logits_BC, targets["label"], label_smoothing=label_smoothing)

    def probabilities(self, logits_BC: Tensor) -> Tensor:
        """Softmax."""
        return logits_BC.softmax(dim=-1)

    def metrics(self, scores_BC: np.ndarray, table: Table) -> dict[str, float]:
        """`accuracy`, `accuracy/<group>` for every value of every group, `loss` (mean negative log-likelihood)."""
        label_B = self.label_numbers(table)
        right_B = (scores_BC.argmax(axis=1) == label_B).astype(np.float64)
        return {
            **dict(scoring.by_group("accuracy", right_B, table.groups)),
            "loss": float(log_loss(scores_BC, label_B).mean()),
        }

    def compared(self, scores_BC: np.ndarray, table: Table) -> tuple[np.ndarray, np.ndarray]:
        """The scores as they are, and each row's class."""
        return scores_BC, self.targets(table)["label"]

    def majority(self, train: Table, rows: int) -> np.ndarray:
        """The classes' frequencies among the training targets, the same for every row."""
        share_C = self.perfect(train).mean(axis=0)
        return np.broadcast_to(share_C, (rows, len(share_C)))

    def _names(self, table: Table) -> Sequence[str]:
        return [scoring.as_label(value) for value in scoring.checked(table.targets, table.ids)]


def _named(table: Table) -> list[str]:
    """The classes of rows that have a target."""
    return [scoring.as_label(value) for value in table.targets if not scoring.is_missing(value)]
