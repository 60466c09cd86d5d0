"""Retrieval: of two fields, find for each item of one what belongs to it in the other.

Shape legend: B rows, C numbers of a row (two vectors side by side), D width, X and Y distinct items of the first and of
the second field, Q queries.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from automm.errors import DataError
from automm.runtime import decode
from automm.runtime.distinct import distinct
from automm.tasks.ranking import CUTS, GAIN_AT, TEMPERATURE, Pairs, Ranking, chance
from automm.tasks.task import Task
from automm.types import PAIR, Goal, Table

_LOG_MOST = math.log(100.0)  # of the scale of cosines: CLIP's bound
_ITEMS = ("first_item", "second_item")


class Retrieval(Task):
    """Items of two fields that belong together, learnt by contrast (CLIP, Radford et al. 2021, arXiv:2103.00020).

    A row is a pair; there is no target. Equal values are one item, which may be in several pairs (an image and its five
    captions): all of them are right, none counts as wrong. Rows that lack either field teach nothing and are not
    measured. Scores are the two unit vectors; judged by recall@1, the mean of both directions.
    """

    goal = Goal("recall@1", "maximize")
    goals = (
        *(Goal(f"{metric}@{cut}", "maximize") for metric in ("recall", "precision") for cut in CUTS),
        Goal(f"ndcg@{GAIN_AT}", "maximize"),
        Goal("mrr", "maximize"),
        Goal("loss", "minimize"),
    )
    DECODE: ClassVar[str] = decode.EMBEDDINGS
    CLASSES: ClassVar[bool] = False
    PAIRS: ClassVar[bool] = True

    def outputs(self, widths: Sequence[int]) -> int:
        """That of the only stream: two vectors side by side."""
        (width,) = widths
        return width

    def fit(self, train: Table) -> None:
        """Learn the names of the two fields.

        Raises:
            DataError: there are not two, rows have targets, or there is nothing to tell apart.
        """
        names = [field.name for field in train.schema.inputs]
        if len(names) != 2:
            raise DataError(
                f"retrieval pairs two input columns, and there are {len(names)}: {', '.join(names) or 'none'}. "
                "Next: leave the others out, data.drop=[...]."
            )
        odd = next((target for target in train.targets if target != PAIR), PAIR)
        if odd != PAIR:
            raise DataError(
                f"retrieval learns from pairs alone, and rows have targets, such as {odd!r:.40}. Next: leave "
                "data.target out (and the column, data.drop=[...]), or choose a source of pairs, data=coco_captions."
            )
        self.labels = (names[0], names[1])
        for name, side in zip(self.labels, self._complete(train).sides, strict=True):
            if len(side.first_U) < 2:
                raise DataError(
                    f"rows with both {names[0]!r} and {names[1]!r} hold {len(side.first_U)} different values of "
                    f"{name!r}, and retrieval tells items apart. Next: give more rows."
                )

    def targets(self, table: Table) -> dict[str, np.ndarray]:
        """`first_item` and `second_item`, int64 [rows]: equal where values are; -1 in rows that lack either."""
        return dict(zip(_ITEMS, self._numbers(table), strict=True))

    def perfect(self, table: Table) -> np.ndarray:
        """[rows, 2 Y]: the first item by which of the second belong to it, the second by itself. All zero: no pair."""
        found = self._complete(table)
        first, second = found.sides
        belongs_XY = np.zeros((len(first.first_U), len(second.first_U)), np.float32)
        belongs_XY[first.item_R, second.item_R] = 1.0
        belongs_XY /= np.linalg.norm(belongs_XY, axis=1, keepdims=True)
        out_BC = np.zeros((len(table), 2 * belongs_XY.shape[1]), np.float32)
        own_RY = np.eye(belongs_XY.shape[1], dtype=np.float32)[second.item_R]
        out_BC[found.row_R] = np.concatenate([belongs_XY[first.item_R], own_RY], axis=1)
        return out_BC

    def head(self, width: int, *, hidden: int, dropout: float) -> nn.Module:
        """[B, width] -> [B, width], a learned scale; `hidden` and `dropout` have no say, vectors are made before."""
        return _Temperature()

    def loss(self, logits_BC: Tensor, targets: Mapping[str, Tensor], *, label_smoothing: float) -> Tensor:
        """Mean of both directions over the batch's distinct items: minus the log of what a right candidate gets against
        all wrong ones, averaged over those that are right; 0 where nothing is wrong. Pairs have no labels to smooth.
        """
        known_B = targets[_ITEMS[0]] >= 0
        if not bool(known_B.any()):
            return logits_BC.sum() * 0.0
        first_BD, second_BD = logits_BC[known_B].float().chunk(2, dim=-1)
        first_XD, x_B = _distinct(first_BD, targets[_ITEMS[0]][known_B])
        second_YD, y_B = _distinct(second_BD, targets[_ITEMS[1]][known_B])
        product_XY = first_XD @ second_YD.T
        right_XY = torch.zeros_like(product_XY, dtype=torch.bool)
        right_XY[x_B, y_B] = True
        return (_contrast(product_XY, right_XY) + _contrast(product_XY.T, right_XY.T)) / 2

    def probabilities(self, logits_BC: Tensor) -> Tensor:
        """Both vectors at length 1, or 0 where the field is missing; their product is the cosine, no probability."""
        return F.normalize(logits_BC.unflatten(-1, (2, -1)), dim=-1).flatten(-2)

    def metrics(self, scores_BC: np.ndarray, table: Table) -> dict[str, float]:
        """What `Ranking.values` names: the mean of both directions, each as `<metric>/<field>_to_<field>`, and
        `<metric>/<group>` of the items that a group's rows hold.

        Every distinct item is a query once and a candidate once; equally like is wrong first.

        Raises:
            DataError: no row has both fields.
        """
        found = self._complete(table)
        by_direction = {name: ranking.values for name, ranking in self._rankings(scores_BC, found).items()}
        out: dict[str, float] = {}
        for metric in next(iter(by_direction.values())):
            each = {name: values[metric] for name, values in by_direction.items()}
            out[metric] = _mean(each.values())
            out |= {f"{metric}/{name}": float(value_Q.mean()) for name, value_Q in each.items()}
            for of in table.groups.values():
                of_R = of[found.row_R]
                for group in sorted(set(of_R.tolist())):
                    held = [np.unique(side.item_R[of_R == group]) for side in found.sides]
                    out[f"{metric}/{group}"] = _mean(v[items] for v, items in zip(each.values(), held, strict=True))
        return out

    def decode(self, scores_C: np.ndarray) -> dict[str, list[float]]:
        """The vector of every field that is there."""
        answer: dict[str, list[float]] = decode.embeddings(scores_C, self.labels, 0)["answer"]
        return answer

    def predictions(self, scores_BC: np.ndarray, table: Table) -> list[dict[str, dict[str, Any]]]:
        """By direction: what comes first among the table's items (its value, or else the name of a row that has it),
        and the rank of the first right one. Empty for a row that lacks a field."""
        found = self._complete(table)
        out: list[dict[str, dict[str, Any]]] = [{} for _ in range(len(table))]
        for at, (direction, ranking) in enumerate(self._rankings(scores_BC, found).items()):
            first_Q, shown = ranking.first, self._shown(table, found, 1 - at)
            for row, query in zip(found.row_R, found.sides[at].item_R, strict=True):
                out[row][direction] = {"best": shown[ranking.best_Q[query]], "rank": int(first_Q[query])}
        return out

    def right(self, prediction: Any, target: Any) -> bool | None:
        """Whether what comes first is right in both directions."""
        return all(each["rank"] == 1 for each in prediction.values()) if prediction else None

    def majority(self, train: Table, rows: int) -> np.ndarray:
        """Chance: vectors that know nothing of the rows, the same ones every time."""
        return chance(rows)

    def _rankings(self, scores_BC: np.ndarray, found: _Complete) -> dict[str, Ranking]:
        """By direction, `<field>_to_<field>`: how items of the one rank those of the other."""
        out = {}
        vectors = [
            half_BD[found.row_R[side.first_U]]
            for half_BD, side in zip(np.split(scores_BC, 2, axis=1), found.sides, strict=True)
        ]
        for one, other in ((0, 1), (1, 0)):
            pairs = Pairs.of(found.sides[one].item_R, found.sides[other].item_R)
            ranking = Ranking.of(vectors[one], vectors[other], pairs)
            out[f"{self.labels[one]}_to_{self.labels[other]}"] = ranking
        return out

    def _numbers(self, table: Table) -> tuple[np.ndarray, np.ndarray]:
        """The item of each row in either field, int64 [rows]; -1 in both where a row lacks one."""
        # By value, not by place in the column: two tables that were joined hold a value twice.
        columns = [table.columns[name] for name in self.labels]
        first_B, second_B = (np.append(distinct(c.values)[1], -1)[c.index] for c in columns)
        lacks_B = (first_B < 0) | (second_B < 0)
        return np.where(lacks_B, -1, first_B), np.where(lacks_B, -1, second_B)

    def _complete(self, table: Table) -> _Complete:
        numbers = self._numbers(table)
        row_R = np.flatnonzero(numbers[0] >= 0)
        if not len(row_R):
            raise DataError(
                f"none of {len(table)} rows has both {self.labels[0]!r} and {self.labels[1]!r}, and a pair needs both. "
                "Next: check the two columns."
            )
        first, second = (_Side(*np.unique(n[row_R], return_index=True, return_inverse=True)[1:]) for n in numbers)
        return _Complete(row_R, (first, second))

    def _shown(self, table: Table, found: _Complete, side: int) -> list[Any]:
        """What each distinct item of a side is called in results."""
        column = table.columns[self.labels[side]]
        rows = found.row_R[found.sides[side].first_U]
        return [column[row] if isinstance(column[row], (str, int, float)) else table.ids[row] for row in rows]


@dataclass(frozen=True)
class _Side:
    """The distinct items of one field in complete rows."""

    first_U: np.ndarray  # the first complete row of each item
    item_R: np.ndarray  # the item of each complete row


@dataclass(frozen=True)
class _Complete:
    """The rows that have both fields."""

    row_R: np.ndarray  # their numbers in the table
    sides: tuple[_Side, _Side]


class _Temperature(nn.Module):
    """Vectors times the root of a learned scale, [B, C] -> [B, C]: the product of two is their cosine at that scale."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(TEMPERATURE)))

    def forward(self, x_BC: Tensor) -> Tensor:
        """[B, C] -> [B, C]."""
        # The bound holds for what is computed and not for the gradient, or the scale could never come down from it.
        beyond = (self.log_scale.clamp(max=_LOG_MOST) - self.log_scale).detach()
        return x_BC * torch.exp((self.log_scale + beyond) / 2)


