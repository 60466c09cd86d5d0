"""Rows that hold targets alone."""

import numpy as np

from automm.types import Schema, Table


def table(targets, **groups):
    """A table of these targets; rows are called r0, r1, ..."""
    names = [f"r{at}" for at in range(len(targets))]
    return Table(Schema(()), {}, targets, names, {name: np.array(of) for name, of in groups.items()})
