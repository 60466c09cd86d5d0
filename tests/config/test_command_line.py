"""The command itself, as a process."""

import os
import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "transformers",
    "timm",
    "open_clip",
    "nevergrad",
    "sklearn",
    "lightning_fabric",
    "sqlalchemy",
    "joblib",
)


def automm(*words, cwd, **env):
    command = [sys.executable, "-m", "automm", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, **env}, timeout=300)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--help"], "automm predict BUNDLE"),
        (["--version"], "automm 0"),
        (["--cfg", "job", "+task=vqa", "fusion=film"], "name: film"),
        (["--info", "searchpath"], "pkg://automm.conf"),
    ],
    ids=["help", "version", "cfg", "info"],
)
def test_looking_in_imports_nothing_heavy(words, said, tmp_path):
    code = (
        "import sys\nfrom automm.__main__ import main\nstatus = main(sys.argv[1:])\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\nassert not heavy, heavy\nsys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["+task=vqa", "fusion.name=flim"], "Did you mean 'film'"),
        (["+task=vqa", "search.trails=3"], "Did you mean 'trials'"),
        (["plugns"], "Did you mean 'plugins'"),
        (["predict", "no-bundle", "no-rows.jsonl"], "no-rows.jsonl"),
        (["+task=vqa", "hydra.run.dir=x", "seed=1"], "run.dir=x"),
    ],
    ids=["component", "key", "command", "file", "hydra"],
)
def test_an_error_is_one_paragraph_and_status_2(words, said, tmp_path):
    done = automm(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] in ([], ["x"])


def test_traceback_is_there_for_the_asking(tmp_path):
    done = automm("+task=vqa", "search.eta=1", "debug=true", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1] == "search.eta=1 is not allowed: an integer from 2 to 1000"


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_sweep_runs_every_job_and_says_what_ailed_each(launcher, tmp_path):
    words = ("-m", "+task=vqa", "fusion.name=concta,flim", "run.dir=sweep", f"hydra/launcher={launcher}")
    done = automm(*words, cwd=tmp_path)
    assert done.returncode == 2
    for number, guess in enumerate(["concat", "film"]):
        (line,) = [line for line in done.stderr.splitlines() if line.startswith(f"job #{number} ")]
        assert f"Did you mean '{guess}'" in line
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir()) == ["0", "1", "multirun.yaml"]


def test_a_sweep_has_a_directory_of_its_own(tmp_path):
    automm("-m", "+task=vqa", "fusion.name=flim", cwd=tmp_path)
    assert len(list(tmp_path.glob("multirun/*/*/0"))) == 1
