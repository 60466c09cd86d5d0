"""The wheel holds the configuration, and runs from anywhere."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*command, cwd, **env):
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, capture_output=True, text=True, env={**os.environ, **env}, timeout=300
    )


def test_configuration_ships_in_the_wheel(tmp_path):
    source = tmp_path / "source"
    copied = (
        "import shutil, sys; shutil.copytree(*sys.argv[1:], ignore=shutil.ignore_patterns('.*', 'build', '*.egg-info'))"
    )
    for name in ("automm", "conf"):
        assert run("-c", copied, str(ROOT / name), str(source / name), cwd=tmp_path).returncode == 0
    for name in ("setup.cfg", "pyproject.toml", "README.md"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    built = run(
        "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(source), cwd=tmp_path
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    presets = {path.relative_to(ROOT / "conf") for path in (ROOT / "conf").rglob("*.yaml")}
    assert presets == {
        path.relative_to(unpacked / "automm" / "conf") for path in unpacked.rglob("automm/conf/**/*.yaml")
    }
    packages = {path.parent.relative_to(ROOT) for path in (ROOT / "automm").rglob("__init__.py")}
    assert packages <= {path.parent.relative_to(unpacked) for path in unpacked.rglob("__init__.py")}
    assert (unpacked / "automm" / "py.typed").exists()
    code = (
        "import automm, sys; from automm.__main__ import main; "
        f"assert automm.__file__.startswith({str(unpacked)!r}), automm.__file__; sys.exit(main(sys.argv[1:]))"
    )
    done = run("-c", code, "--cfg", "job", "+task=vqa", cwd="/", PYTHONPATH=str(unpacked))
    assert done.returncode == 0, done.stderr
    assert "name: sort_of_clevr" in done.stdout
