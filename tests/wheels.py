"""Wheels, built and installed as a user would, without a network."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_LEFT_BY_BUILDS = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info")


def python(*command, cwd, timeout=300, **environment) -> str:
    """What a Python process prints; it must succeed, within so many seconds."""
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environment}
    done = subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, env=env, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wheel_of(project: Path, folder: Path, names: Sequence[str] | None = None) -> Path:
    """The wheel of a project, or of these of its files, built in a new folder."""
    source = folder / "source"
    if names is None:
        shutil.copytree(project, source, ignore=_LEFT_BY_BUILDS)
    for name in names or ():
        if (project / name).is_dir():
            shutil.copytree(project / name, source / name, ignore=_LEFT_BY_BUILDS)
        else:
            shutil.copyfile(project / name, source / name)
    python("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(source), cwd=folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def install(wheels: Sequence[Path], site: Path) -> Path:
    """Install wheels in a folder of their own, without what they depend on."""
    files = [str(wheel) for wheel in wheels]
    python("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site), *files, cwd=site.parent)
    return site


def dependencies() -> list[str]:
    """The folders that packages are installed in; as plain entries of the path they install no editable finder."""
    return [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
