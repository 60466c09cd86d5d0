"""What compare.py makes where it is missing, and what it refuses to take for it."""

import json
import subprocess
import sys

import compare
import pytest
from prepare import autogluon_python, emoji_of, emoji_set, made, run

from automm.errors import BundleError


def test_what_is_there_is_not_made_again(tmp_path):
    made(tmp_path / "one", lambda folder: (folder / "file").write_text("first"))
    made(tmp_path / "one", lambda folder: (folder / "file").write_text("second"))
    assert (tmp_path / "one" / "file").read_text() == "first"


def test_what_was_stopped_is_not_taken_for_whole(tmp_path):
    def stopped(folder):
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "one", stopped)
    assert not (tmp_path / "one").exists()
    made(tmp_path / "one", lambda folder: (folder / "whole").write_text(""))
    assert [path.name for path in tmp_path.rglob("*")] == ["one", "whole"]


def test_a_step_that_fails_ends_the_comparison(tmp_path):
    with pytest.raises(SystemExit, match=r"ended with status 3; .* Next: "):
        run([sys.executable, "-c", "raise SystemExit(3)"])


def test_a_set_that_is_there_is_used(compared):
    assert emoji_set(compared / "set", None) == compared / "set"
    (compared / "set" / "other_vendors.csv").unlink()
    with pytest.raises(SystemExit, match=r"has no other_vendors\.csv.* Next: "):
        emoji_set(compared / "set", None)


def test_a_set_of_another_list_is_refused(compared, tmp_path):
    known = tmp_path / "known.csv"
    known.write_text("unified,name\n1F600,grinning\n1F1E6,a\n1F1E7,b\n")
    assert emoji_set(compared / "set", known) == compared / "set"
    known.write_text("unified,name\n1F600,grinning\n1F1E6,a\n")
    with pytest.raises(SystemExit, match=r"another list than .*known\.csv: 1 emoji, 1F1E7 among them.* Next: "):
        emoji_set(compared / "set", known)


def test_a_list_without_emoji_is_refused_before_anything_is_fetched(tmp_path):
    with pytest.raises(SystemExit, match=r"none\.csv is no file\. Next: "):
        emoji_set(tmp_path / "set", tmp_path / "none.csv")
    (tmp_path / "names.csv").write_text("name\ngrinning\n")
    with pytest.raises(SystemExit, match=r"no column `unified`, but \['name'\]\. Next: "):
        emoji_of(tmp_path / "names.csv")
    assert not (tmp_path / "set").exists()


def test_an_environment_that_is_whole_is_used(tmp_path):
    (tmp_path / "installed.txt").write_text("")
    assert autogluon_python(tmp_path, ["./no-such-wheel.whl"]) == str(tmp_path / "bin" / "python")
    assert not (tmp_path / "bin").exists()


@pytest.mark.slow
def test_an_environment_is_whole_when_all_is_installed(tmp_path):
    folder = tmp_path / "environment"
    with pytest.raises(SystemExit, match=r"-m pip install .*no-such-wheel\.whl ended with status"):
        autogluon_python(folder, ["./no-such-wheel.whl"])
    assert not (folder / "installed.txt").exists()
    python = autogluon_python(folder, ["pip"])  # which is there already
    assert (
        subprocess.run([python, "-c", "import sys; sys.exit(sys.prefix == sys.base_prefix)"], check=False).returncode
        == 0
    )
    assert (folder / "installed.txt").read_text() == "pip\n"