def _distinct(x_BD: Tensor, item_B: Tensor) -> tuple[Tensor, Tensor]:
    """One vector an item [U, D], the mean of its rows' (which are alike), and which item each row has [B]."""
    items_U, item_B = item_B.unique(return_inverse=True)
    total_UD = x_BD.new_zeros(len(items_U), x_BD.shape[1]).index_add(0, item_B, x_BD)
    return total_UD / torch.bincount(item_B, minlength=len(items_U))[:, None], item_B


def _contrast(product_QC: Tensor, right_QC: Tensor) -> Tensor:
    """Mean over queries of the mean over right candidates of -log(e^right / (e^right + sum of e^wrong)).

    With one right candidate a query it is InfoNCE; others that are right stay out of the sum.
    """
    wrong_Q1 = product_QC.masked_fill(right_QC, torch.finfo(product_QC.dtype).min).logsumexp(dim=1, keepdim=True)
    loss_QC = F.softplus(wrong_Q1 - product_QC).masked_fill(~right_QC, 0.0)
    return (loss_QC.sum(dim=1) / right_QC.sum(dim=1)).mean()


def _mean(values: Iterable[np.ndarray]) -> float:
    """The mean of means: directions count alike, however many queries each has."""
    return float(np.mean([value_Q.mean() for value_Q in values]))
