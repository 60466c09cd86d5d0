"""What a data source is: options in, three tables out."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from automm.types import Splits


class Source:
    """Base of every data source; registry kind `data`.

    A source is built from keyword options, its configuration schema; the constructor checks them and touches no data.
    Paths among them are relative to the directory the user stands in.
    """

    API: ClassVar[int] = 1

    def load(self, seed: int, cache_dir: Path) -> Splits:
        """The train, valid and (where there is one) test tables.

        `seed` is the run's: it draws the split where the data brings none, and nothing else. What is worth keeping
        between runs goes into `cache_dir`, written atomically, so that runs may share it.

        Raises:
            DataError: a file or record cannot be used; the message names both and the next step.
        """
        raise NotImplementedError(f"{type(self).__name__} loads nothing")
