"""What a closed form is solved on: what the head reads of every training row, and its target, a block at a time.

What the head reads is computed once and kept: in memory where it is little, else in a file that is gone with the
process. Where a disk has no room for that, every pass computes it anew.

Shape legend: N rows of a block, T training rows, D width of the concatenation, C outputs.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch

from automm.data.split import take
from automm.data.unnamed_file import unnamed_file
from automm.errors import TrialFailed
from automm.model import Absent, Model
from automm.tasks.task import Task
from automm.training.evaluate import device_of, fused_blocks
from automm.training.fit import Part
from automm.training.kernel_head import Concatenation
from automm.types import Table

IN_MEMORY = 128 << 20  # bytes of what the head reads that stay in memory;
_WIDE = 8  # times as many where rows are solved among each other
_FREE = 2  # a file takes no more than one part in so many of what is free on its disk
_REMEMBERED = 256 << 20  # bytes of products of rows that stay for fits to come
_ENCODED = 512  # rows encoded at a time
_BLOCK = 512  # rows of a block where they are kept


class Block(NamedTuple):
    """Some training rows."""

    x_ND: np.ndarray  # float32, what the head reads
    y_NC: np.ndarray  # float32, what it shall answer
    weight_N: np.ndarray  # float64


class HeadRows:
    """What the head of a model whose fusion is a `Concatenation` reads of training rows, once that is fitted to them.

    Args:
        model: its encoders are frozen; what its fusion scales by, and what stands for missing items, is set here.
        part: the training rows.
        standard: divide each feature by its deviation.
        folder: where what is too much for memory may be kept meanwhile; None = nowhere.
        among: whether rows are solved among each other where they are fewer than features.

    Raises:
        TrialFailed: an encoder's features are not finite.
    """

    def __init__(
        self, model: Model, part: Part, *, standard: bool, folder: Path | None = None, among: bool = False
    ) -> None:
        assert isinstance(model.fusion, Concatenation)  # what ClosedForm.fusion makes
        self.model, self.part, self.fusion = model, part, model.fusion
        self._order: list[np.ndarray] = []  # rows of each block in the file
        shape = (len(part.table), sum(self.fusion.parts))
        size = 4 * shape[0] * shape[1]
        most = IN_MEMORY * (_WIDE if among and shape[0] <= shape[1] else 1)
        self.kept_TD = np.empty(shape, np.float32) if size <= most else None
        self._file: IO[bytes] | None = None
        if self.kept_TD is None and folder is not None and size * _FREE <= shutil.disk_usage(folder).free:
            self._file = unnamed_file(folder, buffering=0)
        try:
            mean_D, deviation_D = self._moments()
        except BaseException:
            self.close()
            raise
        with torch.no_grad():
            self.fusion.mean_D.copy_(torch.from_numpy(mean_D))
            if standard:
                self.fusion.scale_D.copy_(torch.from_numpy(1 / np.maximum(deviation_D, 1e-6)))
            for absent, mean_W in zip(model.absent, np.split(mean_D, self._ends), strict=True):
                assert isinstance(absent, Absent)
                absent.pooled_W.copy_(torch.from_numpy(mean_W))  # at the centre: what is missing says nothing
        self._scale_kept()

    def __len__(self) -> int:
        return len(self.part.table)

    def close(self) -> None:
        """Give up what is kept in a file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Row numbers [N] and what the head reads of those rows, float32 [N, D]; every row once."""
        if self.kept_TD is not None:
            for start in range(0, len(self), _BLOCK):
                x_ND = self.kept_TD[start : start + _BLOCK]
                yield np.arange(start, start + len(x_ND)), x_ND
        elif self._file is not None:
            width, start = sum(self.fusion.parts), 0
            for at_N in self._order:
                self._file.seek(start)
                raw_ND = np.frombuffer(bytearray(self._file.read(4 * len(at_N) * width)), np.float32)
                start = self._file.tell()
                yield at_N, self._scaled(at_N, raw_ND.reshape(len(at_N), width))
        else:
            yield from fused_blocks(self.model, self.part, batch_size=_ENCODED)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """What the head reads of these rows, which are distinct, float32 [len(rows), D]."""
        if self.kept_TD is not None:
            kept: np.ndarray = self.kept_TD[rows]
            return kept
        out = np.empty((len(rows), sum(self.fusion.parts)), np.float32)
        for place_N, x_ND in self.parts_of(rows):
            out[place_N] = x_ND
        return out

    def parts_of(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Of these distinct rows, some at a time: where in `rows` they are, and what the head reads of them, [N, D]."""
        place_T = np.full(len(self), -1)
        place_T[rows] = np.arange(len(rows))
        for at_N, x_ND in self.blocks():
            wanted_N = place_T[at_N] >= 0
            if wanted_N.any():
                yield place_T[at_N[wanted_N]], x_ND[wanted_N]

    def products(self) -> np.ndarray:
        """Of every row with every row, float64 [T, T]; where rows are kept.

        Candidates differ in how much a field counts more often than in what it is, so that each field's are remembered.
        """
        assert self.kept_TD is not None
        out_TT = np.zeros((len(self), len(self)))
        for start, width, weight in zip(
            (0, *self._ends), self.fusion.parts, self.fusion.weight_F.tolist(), strict=True
        ):
            if weight:
                out_TT += weight**2 * _products(self.kept_TD[:, start : start + width] / np.float32(weight))
        return out_TT

    def variance(self) -> float:
        """Of all features together."""
        sums_D, squares_D = np.zeros((2, sum(self.fusion.parts)))
        for _, x_ND in self.blocks():
            sums_D += x_ND.sum(0, np.float64)
            squares_D += np.square(x_ND, dtype=np.float64).sum(0)
        return float((squares_D / len(self) - (sums_D / len(self)) ** 2).sum())

    @property
    def _ends(self) -> np.ndarray:
        """Where each field but the last ends."""
        return np.cumsum(self.fusion.parts)[:-1]

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean [D] of every feature over the rows that have its field, and sqrt(the field's width) deviations."""
        parts = self.fusion.parts
        count_F = np.zeros(len(parts))
        sums_D, squares_D = np.zeros((2, sum(parts)))
        columns = [self.part.table.columns[field].index for field in self.fusion.fields]
        with self.fusion.unscaled():
            for at_N, raw_ND in fused_blocks(self.model, self.part, batch_size=_ENCODED):
                if not np.isfinite(raw_ND).all():
                    raise TrialFailed(
                        "an encoder returns numbers that are not finite, and nothing can be solved for them"
                    )
                if self.kept_TD is not None:
                    self.kept_TD[at_N] = raw_ND
                elif self._file is not None:
                    self._order.append(at_N)
                    self._write(raw_ND)
                has_NF = np.stack([index[at_N] >= 0 for index in columns], axis=1)
                known_ND = np.where(np.repeat(has_NF, parts, axis=1), raw_ND, 0.0).astype(np.float64)
                count_F += has_NF.sum(0)
                sums_D += known_ND.sum(0)
                squares_D += np.square(known_ND).sum(0)
        count_D = np.repeat(np.maximum(count_F, 1), parts)
        mean_D = sums_D / count_D
        variance_D = np.maximum(squares_D / count_D - mean_D**2, 0.0)
        return mean_D, np.sqrt(variance_D * np.repeat(parts, parts))

    def _write(self, raw_ND: np.ndarray) -> None:
        """Put features into the file, or give that up where the disk is full."""
        assert self._file is not None
        block = np.ascontiguousarray(raw_ND, np.float32)
        with contextlib.suppress(OSError):
            if self._file.write(block.data) == block.nbytes:
                return
        self.close()

    def _scale_kept(self) -> None:
        """Scale what is kept in memory, which is raw so far."""
        if self.kept_TD is not None:
            for at_N, raw_ND in self.blocks():
                raw_ND[:] = self._scaled(at_N, raw_ND)

    def _scaled(self, at_N: np.ndarray, raw_ND: np.ndarray) -> np.ndarray:
        """What the fusion makes of raw features of these rows, in which what is missing is overwritten."""
        mean_D = self.fusion.mean_D.cpu().numpy()
        for field, start, width in zip(self.fusion.fields, (0, *self._ends), self.fusion.parts, strict=True):
            lacking_N = self.part.table.columns[field].index[at_N] < 0
            raw_ND[lacking_N, start : start + width] = mean_D[start : start + width]
        with torch.inference_mode():
            scaled: np.ndarray = self.fusion.scaled(torch.from_numpy(raw_ND).to(device_of(self.model))).cpu().numpy()
        return scaled


_remembered: OrderedDict[bytes, np.ndarray] = OrderedDict()  # by a digest of the rows, the last used last


def _products(x_TW: np.ndarray) -> np.ndarray:
    """x @ x.T, float64 [T, T], not to be written to."""
    key = hashlib.blake2b(np.ascontiguousarray(x_TW).data, digest_size=16, key=str(x_TW.shape).encode()).digest()
    if key in _remembered:
        _remembered.move_to_end(key)
        return _remembered[key]
    wide_TW = x_TW.astype(np.float64)
    found_TT: np.ndarray = wide_TW @ wide_TW.T  # one array: BLAS computes but a triangle
    if found_TT.nbytes <= _REMEMBERED:
        _remembered[key] = found_TT
        while sum(each.nbytes for each in _remembered.values()) > _REMEMBERED:
            _remembered.popitem(last=False)
    return found_TT


class Wanted:
    """What a head shall answer, and how much each row counts.

    Args:
        task: fitted.
        table: the training rows.
        balanced: let every class weigh the same; rows without a target count as they are.
    """

    def __init__(self, task: Task, table: Table, *, balanced: bool) -> None:
        self.task, self.table = task, table
        self._per_class_C: np.ndarray | None = None
        if balanced:
            sums_C = sum(
                self.answers(np.arange(start, min(start + _BLOCK, len(table)))).sum(0, np.float64)
                for start in range(0, len(table), _BLOCK)
            )
            self._per_class_C = np.sum(sums_C) / (np.size(sums_C) * np.maximum(sums_C, 1e-6))

    def answers(self, rows: np.ndarray) -> np.ndarray:
        """What the head shall answer in these rows, float32 [N, C]."""
        return self.task.wanted_logits(take(self.table, rows))

    def block(self, rows: np.ndarray, x_ND: np.ndarray) -> Block:
        """These rows, of which the head reads `x_ND`."""
        y_NC = self.answers(rows)
        if self._per_class_C is None:
            return Block(x_ND, y_NC, np.ones(len(rows)))
        of_row_N = y_NC.sum(1, np.float64)
        mean_N = (y_NC @ self._per_class_C) / np.maximum(of_row_N, 1e-6)
        return Block(x_ND, y_NC, np.where(of_row_N > 0, mean_N, 1.0))
