"""The YAML files: each key says what it means, and each option is its component's own."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

import automm
from automm import registry

CONF = Path(automm.__file__).parent.parent / "conf"
FILES = sorted(CONF.rglob("*.yaml"))
KEY = re.compile(r"^( *)([a-z_]\w*):")


def keys(path):
    """(line number, line, the comment block above it) of every key."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if KEY.match(line):
            above = []
            for before in reversed(lines[:number]):
                if not before.strip().startswith("#"):
                    break
                above.append(before.strip("# "))
            yield number + 1, line, " ".join(reversed(above))


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def group_of(path):
    return path.parent.relative_to(CONF).as_posix()


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(CONF).as_posix())
def test_every_key_says_what_it_means(path):
    sections = {
        "defaults",
        "options",
        "handlers",
        "console",
        "formatters",
        "plain",
        "root",
        "loggers",
        "automm",
        "hydra",
    }
    sections |= {"run", "sweep", "job", "job_logging", "task", "training", "search", "baselines"}
    for number, line, comment in keys(path):
        name = KEY.match(line)[2]
        is_section = name in sections and line.rstrip().endswith(":")
        assert comment or is_section, f"{path}:{number} {line}"
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# "), f"{path} does not say what it is"


def test_every_option_of_a_component_stands_in_its_preset():
    """As tools/list_options.py writes it, from signature, docstring and space."""
    spec = importlib.util.spec_from_file_location("list_options", CONF.parent / "tools" / "list_options.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    stale = [str(path) for path in FILES if tool.fresh(path) != path.read_text(encoding="utf-8")]
    assert not stale, "run tools/list_options.py"


def test_null_is_never_written_where_it_would_pin():
    for path in FILES:
        given = read(path)
        kind = group_of(path).partition("/")[0]
        if kind in ("fusion", "encoder"):
            for name in given["options"]:
                assert not nullable(registry.get(kind, name)), path
        elif kind == "training" and isinstance(given["solver"], str):
            assert not nullable(registry.get("solver", given["solver"])), path


def nullable(component):
    return [option for option, param in component.space.paths() if param.holds(None)]


def test_name_lists_name_what_there_is():
    for path in (CONF / "fusion").glob("*.yaml"):
        names = read(path)["name"]
        assert names == "all" or set([names] if isinstance(names, str) else names) <= set(registry.names("fusion"))


def test_builtin_lists_every_fusion_we_ship_once():
    ours = {n for n in registry.names("fusion") if registry.status("fusion", n).origin == "automm"}
    assert set(read(CONF / "fusion" / "builtin.yaml")["name"]) == ours - {"early", "towers"}  # these join nothing


def test_every_component_we_ship_has_a_preset():
    for kind, group in (("data", "data"), ("task", "task"), ("strategy", "strategy"), ("executor", "executor")):
        ours = {n for n in registry.names(kind) if registry.status(kind, n).origin == "automm"}
        assert ours <= {p.stem for p in (CONF / group).glob("*.yaml")}
    encoders = {p.stem for p in (CONF / "encoder").rglob("*.yaml")}
    assert {n for n in registry.names("encoder") if registry.status("encoder", n).origin == "automm"} <= encoders
