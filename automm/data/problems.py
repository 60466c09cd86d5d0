"""What becomes of a record that cannot be used: an error at once, or skipped and counted."""

from __future__ import annotations

import logging

from automm.errors import ConfigError, DataError, near_miss
from automm.settings import OnError
from automm.types import Skipped

log = logging.getLogger(__name__)


class Problems:
    """Collects the unusable records of one file.

    Args:
        where: the file.
        on_error: `fail` (the first one raises) or `skip`.
        told: gets what was skipped once the file is done, if anything was.
    """

    def __init__(self, where: str, on_error: OnError, told: list[Skipped]) -> None:
        self.where = where
        self.on_error = on_error
        self.told = told
        self.skipped = 0
        self.first = ""

    def add(self, message: str) -> None:
        """Note one unusable record.

        Raises:
            DataError: `on_error` is `fail`.
        """
        if self.on_error == "fail":
            raise DataError(f"{message} Next: mend it, or set data.on_error=skip to leave such records out.")
        self.skipped += 1
        self.first = self.first or message

    def close(self, total: int) -> None:
        """Log and tell what was skipped of `total` records.

        Raises:
            DataError: nothing is left.
        """
        if self.skipped and self.skipped >= total:
            raise DataError(f"{self.where}: none of its {total} records can be used. The first problem: {self.first}")
        if self.skipped:
            log.warning("%s: skipped %d of %d records; the first: %s", self.where, self.skipped, total, self.first)
            self.told.append(Skipped(self.where, total, self.skipped, self.first))


def check_on_error(on_error: str) -> OnError:
    """`on_error` where it is one.

    Raises:
        ConfigError: it is neither `fail` nor `skip`.
    """
    if on_error == "fail":
        return "fail"
    if on_error == "skip":
        return "skip"
    raise ConfigError(f"data.on_error={on_error!r} is not a choice. {near_miss(on_error, ('fail', 'skip'))}")
