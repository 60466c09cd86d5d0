"""Every fusion at its default size, in each of its ways, exports; the contract tests export the smallest alone."""

import pytest
import torch

from automm import registry
from automm.testing import samples, subject
from automm.testing.fusion_checks import require_exports

NAMES = [name for name in registry.names("fusion") if name != "early"]  # an alias of concat
WAYS = [
    pytest.param(name, options, id=f"{name}-{'-'.join(v for v in options.values() if isinstance(v, str)) or 'default'}")
    for name in NAMES
    for options in subject("fusion", name).variants()
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), WAYS)
@pytest.mark.parametrize("case", ["image and text", "image, text and a number"])
def test_default_sizes_export(name, options, case):
    torch.manual_seed(0)
    specs = samples.FIELDS[case]
    require_exports(registry.get("fusion", name).factory(specs, **options).eval(), specs)
