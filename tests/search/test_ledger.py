import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from curves import run

from automm.errors import StudyError
from automm.search.history import trials_table
from automm.search.study import SCHEMA, Study

GOLDEN = Path(__file__).parents[1] / "golden"


def test_events_come_back_in_order(tmp_path):
    with Study.open(tmp_path / "s.db") as study:
        study.begin({"seed": 1})
        for at in range(5):
            study.append("ask", at, {"candidate": {"lr": 1e-5 / 3}}, float(at))
        written = list(study.events)
    with Study.open(tmp_path / "s.db", readonly=True) as study:
        assert list(study.events) == written
        assert study.header == {"seed": 1}
        assert study.elapsed == 4.0


def test_two_studies_share_a_database(tmp_path):
    url = f"sqlite:///{tmp_path / 's.db'}"
    with Study.open(url, name="a") as a, Study.open(url, name="b") as b:
        a.append("stop", None, {"reason": "trials"}, 0.0)
        assert not b.events
        b.append("stop", None, {"reason": "timeout"}, 0.0)
        a.reload()
        assert [e.data["reason"] for e in a.events] == ["trials"]


def test_one_process_writes_and_others_read(tmp_path):
    path = tmp_path / "s.db"
    opening = (
        "import sys; from automm.search.study import Study; Study.open(sys.argv[1], readonly=sys.argv[2] == 'read')"
    )
    with Study.open(path):
        second = subprocess.run([sys.executable, "-c", opening, path, "write"], capture_output=True, text=True)
        reader = subprocess.run([sys.executable, "-c", opening, path, "read"], capture_output=True, text=True)
        with pytest.raises(StudyError, match="in use"):
            Study.open(path)
    assert "StudyError" in second.stderr
    assert "in use by another process" in second.stderr
    assert reader.returncode == 0
    Study.open(path).close()


def test_two_writers_on_a_database_without_our_lock_collide(tmp_path):
    url = f"sqlite:///{tmp_path / 's.db'}"
    with Study.open(url) as one, Study.open(url) as two:
        one.append("stop", None, {"reason": "trials"}, 0.0)
        with pytest.raises(StudyError, match="another process has written"):
            two.append("stop", None, {"reason": "trials"}, 0.0)


def test_what_is_no_study_is_refused(tmp_path):
    with pytest.raises(StudyError, match="no study at"):
        Study.open(tmp_path / "absent.db", readonly=True)
    with pytest.raises(StudyError, match="no directory"):
        Study.open(tmp_path / "absent" / "study.db")
    (tmp_path / "text.db").write_text("this is no database, and long enough to be sure of it" * 40)
    for readonly in (True, False):
        with pytest.raises(StudyError, match="cannot be read as a study"):
            Study.open(tmp_path / "text.db", readonly=readonly)
    assert (tmp_path / "text.db").read_text().startswith("this is no database")


def test_a_newer_study_is_refused(tmp_path):
    with Study.open(tmp_path / "s.db") as study:
        study.begin({})
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("UPDATE automm_study SET schema_version = 99")
    connection.close()
    with pytest.raises(StudyError, match="upgrade automm"):
        Study.open(tmp_path / "s.db")


def test_not_a_number_is_no_value(tmp_path):
    with Study.open(tmp_path / "s.db") as study, pytest.raises(ValueError, match="JSON"):
        study.append("report", 0, {"values": {"loss": float("nan")}}, 0.0)


def test_other_settings_are_named(tmp_path):
    run(tmp_path, trials=3)
    with pytest.raises(StudyError, match=r"trials was 3 and is now 4; halving\.eta was 2 and is now 3"):
        run(tmp_path, trials=4, eta=3)
    with pytest.raises(StudyError, match="seed was 3 and is now 5"):
        run(tmp_path, trials=3, seed=5)


def test_an_altered_ledger_does_not_replay(tmp_path):
    run(tmp_path, trials=4)
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.execute(
            """UPDATE automm_event SET data = replace(data, '"batch": ', '"batch": 1') WHERE kind = 'ask'"""
        )
    connection.close()
    with pytest.raises(StudyError, match="replaying it gives"):
        run(tmp_path, trials=4)


def test_the_table(tmp_path):
    run(tmp_path, trials=8)
    with Study.open(tmp_path / "study.db", readonly=True) as study:
        rows = trials_table(study)
    assert [row["number"] for row in rows] == list(range(len(rows)))
    assert {row["state"] for row in rows} <= {"completed", "pruned", "failed", "infeasible"}
    for row in rows:
        assert bool(row["reason"]) == (row["state"] in ("failed", "infeasible"))
        assert bool(row["values"]) == (row["state"] in ("completed", "pruned"))
    with Study.open(tmp_path / "empty.db") as empty:
        assert trials_table(empty) == []


@pytest.mark.parametrize("version", range(1, SCHEMA + 1))
def test_a_study_of_every_format_is_read(version, tmp_path, golden, request):
    """`--regenerate-golden` writes the study of today's format alone: those of earlier ones cannot be made again."""
    stored = GOLDEN / f"study_{version}.db"
    if request.config.getoption("--regenerate-golden") and version == SCHEMA:
        run(tmp_path / "new", trials=8, max_epochs=4, seed=7)  # every state is in it
        shutil.copy(tmp_path / "new" / "study.db", stored)
    copied = shutil.copy(stored, tmp_path / "study.db")  # reading leaves files beside a study
    with Study.open(copied, readonly=True) as study:
        rows = trials_table(study)
    assert {row["state"] for row in rows} == {"completed", "pruned", "failed", "infeasible"}
    golden(stored.stem, rows)
