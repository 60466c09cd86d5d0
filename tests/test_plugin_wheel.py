"""Plugins built, installed and found as a stranger's would be: from their wheels, by their entry points alone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PLUGINS = Path(__file__).parents[1] / "plugins"
COMPONENTS = {  # what each ships: kind, names of what can be built without a network, and the folder of its presets
    "automm-moe": ("fusion", ["moe"], "automm_moe/conf/fusion"),
    "automm-audio": ("encoder", ["logmel"], "automm_audio/conf/encoder/audio"),
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that the wheels of all plugins are installed in."""
    folder = tmp_path_factory.mktemp("plugins")
    target = folder / "site"
    for plugin in COMPONENTS:
        source = folder / plugin  # a build leaves files beside the sources
        leave = shutil.ignore_patterns("build", "dist", "*.egg-info", ".*", "__pycache__")
        shutil.copytree(PLUGINS / plugin, source, ignore=leave)
        run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(source), cwd=folder)
    wheels = map(str, (folder / "dist").glob("*.whl"))
    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target), *wheels, cwd=folder)
    return target


def run(*command, cwd, path=None):
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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
    shipped = dict(line.split(" ", 1) for line in run("-c", code, cwd=tmp_path, path=installed).splitlines())
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
audio = compose(["+task=classification"]).encoder.audio
assert (audio.name, audio.pretrained, audio.scratch) == ("auto", ["audio_transformers"], ["logmel"]), audio
assert compose(["+task=regression", "encoder/audio=logmel"]).encoder.audio.name == "logmel"
assert "audio" not in compose(["+task=vqa"]).encoder
assert "torch" not in sys.modules
"""
    run("-c", code, cwd=tmp_path, path=installed)


def test_commands_list_them(installed, tmp_path):
    listed = run("-m", "automm", "plugins", cwd=tmp_path, path=installed).splitlines()
    for plugin, names in {"automm-moe": ["moe"], "automm-audio": ["logmel", "audio_transformers"]}.items():
        for name in names:
            (line,) = [line for line in listed if f" {name} " in f" {line} "]
            assert plugin in line
            assert "ready" in line


def test_a_table_of_clips_is_learnt_and_served(installed, tmp_path):
    """The plugin's own test of a whole run, against what was installed."""
    shutil.copytree(PLUGINS / "automm-audio" / "tests", tmp_path / "tests")
    test = "tests/test_flow.py::test_tones_are_told_apart_and_the_bundle_says_the_same"
    done = run("-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", test, cwd=tmp_path, path=installed)
    assert "1 passed" in done


def test_without_it_nothing_knows_of_it():
    from automm import registry

    if "moe" in registry.names("fusion"):
        pytest.skip("automm-moe is installed in this environment")
    root = Path(__file__).parents[1]
    for folder in ("automm", "conf"):
        for file in (root / folder).rglob("*"):
            if file.suffix in (".py", ".yaml"):
                assert "moe" not in file.read_text().split(), file
