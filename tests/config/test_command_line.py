"""The command itself, as a process."""

import os
import subprocess
import sys

import pytest

from automm.__main__ import main

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


def test_looking_in_imports_nothing_heavy(tmp_path):
    asked = (["--help"], ["--version"], ["--cfg", "job", "+task=vqa", "fusion=film"], ["--info", "searchpath"])
    code = (
        "import sys\nfrom automm.__main__ import main\n"
        f"assert [main(words) for words in {asked!r}] == [0, 0, 0, 0]\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for said in ("automm predict BUNDLE", "automm 0", "name: film", "pkg://automm.conf"):
        assert said in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["+task=vqa", "search.trails=3"], "Did you mean 'trials'"),
        (["-m", "+task=vqa", "fusion=concat,flim"], "Did you mean 'film'"),
        (["plugns"], "Did you mean 'plugins'"),
        (["predict", "no-bundle", "no-rows.jsonl"], "no-rows.jsonl"),
        (["+task=vqa", 'encoder.fields."a b".name=ngrms'], 'encoder.fields."a b".name=ngrms: no encoder'),
        ([], "automm +task=vqa"),
    ],
    ids=["key", "preset in a sweep", "command", "file", "column", "nothing"],
)
def test_an_error_is_one_paragraph_and_status_2(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert status(words) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def status(words):
    try:
        return main(words)
    except SystemExit as done:
        return done.code


def test_an_error_of_a_run_is_one_paragraph_and_status_2(tmp_path):
    done = automm("+task=vqa", "fusion.name=flim", cwd=tmp_path)
    assert done.returncode == 2
    assert "Did you mean 'film'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_traceback_is_there_for_the_asking(tmp_path):
    done = automm("+task=vqa", "search.eta=1", "debug=true", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1] == "search.eta=1 is not allowed: an integer from 2 to 1000"


@pytest.mark.parametrize(
    ("launcher", "asked", "folder"),
    [("basic", [], "multirun/*/*"), ("joblib", ["run.dir=sweep"], "sweep")],
    ids=["basic", "joblib"],
)
def test_a_sweep_runs_every_job_and_says_what_ailed_each(launcher, asked, folder, tmp_path):
    words = ("-m", "+task=vqa", "fusion.name=concta,flim", f"hydra/launcher={launcher}", *asked)
    done = automm(*words, cwd=tmp_path)
    assert done.returncode == 2
    for number, guess in enumerate(["concat", "film"]):
        (line,) = [line for line in done.stderr.splitlines() if line.startswith(f"job #{number} ")]
        assert f"Did you mean '{guess}'" in line
    assert "Traceback" not in done.stderr
    (sweep,) = tmp_path.glob(folder)
    assert sorted(path.name for path in sweep.iterdir()) == ["0", "1", "multirun.yaml"]
