"""Several views of the values of one column, of which an epoch sees one each.

Shape legend: U distinct values of a batch, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np

from automm.data.features import Arrays, FeatureStore, padded


class ViewStore:
    """The features of a column's values, in as many views as there are stores; read as one `FeatureStore` is.

    The values go through their views in turn, each beginning with another one.
    """

    def __init__(self, views: Sequence[FeatureStore]) -> None:
        self.views = tuple(views)

    def load(self) -> bool:
        """Copy everything into memory, once, if it fits; say whether it is there."""
        loaded = [view.load() for view in self.views]
        return all(loaded)

    def items(self, at_U: np.ndarray, pool: Executor | None = None, epoch: int = 0) -> Arrays:
        """The features of the values numbered `at_U` as this epoch sees them; tokens are padded to the longest."""
        which_U = (at_U + epoch) % len(self.views)
        seen = [which for which in range(len(self.views)) if (which_U == which).any()]
        places = [np.flatnonzero(which_U == which) for which in seen]
        parts = [self.views[which].items(at_U[place]) for which, place in zip(seen, places, strict=True)]
        order = np.argsort(np.concatenate(places), kind="stable")
        longest = max(part["tokens"].shape[1] for part in parts) if "tokens" in parts[0] else 0
        whole: Arrays = {}
        for name in parts[0]:
            arrays = [part[name] if name == "pooled" else padded(part[name], longest) for part in parts]
            whole[name] = np.concatenate(arrays)[order]
        return whole

    def placeholder(self) -> Arrays:
        """What stands for a missing value, U = 1."""
        return self.views[0].placeholder()
