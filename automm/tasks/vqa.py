"""Visual question answering as classification over the answers of the training set.

Shape legend: B rows, C answers, D width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from automm.data import vqa_metric
from automm.errors import DataError
from automm.metrics.classes import UNSEEN, log_loss
from automm.tasks import scoring
from automm.tasks.task import Task
from automm.tasks.weighing import Weighing
from automm.types import Goal, Table, Targets

_SINGLE = Goal("accuracy", "maximize")
_PEOPLE = Goal("vqa_score", "maximize")
_LOSS = Goal("loss", "minimize")


class VQA(Task):
    """An answer to a question about an image, chosen among the answers of the training set.

    A target is one answer (softmax, cross-entropy, judged by accuracy) or a list of several people's answers (a sigmoid
    an answer, binary cross-entropy against min(1, 0.3 n), judged by the official VQA score; Teney et al. 2018,
    arXiv:1708.02711). Which of the two it is, the training table decides.

    Args:
        answers: the most frequent answers that are kept; None keeps all.
        skip_unanimous: compare as the official code does, which leaves answers that all agree unnormalised.
    """

    goal = _SINGLE
    goals: tuple[Goal, ...] = (_SINGLE, _PEOPLE, _LOSS)
    gives: tuple[Targets, ...] = ("classes", "shares")

    def __init__(self, *, answers: int | None = 3129, skip_unanimous: bool = True) -> None:
        self.answers_kept = answers
        self.skip_unanimous = skip_unanimous
        self.people = False  # whether targets are several people's answers

    def fit(self, train: Table) -> None:
        """Learn the answers, and which kind of target there is.

        Raises:
            DataError: a row has no answer, kinds are mixed, or there are fewer than two answers.
        """
        targets = scoring.checked(train.targets, train.ids)
        kinds = {_several(target) for target in targets}
        if len(kinds) > 1:
            odd = next(i for i, t in zip(train.ids, targets, strict=True) if _several(t) != _several(targets[0]))
            raise DataError(
                f"row {odd!r} and row {train.ids[0]!r} have different kinds of answers: one and a list of several. "
                "Next: give every question one answer, or every question a list."
            )
        self._set_kind(people=kinds == {True})
        weight: Counter[str] = Counter()
        for target in targets:
            weight.update(self._wanted(target))
        kept = sorted(weight, key=lambda answer: (-weight[answer], answer))[: self.answers_kept]
        self.labels = scoring.label_set(kept)

    def state(self) -> dict[str, Any]:
        """What `fit` learnt."""
        return {**super().state(), "people": self.people}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        super().restore(state)
        self._set_kind(people=bool(state["people"]))

    def targets(self, table: Table) -> dict[str, np.ndarray]:
        """`label`, int64 [rows], of single answers.

        Of several people's, the K answers that score: `answer` int64 and `score` float32, both [rows, K], padded by 0
        (thousands of answers and half a million questions make no dense array).
        """
        if not self.people:
            return {"label": scoring.label_numbers(self._names(table), self.labels)}
        at = {label: number for number, label in enumerate(self.labels)}
        targets = scoring.checked(table.targets, table.ids)
        wanted = [[(at[a], s) for a, s in self._wanted(target).items() if a in at] for target in targets]
        most = max((len(pairs) for pairs in wanted), default=0) or 1
        answer_BK = np.zeros((len(wanted), most), np.int64)
        score_BK = np.zeros((len(wanted), most), np.float32)
        for row, pairs in enumerate(wanted):
            for k, (number, score) in enumerate(pairs):
                answer_BK[row, k], score_BK[row, k] = number, score
        return {"answer": answer_BK, "score": score_BK}

    def label_numbers(self, table: Table) -> np.ndarray | None:
        """Each row's answer, where there is one."""
        return None if self.people else self.targets(table)["label"]

    def perfect(self, table: Table) -> np.ndarray:
        """What each answer scores for each row, [rows, C]."""
        targets = self.targets(table)
        if not self.people:
            return scoring.one_hot(targets["label"], len(self.labels))
        out_BC = np.zeros((len(table), len(self.labels)), np.float32)
        np.add.at(out_BC, (np.arange(len(table))[:, None], targets["answer"]), targets["score"])
        return out_BC

    def head(self, width: int, *, hidden: int, dropout: float) -> nn.Module:
        """[B, width] -> logits [B, C]."""
        return scoring.mlp_head(width, len(self.labels), hidden=hidden, dropout=dropout)

    def loss(self, logits_BC: Tensor, targets: Mapping[str, Tensor], *, label_smoothing: float) -> Tensor:
        """Mean over rows of the cross-entropy; of several people's answers, of the binary ones summed over answers."""
        if not self.people:
            return F.cross_entropy(logits_BC, targets["label"], label_smoothing=label_smoothing, ignore_index=UNSEEN)
        wanted_BC = _smoothed(_wanted_scores(logits_BC, targets), label_smoothing)
        return F.binary_cross_entropy_with_logits(logits_BC, wanted_BC, reduction="sum") / len(logits_BC)

    def weighed_loss(
        self, logits_BC: Tensor, targets: Mapping[str, Tensor], *, label_smoothing: float, weighing: Weighing
    ) -> Tensor:
        """The same, weighed by answer and by how well it is known."""
        if not self.people:
            return weighing.softmax(logits_BC, targets["label"], label_smoothing=label_smoothing)
        wanted_BC = _wanted_scores(logits_BC, targets)
        return weighing.sigmoid(logits_BC, wanted_BC, _smoothed(wanted_BC, label_smoothing))

    def probabilities(self, logits_BC: Tensor) -> Tensor:
        """Softmax over single answers; a sigmoid an answer where several people answered."""
        return torch.sigmoid(logits_BC) if self.people else logits_BC.softmax(dim=-1)

    def metrics(self, scores_BC: np.ndarray, table: Table) -> dict[str, float]:
        """`accuracy` or `vqa_score`, the same of every group, and `loss` (mean negative log-likelihood)."""
        if self.people:
            predictions = [self.labels[at] for at in scores_BC.argmax(axis=1)]
            value_B = vqa_metric.scores(predictions, table.targets, skip_unanimous=self.skip_unanimous)
            targets = self.targets(table)
            loss_B = scoring.binary_log_loss(scores_BC, targets["answer"], targets["score"])
        else:
            label_B = self.targets(table)["label"]
            value_B = (scores_BC.argmax(axis=1) == label_B).astype(np.float64)
            loss_B = log_loss(scores_BC, label_B)
        return {**dict(scoring.by_group(self.goal.metric, value_B, table.groups)), "loss": float(loss_B.mean())}

    def compared(self, scores_BC: np.ndarray, table: Table) -> tuple[np.ndarray, np.ndarray]:
        """The scores as they are, and each row's answer, or what every answer is worth to several people."""
        return scores_BC, self.perfect(table) if self.people else self.targets(table)["label"]

    def majority(self, train: Table, rows: int) -> np.ndarray:
        """The answers' mean training scores, the same for every row."""
        targets = self.targets(train)
        answer = targets["answer"].ravel() if self.people else targets["label"][targets["label"] != UNSEEN]
        score = targets["score"].ravel() if self.people else None
        share_C = np.bincount(answer, weights=score, minlength=len(self.labels)) / len(train)
        return np.broadcast_to(share_C, (rows, len(share_C)))

    def right(self, prediction: Any, target: Any) -> bool:
        """Whether the answer is the target, or scores with several people's."""
        return prediction in self._wanted(target)

    def answers(self, predictions: Sequence[Any], table: Table) -> list[dict[str, Any]]:
        """The official result format: `question_id` and `answer`."""
        return [{"question_id": i, "answer": p} for i, p in zip(table.ids, predictions, strict=True)]

    def _set_kind(self, *, people: bool) -> None:
        self.people = people
        self.goal = _PEOPLE if people else _SINGLE
        self.goals = (self.goal, _LOSS)
        self.gives = ("shares",) if people else ("classes",)

    def _wanted(self, target: Any) -> dict[str, float]:
        """The answers that score for a target, and what they score."""
        if not _several(target):
            return {scoring.as_label(target): 1.0}
        return vqa_metric.answer_scores([str(a) for a in target], skip_unanimous=self.skip_unanimous)

    def _names(self, table: Table) -> Sequence[str]:
        return [scoring.as_label(value) for value in scoring.checked(table.targets, table.ids)]


def _wanted_scores(logits_BC: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    """What every answer scores, [B, C], from the pairs that `VQA.targets` lists."""
    return torch.zeros_like(logits_BC).scatter_add(1, targets["answer"], targets["score"].to(logits_BC.dtype))


def _smoothed(wanted_BC: Tensor, label_smoothing: float) -> Tensor:
    if not label_smoothing:
        return wanted_BC
    return wanted_BC * (1 - label_smoothing) + label_smoothing / wanted_BC.shape[1]


def _several(target: Any) -> bool:
    return isinstance(target, (list, tuple))
