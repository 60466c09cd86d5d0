"""Plugins built, installed and found as a stranger's would be: from their wheels, by their entry points alone."""

import shutil
from pathlib import Path

import pytest
import yaml
from wheels import install, python, wheel_of

PLUGINS = Path(__file__).parents[1] / "plugins"
COMPONENTS = {  # what each ships: kind, names of what can be built without a network, and the folder of its presets
    "automm-moe": ("fusion", ["moe"], "automm_moe/conf/fusion"),
    "automm-audio": ("encoder", ["logmel"], "automm_audio/conf/encoder/audio"),
}

OWN_TESTS = [  # all, or a whole run where all take longer than our suite may; `.ci/run` has all of those too
    ("automm-moe", ""),
    ("automm-audio", "test_flow.py::test_tones_are_told_apart_and_the_bundle_says_the_same"),
    pytest.param("automm-audio", "", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that the wheels of all plugins are installed in."""
    folder = tmp_path_factory.mktemp("plugins")
    return install([wheel_of(PLUGINS / plugin, folder / plugin) for plugin in COMPONENTS], folder / "site")


@pytest.mark.parametrize("plugin", COMPONENTS)
def test_the_wheel_keeps_the_contract(installed, tmp_path, plugin):
    kind, names, presets = COMPONENTS[plugin]
    package = plugin.replace("-", "_")
    code = f"""
from automm import registry
from automm.testing import check_component
import {package}
assert {package}.__file__.startswith({str(installed)!r}), {package}.__file__
for name in {names}:
    component = registry.get({kind!r}, name)
    assert (component.origin, component.version) == ({plugin!r}, "0.1.0"), component
    check_component({kind!r}, name)
for name in registry.names({kind!r}):
    component = registry.get({kind!r}, name)
    if component.origin == {plugin!r}:
        print(name, *component.options)
"""
    shipped = dict(
        line.split(" ", 1) for line in python("-c", code, cwd=tmp_path, PYTHONPATH=str(installed)).splitlines()
    )
    assert set(names) <= shipped.keys()
    for name, options in shipped.items():
        preset = yaml.safe_load((installed / presets / f"{name}.yaml").read_text())
        assert list(preset["options"][name]) == options.split()


def test_their_presets_compose_without_torch(installed, tmp_path):
    code = """
import sys
from automm.config import compose
settings = compose(["+task=vqa", "fusion=moe"])
assert settings.fusion.name == "moe", settings.fusion
assert set(settings.fusion.options.moe) == {"hidden", "experts", "chosen", "noise", "balance", "dropout"}
for task in ("classification", "regression", "multilabel", "retrieval"):
    audio = compose([f"+task={task}"]).encoder.audio
    assert (audio.name, audio.pretrained, audio.scratch) == ("auto", ["audio_transformers"], ["logmel"]), audio
assert compose(["+task=regression", "encoder/audio=logmel"]).encoder.audio.name == "logmel"
assert "audio" not in compose(["+task=vqa"]).encoder
assert "torch" not in sys.modules
"""
    python("-c", code, cwd=tmp_path, PYTHONPATH=str(installed))


def test_commands_list_them(installed, tmp_path):
    listed = python("-m", "automm", "plugins", cwd=tmp_path, PYTHONPATH=str(installed)).splitlines()
    for plugin, names in {"automm-moe": ["moe"], "automm-audio": ["logmel", "audio_transformers"]}.items():
        for name in names:
            (line,) = [line for line in listed if f" {name} " in f" {line} "]
            assert plugin in line
            assert "ready" in line


@pytest.mark.parametrize(("plugin", "which"), OWN_TESTS)
def test_its_own_tests_pass_on_what_was_installed(installed, tmp_path, plugin, which):
    shutil.copytree(PLUGINS / plugin / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    command = ("-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", f"tests/{which}")
    said = python(*command, cwd=tmp_path, timeout=900, PYTHONPATH=str(installed))
    assert "skipped" not in said


def test_without_it_nothing_knows_of_it():
    from automm import registry

    if "moe" in registry.names("fusion"):
        pytest.skip("automm-moe is installed in this environment")
    root = Path(__file__).parents[1]
    for folder in ("automm", "conf"):
        for file in (root / folder).rglob("*"):
            if file.suffix in (".py", ".yaml"):
                assert "moe" not in file.read_text().split(), file
