"""What is imported is declared, where it belongs, and its reason is written down."""

import ast
import configparser
import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

from automm import registry

ROOT = Path(__file__).parents[1]
CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg")
EXTRAS = CONFIG["options.extras_require"]
BASE_ONLY = ("runtime/*.py", "__main__.py", "commands.py", "config.py", "presets.py", "registry.py", "sections.py")


_distributions = cache(packages_distributions)


def declared(text):
    """The distributions that a list of requirements names."""
    names = re.findall(r"^([A-Za-z0-9._-]+)", text.strip(), re.MULTILINE)
    return {name.lower().replace("_", "-") for name in names} - {"automm"}


def imported(pattern):
    """Every package from outside that files of automm import anywhere, with the distributions that bring it."""
    brought_by = _distributions()
    for path in (ROOT / "automm").glob(pattern):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in {name.partition(".")[0] for name in names} - {"automm", *sys.stdlib_module_names}:
                yield name, {each.lower().replace("_", "-") for each in brought_by.get(name, [name])}


def test_every_import_is_a_declared_dependency_of_its_extra():
    base, train = declared(CONFIG["options"]["install_requires"]), declared(EXTRAS["train"])
    for name, distributions in imported("**/*.py"):
        assert distributions & (base | train), f"{name}, of {distributions}, is declared nowhere in setup.cfg"
        missing = distributions & train and registry._EXTRA_OF.get(name) != "train"
        assert not missing, f"registry._EXTRA_OF does not say that automm[train] brings {name}"
    for pattern in BASE_ONLY:
        for name, distributions in imported(pattern):
            assert distributions & base, f"automm/{pattern} imports {name}, which the base install does not bring"


def test_an_extra_that_is_asked_for_exists():
    assert set(registry._EXTRA_OF.values()) <= set(EXTRAS)


def test_every_dependency_has_its_reason():
    page = (ROOT / "docs" / "dependencies.md").read_text()
    told = set(re.findall(r"[a-z0-9-]+", " ".join(re.findall(r"^\|([^|]+)\|", page, re.MULTILINE)).lower()))
    for text in (CONFIG["options"]["install_requires"], *EXTRAS.values()):
        assert declared(text) <= told, f"docs/dependencies.md has no line for {declared(text) - told}"
