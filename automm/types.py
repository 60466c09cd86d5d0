"""The nouns that pass between rooms: plain data, importable without torch.

Shape legend: B rows of a batch, U distinct items among them, N tokens, D width, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Modality = Literal["image", "text", "numeric", "categorical", "audio"]
FILES: tuple[Modality, ...] = ("image", "audio")  # whose raw values may be files, and cost something to encode
Role = Literal["input", "target", "id", "group"]
Direction = Literal["maximize", "minimize"]
Targets = Literal["classes", "labels", "numbers", "shares"]  # what metrics read; see `automm.metrics.metric`
Scalar = str | int | float | bool | None
PAIR = "pair"  # the target of a row about which nothing is known but that its fields belong together


@dataclass(frozen=True)
class FieldSpec:
    """One column of a table."""

    name: str
    modality: Modality
    role: Role = "input"
    reason: str = ""  # why modality and role were inferred so; empty when given
    style: str = ""  # of numbers written as text: what stands between thousands and before decimals, such as ".,"


@dataclass(frozen=True)
class Schema:
    """The columns of a table, in order."""

    fields: tuple[FieldSpec, ...]

    @property
    def inputs(self) -> tuple[FieldSpec, ...]:
        """The fields a model reads."""
        return tuple(f for f in self.fields if f.role == "input")

    def __getitem__(self, name: str) -> FieldSpec:
        for spec in self.fields:
            if spec.name == name:
                return spec
        raise KeyError(name)


@dataclass(frozen=True)
class Column:
    """A dictionary-encoded column: row i holds `values[index[i]]`; a missing cell has index -1.

    `values` are raw and distinct (a path, bytes or an array of an image or a clip; a string; a number), so that
    whatever is done per value (decode, tokenise, encode) is done once however many rows share it. They are a sequence
    and need not be a list: many are an Arrow array, whose items are made when they are asked for.
    """

    values: Sequence[Any]
    index: np.ndarray  # int64 [rows]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, row: int) -> Any:
        at = int(self.index[row])
        return None if at < 0 else self.values[at]


@dataclass(frozen=True)
class Table:
    """One split: a column for each input field, raw targets, and what metrics and reports need to know of a row.

    Targets and ids are sequences and need not be lists, as the values of a `Column`.
    """

    schema: Schema
    columns: Mapping[str, Column]
    targets: Sequence[Any]  # one a row; what the Task makes of it is the Task's business
    ids: Sequence[Any]  # one a row: what the row is called in results
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)  # str arrays [rows]: subsets metrics are split by
    together: np.ndarray | None = None  # int64 [rows], >= 0: no split parts rows of one number; None = any two

    def __len__(self) -> int:
        return len(self.targets)

    def row(self, at: int) -> dict[str, Any]:
        """The raw inputs of one row, as a Predictor takes them."""
        return {name: column[at] for name, column in self.columns.items()}


@dataclass(frozen=True)
class Skipped:
    """Records of a file that were left out because they cannot be used."""

    file: str
    records: int  # in the file
    skipped: int
    first: str  # what is wrong with the first of them


@dataclass(frozen=True)
class Splits:
    """What a data source gives. `test` is read once, at the end of a run.

    With `folds` candidates are judged by cross-validation: int64 [rows of train, then of valid], the fold a row
    validates in. Those of `valid` are fold 0. `runoff_folds`, int64 [rows of train], are for judging the last
    candidates once more; the search itself does not use them.
    """

    train: Table
    valid: Table
    test: Table | None = None
    skipped: Sequence[Skipped] = ()
    folds: np.ndarray | None = None
    runoff_folds: np.ndarray | None = None


class Features(NamedTuple):
    """What an encoder returns for U items; the same after expansion to B rows.

    `tokens_BND` float, `mask_BN` bool (True = valid), `pooled_BD` float.
    """

    tokens_BND: Tensor
    mask_BN: Tensor
    pooled_BD: Tensor

    @classmethod
    def of_vector(cls, x_UD: Tensor) -> Self:
        """Features whose only token is their vector: expanding them to rows moves nothing else."""
        return cls(x_UD[:, None], x_UD.new_ones(x_UD.shape[0], 1).bool(), x_UD)


class Stream(NamedTuple):
    """One output of a fusion: a vector a row and, where a fusion has several streams, the weight of its logits."""

    pooled_BD: Tensor
    weight_B: Tensor | None = None  # [B] or [1]; None = 1


class Mix(NamedTuple):
    """How the rows of a batch are mixed in pairs: each keeps a share of itself and takes the rest from another."""

    share: float
    other_B: Tensor  # int64: the row that each is mixed with

    def of(self, x_BD: Tensor) -> Tensor:
        """The mixed rows of a float tensor [B, ...]."""
        return self.share * x_BD + (1 - self.share) * x_BD.index_select(0, self.other_B)


@dataclass(frozen=True)
class FeatureSpec:
    """What an encoder will return for a field, known without a forward pass."""

    field: str
    modality: Modality
    width: int
    tokens: int  # the largest token count; 1 when the encoder only pools
    has_tokens: bool  # False: the single token is the pooled vector, relations over it mean nothing
    grid: tuple[int, int] | None = None  # rows and columns, where the tokens tile an image row by row


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a signature, without its batch axis. A dimension is a number, or a name when it is dynamic."""

    dtype: str  # numpy's name
    shape: tuple[int | str, ...]


@dataclass
class Batch:
    """One step's tensors.

    `inputs[field]` holds the preprocessed tensors of the U distinct items of that field, `rows[field]` (int64 [B]) says
    which item a row takes, `present[field]` (bool [B]) whether the row has one at all (an absent row points at item 0).
    """

    inputs: dict[str, dict[str, Tensor]]
    rows: dict[str, Tensor]
    present: dict[str, Tensor]
    targets: dict[str, Tensor] = field(default_factory=dict)
    index: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # row numbers in the Table

    def __len__(self) -> int:
        return len(next(iter(self.rows.values())))


@dataclass(frozen=True)
class Goal:
    """What a search drives at: a validation metric and which way is better."""

    metric: str
    direction: Direction

    def loss(self, values: Mapping[str, float]) -> float:
        """The metric among `values`, turned so that lower is better."""
        return values[self.metric] if self.direction == "minimize" else -values[self.metric]
