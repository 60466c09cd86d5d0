"""What is imported is declared, where it belongs, and its reason is written down."""

import ast
import configparser
import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from automm import registry

ROOT = Path(__file__).parents[1]
CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg")
EXTRAS = CONFIG["options.extras_require"]
IN_THE_BASE = ("runtime/*.py", "__main__.py", "commands.py", "config.py", "presets.py", "registry.py", "sections.py")
brought_by = cache(packages_distributions)


def declared(text):
    """The distributions that a list of requirements names."""
    names = re.findall(r"^([A-Za-z0-9._-]+)", text.strip(), re.MULTILINE)
    return {name.lower().replace("_", "-") for name in names} - {"automm"}


BASE = declared(CONFIG["options"]["install_requires"])


def imported(pattern, *, at_once=False):
    """Every package from outside that files of automm import (`at_once`: as soon as they are imported themselves), with
    the distributions that bring it."""
    for path in (ROOT / "automm").glob(pattern):
        tree = ast.parse(path.read_text())
        for node in tree.body if at_once else ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in {name.partition(".")[0] for name in names} - {"automm", *sys.stdlib_module_names}:
                yield name, {each.lower().replace("_", "-") for each in brought_by().get(name, [name])}


def test_every_import_is_a_declared_dependency_of_its_extra():
    for name, distributions in imported("**/*.py"):
        if not distributions & BASE:
            extra = registry._EXTRA_OF.get(name)
            assert extra, f"{name} is no dependency of the base install, and registry._EXTRA_OF names no extra for it"
            assert distributions & declared(EXTRAS[extra]), f"setup.cfg does not declare {name} for automm[{extra}]"


@pytest.mark.parametrize("pattern", IN_THE_BASE)
def test_what_the_base_install_runs_imports_nothing_more(pattern):
    for name, distributions in imported(pattern, at_once=True):
        assert distributions & BASE, f"automm/{pattern} imports {name}, which the base install does not bring"


def test_an_extra_that_is_asked_for_exists():
    assert set(registry._EXTRA_OF.values()) <= set(EXTRAS)


def test_every_dependency_has_its_reason():
    page = (ROOT / "docs" / "dependencies.md").read_text()
    told = set(re.findall(r"[a-z0-9-]+", " ".join(re.findall(r"^\|([^|]+)\|", page, re.MULTILINE)).lower()))
    for text in (CONFIG["options"]["install_requires"], *EXTRAS.values()):
        assert declared(text) <= told, f"docs/dependencies.md has no line for {declared(text) - told}"
