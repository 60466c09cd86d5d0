"""A plugin built, installed and found as a stranger's would be: from its wheel, by its entry points alone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[1] / "plugins" / "automm-moe"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that the wheel of automm-moe is installed in."""
    folder = tmp_path_factory.mktemp("plugin")
    source = folder / "source"  # a build leaves files beside the sources
    shutil.copytree(PLUGIN, source, ignore=shutil.ignore_patterns("build", "dist", "*.egg-info", ".*", "__pycache__"))
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(source), cwd=folder)
    (wheel,) = (folder / "dist").glob("automm_moe-*.whl")
    target = folder / "site"
    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target), str(wheel), cwd=folder)
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


def test_the_wheel_keeps_the_contract(installed, tmp_path):
    code = f"""
from automm import registry
from automm.testing import check_component
component = registry.get("fusion", "moe")
assert (component.origin, component.version) == ("automm-moe", "0.1.0"), component
import automm_moe
assert automm_moe.__file__.startswith({str(installed)!r}), automm_moe.__file__
check_component("fusion", "moe")
assert "concat" in registry.names("fusion")
print(*component.options)
"""
    options = run("-c", code, cwd=tmp_path, path=installed).split()
    preset = (PLUGIN / "automm_moe" / "conf" / "fusion" / "moe.yaml").read_text().splitlines()
    assert [line.strip().partition(":")[0] for line in preset if line.endswith(": null")] == options


def test_its_preset_composes_without_torch(installed, tmp_path):
    code = """
import sys
from automm.config import compose
settings = compose(["+task=vqa", "fusion=moe"])
assert settings.fusion.name == "moe", settings.fusion
assert set(settings.fusion.options.moe) == {"hidden", "experts", "chosen", "noise", "balance", "dropout"}
assert "torch" not in sys.modules
"""
    run("-c", code, cwd=tmp_path, path=installed)


def test_commands_list_it(installed, tmp_path):
    listed = run("-m", "automm", "plugins", "fusion", cwd=tmp_path, path=installed)
    (line,) = [line for line in listed.splitlines() if " moe " in f" {line} "]
    assert "automm-moe" in line
    assert "ready" in line


def test_without_it_nothing_knows_of_it():
    from automm import registry

    if "moe" in registry.names("fusion"):
        pytest.skip("automm-moe is installed in this environment")
    root = Path(__file__).parents[1]
    for folder in ("automm", "conf"):
        for file in (root / folder).rglob("*"):
            if file.suffix in (".py", ".yaml"):
                assert "moe" not in file.read_text().split(), file
