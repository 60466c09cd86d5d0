"""Training rows whose scores are scaled by what fits without them would have given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from automm.types import Table


@dataclass(frozen=True)
class Sample:
    """Some training rows, and which of them belong together."""

    rows: np.ndarray  # row numbers, distinct; int64 [S]
    groups: tuple[np.ndarray, ...]  # places in `rows`: two or more each that belong together

    @classmethod
    def drawn(cls, table: Table, among: int, most: int, seed: int) -> Sample:
        """Rows drawn from the first `among` of a table, whole groups of them, and at most `most`.

        Where one group has more rows than that, it is as many of its rows.
        """
        order = np.random.default_rng([seed, 1]).permutation(among)
        if table.together is None:
            return cls(order[:most], ())
        _, first, group, size = np.unique(
            table.together[order], return_index=True, return_inverse=True, return_counts=True
        )
        by_rank = np.argsort(first)  # groups, in the order in which their first rows were drawn
        fits = np.zeros(len(size), bool)
        fits[by_rank] = np.cumsum(size[by_rank]) <= most
        fits[by_rank[0]] = True
        drawn = np.flatnonzero(fits[group.reshape(-1)])[:most]
        rows, of = order[drawn], group.reshape(-1)[drawn]
        by_group = np.argsort(of, kind="stable")
        parts = np.split(by_group, np.flatnonzero(np.diff(of[by_group])) + 1)
        return cls(rows, tuple(part for part in parts if len(part) > 1))

    @property
    def groups_of_rows(self) -> list[np.ndarray]:
        """The groups by their row numbers."""
        return [self.rows[places] for places in self.groups]

    @cached_property
    def alone(self) -> list[np.ndarray]:
        """Places of the rows that belong to no other, one by one."""
        shared = np.zeros(len(self.rows), bool)
        for places in self.groups:
            shared[places] = True
        return list(np.flatnonzero(~shared)[:, None])
