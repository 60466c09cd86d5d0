"""Which column is the target."""

import pytest

from automm.data.targets import likely_target


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["text", "Label", "answer", "price"], ("Label", True)),
        (["outcome", "y"], ("outcome", True)),
        (["text", "labels", "x"], ("labels", True)),
        (["text", "labelled", "x"], ("x", False)),
    ],
)
def test_the_first_that_is_called_so_or_else_the_last_is_the_target(names, found):
    assert likely_target(names) == found
