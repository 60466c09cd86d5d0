"""Contract tests for components, ours and third parties' alike.

In a plugin's own tests:

    @pytest.mark.parametrize("check", checks_for("fusion"), ids=lambda check: check.__name__)
    def test_contract(check):
        check(subject("fusion", "my_fusion"))

A check raises ContractBroken, an AssertionError that says what was found and what the contract demands.
"""

from __future__ import annotations

from automm.testing.contract import Check, check_component, checks_for
from automm.testing.requirement import ContractBroken
from automm.testing.subject import Subject, subject

__all__ = ["Check", "ContractBroken", "Subject", "check_component", "checks_for", "subject"]