@pytest.mark.parametrize(
    ("asked", "said"),
    [(("--write", "none.md"), "none.md is no file"), (("--autogluon", "no-python"), "no-python is no program")],
)
def test_what_cannot_be_is_said_before_anything_is_made(compared, asked, said):
    there = ["--set", "set", "--weights", "set"]
    command = [sys.executable, compare.__file__, "--out", "out", *there, *asked]
    ended = subprocess.run(command, cwd=compared, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert not (compared / "out").exists()


def test_a_peer_is_not_asked_again_but_where_the_question_is_another(compared):
    out = compared / "probe"
    answers = (out / "answers.json").read_text()
    with pytest.raises(SystemExit, match=r"for other rows or other weights.* Next: "):
        compare.peer("probe.py", "no-python", compared / "set", compared / "weights", out)
    (out / "answers.json").unlink()
    with pytest.raises(FileNotFoundError, match="no-python"):
        compare.peer("probe.py", "no-python", compared / "set", compared / "weights", out)
    (out / "answers.json").write_text(answers)
    compare.peer("probe.py", "no-python", compared / "set", compared / "weights", out)
    (compared / "set" / "train.csv").write_text("unified\n")
    with pytest.raises(SystemExit, match=r"for other rows or other weights.* Next: "):
        compare.peer("probe.py", "no-python", compared / "set", compared / "weights", out)


def test_sessions_of_a_step_are_written_down_until_it_is_finished(tmp_path):
    def sessions():
        return json.loads((tmp_path / "measured.json").read_text())

    compare.session(tmp_path, "automm-0", done=False)
    compare.session(tmp_path, "automm-0", done=False)
    ((day, commit),) = sessions()["automm-0"]
    assert commit == compare.commit()
    (tmp_path / "measured.json").write_text(json.dumps({"automm-0": [[day, "earlier"]], "probe": [[day, "earlier"]]}))
    compare.session(tmp_path, "automm-0", done=True)
    assert sessions()["automm-0"] == [[day, "earlier"]]
    compare.session(tmp_path, "automm-0", done=False)
    assert sessions()["automm-0"] == [[day, "earlier"], [day, commit]]
    compare.session(tmp_path, "probe", done=False, whole=True)
    assert sessions()["probe"] == [[day, commit]]


def test_whether_a_run_began_with_features_is_written_down_once(tmp_path):
    compare._cache(tmp_path, "automm-0")
    (tmp_path / "automm-0").mkdir()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "features").write_text("")
    compare._cache(tmp_path, "automm-0")
    compare._cache(tmp_path, "automm-1")
    assert json.loads((tmp_path / "caches.json").read_text()) == {"automm-0": "empty", "automm-1": "kept"}


def test_the_first_trial_of_another_command_is_timed_again(tmp_path):
    def command(*more):
        written = json.dumps({"time": 0, "event": "launch"}) + "\n" + json.dumps({"time": 0, "event": "tell"})
        code = f"import pathlib; p = pathlib.Path({str(run)!r}); p.mkdir(); (p / 'log.jsonl').write_text({written!r})"
        return [sys.executable, "-c", code, *more]

    run = tmp_path / "first-trial"
    run.mkdir()
    (run / "first_trial.json").write_text("{}")  # of nobody knows what
    compare.first_trial(run, command("seed=0"))
    (run / "first_trial.json").write_text("{}")
    compare.first_trial(run, ["another python", *command("seed=0")[1:]])
    assert (run / "first_trial.json").read_text() == "{}"
    compare.first_trial(run, command("seed=1"))
    assert (run / "first_trial.json").read_text() != "{}"


def test_answers_of_a_finished_run_stay_as_they_are(compared, monkeypatch):
    monkeypatch.setattr(compare, "_command", lambda *_: [sys.executable, "-c", ""])  # the run is shown again
    run = compared / "automm-0"
    answers = (run / "answers.json").read_text()
    compare.automm(compared / "set", compared / "weights", run, 0, [])
    assert (run / "answers.json").read_text() == answers
    (run / "answers.json").unlink()
    with pytest.raises(BundleError, match="bundle"):  # whose answers they would be
        compare.automm(compared / "set", compared / "weights", run, 0, [])


def test_what_is_stopped_amid_fresh_leaves_no_session_of_earlier(compared, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["compare.py", "--out", str(compared), "--fresh"])
    monkeypatch.setattr(compare.shutil, "rmtree", stopped)
    with pytest.raises(KeyboardInterrupt):
        compare.main()
    assert not list(compared.glob("*.json"))
