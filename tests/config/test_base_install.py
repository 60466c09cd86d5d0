"""The command where only the base install is: what needs no torch works, what does says how to get it."""

import json
from pathlib import Path

import pytest
from base_install import BASE, with_only

STORED = Path(__file__).parents[1] / "golden" / "bundle_1"
COMMAND = "from automm.__main__ import main\nsys.exit(main(sys.argv[1:]))\n"
NEXT = 'which is not installed. Next: pip install "automm[train]".\n'


def automm(*words, cwd):
    return with_only(BASE, COMMAND, *words, cwd=cwd)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--help"], "automm predict BUNDLE"),
        (["--cfg", "job", "+task=vqa"], "name: sort_of_clevr"),
        (["cache", "info", "--cache-dir", "."], "0.0 MB"),
    ],
    ids=lambda value: value[0].lstrip("-") if isinstance(value, list) else "",
)
def test_looking_in_needs_no_extra(words, said, tmp_path):
    done = automm(*words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout


def test_predict_needs_no_extra(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"question": "what is it ?"}\n\n{}\n')
    done = automm("predict", STORED, "rows.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["answer"] for line in done.stdout.splitlines()] == ["wordy", "unsure"]


def test_plugins_lists_what_is_ready_and_what_an_extra_brings(tmp_path):
    done = automm("plugins", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    health = {(row["kind"], row["name"]): row["health"] for row in json.loads(done.stdout) if row["origin"] == "automm"}
    assert set(health.values()) == {"ready", "needs an extra"}, health
    assert health["fusion", "film"] == health["strategy", "nevergrad"] == "needs an extra"
    assert health["executor", "processes"] == health["data", "vqa_v2"] == health["strategy", "random"] == "ready"


@pytest.mark.parametrize(
    ("words", "who"),
    [
        (["study", ".", "--json"], "`automm study` needs the package 'sqlalchemy', "),
        (["plugins", "fusion", "film"], "fusion 'film' needs the package 'torch', "),
        (["+task=vqa"], " needs the package 'torch', "),
    ],
    ids=["study", "one plugin", "a run"],
)
def test_what_needs_an_extra_says_which(words, who, tmp_path):
    done = automm(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert who + NEXT in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_python_face_says_which_extra_it_needs(tmp_path):
    code = """
from automm.errors import MissingExtra
try:
    from automm import AutoTrainer
except MissingExtra as error:
    print(error)
"""
    done = with_only(BASE, code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("AutoTrainer needs the package '")
    assert done.stdout.endswith(NEXT)
