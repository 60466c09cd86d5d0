"""The wheel holds all that the command needs, and runs from anywhere."""

import json
import os
from pathlib import Path

import pytest
from wheels import dependencies, install, python, wheel_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder that the wheel of automm is installed in."""
    folder = tmp_path_factory.mktemp("wheel")
    names = ("automm", "conf", "setup.cfg", "pyproject.toml", "README.md")
    return install([wheel_of(ROOT, folder, names)], folder / "site")


@pytest.fixture
def automm(site):
    """The command, from `/`, with the wheel and the dependencies on the path and nothing else: -S keeps a development
    install's finder out, which would fetch from the sources what the wheel lacks."""

    def automm(*words):
        path = os.pathsep.join([str(site), *dependencies()])
        return python("-S", "-m", "automm", *words, cwd="/", PYTHONPATH=path)

    return automm


def files_under(folder):
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_every_file_is_in_the_wheel(site):
    ours = files_under(ROOT / "automm") | {f"conf/{name}" for name in files_under(ROOT / "conf")}
    assert files_under(site / "automm") == ours


def test_the_command_runs_on_the_wheel_alone(automm):
    assert "cross_attention" in automm("--help")
    assert "name: sort_of_clevr" in automm("--cfg", "job", "+task=vqa")


def test_every_component_of_the_wheel_is_ready(automm):
    rows = [row for row in json.loads(automm("plugins", "--json")) if row["origin"] == "automm"]
    assert {"encoder", "fusion", "task", "data", "strategy", "executor", "solver"} <= {row["kind"] for row in rows}
    assert {row["health"] for row in rows} == {"ready"}, rows
