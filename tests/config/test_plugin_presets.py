"""Presets that plugins ship: found where their entry point says, and never in another's place."""

import sys

import pytest

from automm import presets
from automm.config import compose
from automm.errors import PluginConflict


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a distribution on the path that ships presets, as pip would."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def install(name, *files):
        package = tmp_path / name / "conf"
        for file in files:
            (package / file).parent.mkdir(parents=True, exist_ok=True)
            (package / file).write_text(f"# A preset.\nname: {name}\noptions: {{}}\n")
        for folder in (tmp_path / name, package):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "__init__.py").touch()
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[automm.conf]\n{name} = {name}.conf\n")

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


def test_presets_that_cannot_be_read_harm_nobody(install, tmp_path, caplog):
    install("stranger_e", "fusion/moe.yaml")
    (tmp_path / "stranger_e" / "__init__.py").write_text("raise RuntimeError('no luck')\n")
    assert compose(["+task=vqa"]).task.name == "vqa"
    assert "stranger_e" in caplog.text
