"""What a contract check does when a component does not keep its contract."""

from __future__ import annotations


class ContractBroken(AssertionError):
    """A component does not keep its kind's contract; the message says what was found and what is demanded."""


def require(kept: bool, message: str, *, cause: BaseException | None = None) -> None:
    """Raise ContractBroken with `message` unless `kept`."""
    if not kept:
        raise ContractBroken(message) from cause
