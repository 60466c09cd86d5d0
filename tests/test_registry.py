"""What is wrong with a stranger's component is said, by the name of who ships it, and harms nobody else."""

import json
import sys

import pytest
from strangers import lay_down

from automm import commands, registry
from automm.errors import BrokenPlugin, MissingExtra, PluginConflict, PluginError

COMPONENT = '''
from automm.space import Int, Space


class Part:
    """Does its part."""

    API = 1
    SPACE = Space({"size": Int(1, 4)})

    def __init__(self, *, size: int = 2) -> None:
        self.size = size
'''
HEALTH = {
    "ready": (COMPONENT, "ready", ""),
    "torch is missing": (
        "raise ModuleNotFoundError(\"No module named 'torch.nn'\", name='torch.nn')",
        "needs an extra",
        "executor 'odd' needs the package 'torch.nn', which is not installed. Next: pip install \"automm[train]\".",
    ),
    "a package nobody declared is missing": (
        "import no_such_package",
        "broken",
        "executor 'odd' of stranger_a cannot be imported: ModuleNotFoundError: No module named 'no_such_package'",
    ),
    "importing it raises": ("1 / 0", "broken", "cannot be imported: ZeroDivisionError: division by zero"),
    "importing it ends the process": ("raise SystemExit(3)", "broken", "cannot be imported: SystemExit: 3"),
    "no Python": ("class", "broken", "cannot be imported: SyntaxError"),
    "not there": ("", "broken", "has no attribute 'Part'. Next: report it to stranger_a, or choose another executor."),
    "not callable": ("Part = 7", "broken", "executor 'odd' of stranger_a is a int"),
    "an old API": (COMPONENT.replace("API = 1", "API = 0"), "API too old", "for API 0, this automm speaks 1. Next: up"),
    "no API": (COMPONENT.replace("API = 1", ""), "API too old", "executor 'odd' of stranger_a is written for API None"),
    "no docstring": (COMPONENT.replace('"""Does its part."""', ""), "broken", "of stranger_a has no docstring"),
    "a space of something else": (
        COMPONENT.replace('"size": Int', '"sise": Int'),
        "broken",
        "executor 'odd' of stranger_a declares 'sise' in SPACE, but takes no such keyword option",
    ),
    "no space": (COMPONENT.replace('Space({"size": Int(1, 4)})', "[1, 4]"), "broken", "has a list for SPACE"),
}
RAISED = {"needs an extra": MissingExtra, "broken": BrokenPlugin, "API too old": BrokenPlugin}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution that ships one executor."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    registry.get.cache_clear()

    def install(distribution, source=COMPONENT, name="odd", version="1.0"):
        entry = f"[automm.executor]\n{name} = {distribution}.part:Part\n"
        files = {f"{distribution}/__init__.py": "", f"{distribution}/part.py": source}
        lay_down(tmp_path, distribution, entry, files, version=version)

    yield install
    registry.get.cache_clear()
    for module in [m for m in sys.modules if m.startswith("stranger")]:
        del sys.modules[module]


def listed(capsys):
    """What `automm plugins executor --json` says, by name."""
    assert commands.run(["plugins", "executor", "--json"]) == 0
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)}


@pytest.mark.parametrize("case", HEALTH)
def test_health_is_told_and_harms_nobody(install, capsys, case):
    source, health, said = HEALTH[case]
    install("stranger_a", source)
    found = listed(capsys)
    row = found.pop("odd")
    assert (row["origin"], row["version"], row["health"]) == ("stranger_a", "1.0", health)
    assert said in row["detail"]
    assert {each["health"] for each in found.values()} == {"ready"}
    assert {"in_process", "processes"} <= set(found)
    if health == "ready":
        assert registry.get("executor", "odd").factory().size == 2
        return
    with pytest.raises(RAISED[health]) as raised:
        registry.get("executor", "odd")
    assert str(raised.value) == row["detail"]


def test_the_reason_is_a_line_below_the_table(install, capsys):
    install("stranger_a", "1 / 0")
    assert commands.run(["plugins", "executor"]) == 0
    table, _, details = capsys.readouterr().out.partition("\n\n")
    assert [line.split()[-1] for line in table.splitlines() if " odd " in line] == ["broken"]
    assert details.startswith("executor odd: executor 'odd' of stranger_a cannot be imported")


def test_two_distributions_of_one_name_are_both_named(install, capsys):
    install("stranger_b", version="2.0")
    install("stranger_a")
    row = listed(capsys)["odd"]
    assert (row["health"], row["origin"]) == ("conflict", "stranger_a and stranger_b")
    with pytest.raises(PluginConflict, match=r"'odd' is shipped by stranger_a 1\.0 and stranger_b 2\.0\. Next: unins"):
        registry.get("executor", "odd")


def test_our_names_are_no_exception(install, capsys):
    install("stranger_a", name="in_process")
    found = listed(capsys)
    assert found["in_process"]["health"] == "conflict"
    assert found["processes"]["health"] == "ready"
    with pytest.raises(PluginError, match=r"shipped by automm .* and stranger_a 1\.0"):
        registry.get("executor", "in_process")


def test_a_plugin_fails_only_when_it_is_asked_for(install):
    install("stranger_a", "1 / 0")
    assert "odd" in registry.names("executor")
    assert registry.get("executor", "in_process").origin == "automm"
    assert "stranger_a.part" not in sys.modules
