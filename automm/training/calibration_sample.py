"""Training rows whose scores are scaled by what fits without them would have given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from automm.types import Table

_PART = 256  # rows of a group


@dataclass(frozen=True)
class Sample:
    """Some training rows, and which of them belong together."""

    rows: np.ndarray  # row numbers, distinct; int64 [S]
    groups: tuple[np.ndarray, ...]  # places in `rows`: two or more each that belong together

    @classmethod
    def drawn(cls, table: Table, among: int, most: int, seed: int) -> Sample:
        """At most `most` of a table's first `among` rows, group by group as they are drawn.

        A group is there as a whole, or with 256 of its rows (half of `most`, if that is fewer): to leave out many at
        once would cost their number cubed. The others of such a group stay in what is fitted. Where all rows are of
        one group, it says nothing.
        """
        order = np.random.default_rng([seed, 1]).permutation(among)
        if table.together is None:
            return cls(order[:most], ())
        _, first, inverse, size = np.unique(
            table.together[order], return_index=True, return_inverse=True, return_counts=True
        )
        if len(size) == 1:
            return cls(order[:most], ())
        group = inverse.reshape(-1)
        by_group = np.argsort(group, kind="stable")
        place = np.empty(among, np.int64)  # of each row in its group
        place[by_group] = np.arange(among) - np.repeat(np.cumsum(size) - size, size)
        part = np.minimum(size, min(_PART, max(1, most // 2)))
        by_rank = np.argsort(first)  # groups, in the order in which their first rows were drawn
        fits = np.zeros(len(size), bool)
        fits[by_rank] = np.cumsum(part[by_rank]) <= most
        drawn = np.flatnonzero(fits[group] & (place < part[group]))
        of = group[drawn]
        together = np.argsort(of, kind="stable")
        places = np.split(together, np.flatnonzero(np.diff(of[together])) + 1)
        return cls(order[drawn], tuple(each for each in places if len(each) > 1))

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
