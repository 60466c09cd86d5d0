"""The YAML files: each key says what it means, and each option is its component's."""

import re
from pathlib import Path

import pytest
import yaml

import automm
from automm import registry
from automm.registry import REQUIRED
from automm.space import OneOf

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


SINGLE = [p for p in FILES if group_of(p) in ("data", "strategy", "executor")]


@pytest.mark.parametrize("path", SINGLE, ids=lambda p: p.stem)
def test_a_single_component_is_listed_with_its_own_defaults(path):
    kind = group_of(path)
    given = read(path)
    options = registry.get(kind, given.pop("name")).options
    declared = {o.name: None if o.default is REQUIRED else o.default for o in options.values()}
    assert given == {name: list(v) if isinstance(v, tuple) else v for name, v in declared.items()}


def test_tasks_are_listed_with_their_own_defaults():
    for path in (CONF / "task").glob("*.yaml"):
        given = read(path)["task"]
        options = registry.get("task", given.pop("name")).options
        assert given == {o.name: o.default for o in options.values()}


def listed():
    """(kind, component, its options in the file, file) of every preset that pins one searched component."""
    for path in FILES:
        group = group_of(path)
        given = read(path)
        if group == "training":
            yield "solver", given["solver"], {k: v for k, v in given.items() if k != "solver"}, path
        elif group == "fusion" and isinstance(given["name"], str) and given["name"] != "all":
            yield "fusion", given["name"], given["options"].get(given["name"], {}), path
        elif group.startswith("encoder/") and isinstance(given["name"], str):
            yield "encoder", given["name"], given["options"].get(given["name"], {}), path


PINNED = list(listed())


@pytest.mark.parametrize(("kind", "name", "options", "path"), PINNED, ids=[f"{k}-{n}" for k, n, _, _ in PINNED])
def test_a_searched_component_is_listed_with_every_option(kind, name, options, path):
    component = registry.get(kind, name)
    assert list(options) == list(component.options)
    space = dict(component.space.paths())
    comments = {KEY.match(line)[2]: comment for _, line, comment in keys(path)}
    for option, value in options.items():
        declared = component.options[option].default
        if option in space:
            assert comments[option].endswith("Searched."), option
            assert value is None
            assert not space[option].holds(None), f"{option}: null would pin it"
        elif "None" in component.options[option].annotation:
            assert value == declared, option
        else:
            assert value is None, option
            stated = re.search(r"null: (.*)\.$", comments[option])
            assert stated, f"{option} does not say what null means"
            assert yaml.safe_load(stated[1]) == declared, option


def test_name_lists_name_what_there_is():
    for path in (CONF / "fusion").glob("*.yaml"):
        names = read(path)["name"]
        assert names == "all" or set([names] if isinstance(names, str) else names) <= set(registry.names("fusion"))


def test_builtin_lists_every_fusion_we_ship_once():
    ours = {n for n in registry.names("fusion") if registry.status("fusion", n).origin == "automm"}
    assert set(read(CONF / "fusion" / "builtin.yaml")["name"]) == ours - {"early"}


def test_every_component_we_ship_has_a_preset():
    for kind, group in (("data", "data"), ("task", "task"), ("strategy", "strategy"), ("executor", "executor")):
        ours = {n for n in registry.names(kind) if registry.status(kind, n).origin == "automm"}
        assert ours <= {p.stem for p in (CONF / group).glob("*.yaml")}
    encoders = {p.stem for p in (CONF / "encoder").rglob("*.yaml")}
    assert {n for n in registry.names("encoder") if registry.status("encoder", n).origin == "automm"} <= encoders


def test_none_is_spelt_so_that_choices_can_hold_it():
    assert OneOf((None, 1)).holds(None)
