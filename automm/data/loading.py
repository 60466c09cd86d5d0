"""Batches: every distinct value preprocessed once, every distinct item of a batch present once.

Shape legend: B rows of a batch, U distinct items of a field among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np
import torch

from automm.data.field_store import WORKERS, Store
from automm.types import Batch, Table


class Loader:
    """The batches of one epoch, in an order that is a pure function of `seed` and the epoch.

    `batch_size` counts rows. With `group_by`, a field, the rows that share one of its items stay together: items are
    shuffled, and batches filled with whole items up to `batch_size` rows (an item with more rows than that is cut).
    Without `shuffle` rows come in the table's order, with `group_by` items in the order they first appear.

    While something has to be decoded or read from a file, one batch is prepared ahead in a thread that ends with the
    iteration; its errors are raised where the batch would have come.

    Args:
        table: the rows.
        stores: the preprocessed values of every field of the batch.
        targets: arrays with a leading row axis, one entry a row of `table`.
        batch_size: rows a batch, at most.
        shuffle: whether epochs differ.
        seed: of the order.
        group_by: the field whose items are costly, such as the image of a visual question.
        drop_last: leave out a last batch with fewer rows than the fullest.
        indices: the rows of `table` to draw from, int64; None = all.
    """

    def __init__(
        self,
        table: Table,
        stores: Mapping[str, Store],
        targets: Mapping[str, np.ndarray],
        *,
        batch_size: int,
        shuffle: bool,
        seed: int,
        group_by: str | None = None,
        drop_last: bool = False,
        indices: np.ndarray | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        for name, array in targets.items():
            if len(array) != len(table):
                raise ValueError(f"target {name!r} has {len(array)} entries for {len(table)} rows")
        self.table, self.stores, self.targets = table, dict(stores), dict(targets)
        self.batch_size, self.shuffle, self.seed, self.drop_last = batch_size, shuffle, seed, drop_last
        self.indices = np.arange(len(table)) if indices is None else np.asarray(indices, np.int64)
        self._rows, self._sizes = _runs(self.indices, None if group_by is None else table.columns[group_by].index)
        self._epoch = 0
        self._planned: tuple[int, list[np.ndarray]] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Choose the order: a shuffling loader draws another one for every epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Batches of the current epoch; with items of unequal size epochs may differ by a few."""
        return len(self._plan())

    def __iter__(self) -> Iterator[Batch]:
        plan = self._plan()
        in_memory = [store.load() for store in self.stores.values()]
        if all(in_memory):
            for rows in plan:
                yield self._batch(rows, None)
        elif plan:
            yield from self._ahead(plan)

    def _ahead(self, plan: list[np.ndarray]) -> Iterator[Batch]:
        with ThreadPoolExecutor(WORKERS, "automm-decode") as decoders, ThreadPoolExecutor(1, "automm-ahead") as one:
            coming = one.submit(self._batch, plan[0], decoders)
            for rows in plan[1:]:
                batch = coming.result()
                coming = one.submit(self._batch, rows, decoders)
                yield batch
            yield coming.result()

    def _batch(self, rows_B: np.ndarray, pool: Executor | None) -> Batch:
        batch = Batch(inputs={}, rows={}, present={}, index=rows_B)
        for field, store in self.stores.items():
            index_B = self.table.columns[field].index[rows_B]
            present_B = index_B >= 0
            items_U, known = np.unique(index_B[present_B], return_inverse=True)
            take_B = np.zeros(len(rows_B), np.int64)
            take_B[present_B] = known
            epoch = self._epoch if self.shuffle else 0
            arrays = store.items(items_U, pool, epoch) if len(items_U) else store.placeholder()
            batch.inputs[field] = {key: torch.from_numpy(array) for key, array in arrays.items()}
            batch.rows[field] = torch.from_numpy(take_B)
            batch.present[field] = torch.from_numpy(present_B)
        batch.targets = {name: torch.from_numpy(np.asarray(array[rows_B])) for name, array in self.targets.items()}
        return batch

    def _plan(self) -> list[np.ndarray]:
        """The row numbers of every batch of the current epoch."""
        epoch = self._epoch if self.shuffle else 0
        if self._planned is None or self._planned[0] != epoch:
            order = np.arange(len(self._sizes))
            if self.shuffle:
                order = np.random.default_rng([self.seed, epoch]).permutation(len(self._sizes))
            self._planned = epoch, self._cut(order)
        return self._planned[1]

    def _cut(self, order: np.ndarray) -> list[np.ndarray]:
        sizes = self._sizes[order]
        ends = np.cumsum(sizes)
        offsets = (np.cumsum(self._sizes) - self._sizes)[order] - (ends - sizes)
        rows = self._rows[np.repeat(offsets, sizes) + np.arange(len(self._rows))]
        if (sizes == 1).all():
            cuts = list(range(self.batch_size, len(rows), self.batch_size))
        else:
            cuts = _fill(sizes.tolist(), self.batch_size)
        batches = np.split(rows, cuts) if len(rows) else []
        if self.drop_last and batches and len(batches[-1]) < max(map(len, batches)):
            batches.pop()
        return batches


def _runs(rows: np.ndarray, item: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows arranged so that those of an item are neighbours, items by first appearance, and how many rows each has.

    Rows without an item (negative), and all rows when there are no items, are runs of one.
    """
    if item is None:
        return rows, np.ones(len(rows), np.int64)
    key = item[rows].astype(np.int64)
    key = np.where(key < 0, key.max(initial=0) + 1 + np.arange(len(key)), key)
    _, first, run = np.unique(key, return_index=True, return_inverse=True)
    appearance = first[run]
    order = np.argsort(appearance, kind="stable")
    return rows[order], np.unique(appearance, return_counts=True)[1]


def _fill(sizes: list[int], limit: int) -> list[int]:
    """Where batches end, the last one excluded: whole runs while they fit, a run above `limit` cut into pieces."""
    cuts: list[int] = []
    end = start = 0
    for size in sizes:
        if end > start and end + size - start > limit:
            cuts.append(end)
            start = end
        end += size
        while end - start > limit:
            start += limit
            cuts.append(start)
    return cuts
