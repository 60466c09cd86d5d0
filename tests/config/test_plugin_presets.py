"""Presets that plugins ship: found where their entry point says, and never in another's place."""

import sys

import pytest
from strangers import lay_down

from automm import presets
from automm.__main__ import main
from automm.config import compose
from automm.errors import PluginConflict


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a distribution on the path that ships presets, as pip would."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def install(name, *files):
        preset = f"# A preset.\nname: {name}\noptions: {{}}\n"
        package = {f"{name}/__init__.py": "", f"{name}/conf/__init__.py": ""}
        presets = {f"{name}/conf/{file}": preset for file in files}
        lay_down(tmp_path, name, f"[automm.conf]\n{name} = {name}.conf\n", {**package, **presets})

    yield install
    for module in [m for m in sys.modules if m.startswith("stranger")]:
        del sys.modules[module]


def test_a_plugins_preset_is_found(install):
    install("stranger_a", "fusion/moe.yaml")
    assert "moe" in presets.groups()["fusion"]
    assert compose(["+task=vqa", "fusion=moe"]).fusion.name == "stranger_a"


def test_a_plugin_cannot_take_our_presets_place(install):
    install("stranger_b", "fusion/film.yaml")
    with pytest.raises(PluginConflict, match=r"fusion/film.yaml is shipped by automm and by stranger_b"):
        compose(["+task=vqa"])


def test_two_plugins_cannot_ship_one_preset(install):
    install("stranger_c", "fusion/moe.yaml")
    install("stranger_d", "fusion/moe.yaml")
    with pytest.raises(PluginConflict, match=r"shipped by stranger_c and by stranger_d"):
        compose(["+task=vqa"])


def test_presets_that_collide_keep_nobody_from_looking_around(install, capsys):
    install("stranger_c", "fusion/moe.yaml")
    install("stranger_d", "fusion/moe.yaml", "fusion/film.yaml")
    assert main(["--help"]) == 0
    (fusions,) = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip().startswith("fusion ")]
    assert fusions.count("moe") == fusions.count("film") == 1
    assert main(["plugins", "executor"]) == 0
    assert main(["--cfg", "job", "+task=vqa"]) == 2
    said = capsys.readouterr().err
    assert "is shipped by" in said
    assert "stranger_d" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("error", ["RuntimeError('no luck')", "SystemExit(3)"])
def test_presets_that_cannot_be_read_harm_nobody(error, install, tmp_path, caplog):
    install("stranger_e", "fusion/moe.yaml")
    (tmp_path / "stranger_e" / "__init__.py").write_text(f"raise {error}\n")
    assert compose(["+task=vqa"]).task.name == "vqa"
    assert "stranger_e" in caplog.text
