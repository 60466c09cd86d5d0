"""The section that compare.py writes, of files as its steps leave them."""

import json

import pytest
from compare import since
from section import Measured, accuracies, by_seed, section

COMMAND = "python tools/benchmark/emoji/compare.py --out compared"


def read(out, *, seeds=(0, 1), autogluon=True):
    return Measured.read(out, out / "set", seeds, autogluon=autogluon)


def test_everybody_has_a_line(compared):
    assert accuracies(read(compared)).splitlines() == [
        "| | seconds | same vendors | other vendors |",
        "|---|---|---|---|",
        "| probe (logistic regression), both | 253 for all of it | 0.500 | 0.500 |",
        "| probe (logistic regression), image |  | 0.500 | 0.500 |",
        "| probe (logistic regression), text |  | 1.000 | 1.000 |",
        "| AutoGluon MultiModal, both | 334 | 1.000 | 1.000 |",
        "| AutoGluon MultiModal, text | 195 | 0.500 | 0.500 |",
        "| automm | 200 | 0.750 ± 0.354 | 0.750 ± 0.354 |",
        "| automm, first trial where features are kept | launched after 1.9, done after 4.0 | – | – |",
    ]


def test_validation_stands_beside_the_tests_of_each_seed(compared):
    assert by_seed(read(compared)).splitlines()[2:] == [
        "| 0 | 0.787 | 1.000 | 1.000 | 201 | 100 | 121 | trials | concat, kernel_ridge |",
        "| 1 | 0.787 | 0.500 | 0.500 | 201 | 120 | 100 | trials | concat, kernel_ridge |",
    ]


def test_it_says_what_was_run_when_and_on_what(compared):
    text = " ".join(section(read(compared), "known", COMMAND).split())
    assert text.startswith(
        f"### The set `known` `{COMMAND}`, 2026-11-28, commit abc1234. 2 cores of AMD EPYC (avx2, avx512f, avx512_vnni)"
    )
    assert "automm 0.1.0, torch 2.14.1" in text
    assert "autogluon.multimodal 1.6.3, torch 2.12.1" in text
    assert "after 4 training rows, on 4 rows of the same vendors and 2 of others" in text


def test_it_says_how_far_ahead_of_the_probe(compared):
    """Half of the rows are won by one seed of two: a quarter, between nothing and a half as emoji are drawn."""
    text = " ".join(section(read(compared), "known", COMMAND).split())
    assert "+0.250 on the same vendors (95 % +0.000 to +0.500) and +0.250 on the other vendors (95 % +0.000" in text


def test_autogluon_left_out_is_said(compared):
    (compared / "autogluon" / "answers.json").unlink()
    text = section(read(compared, autogluon=False), "known", COMMAND)
    assert "| AutoGluon MultiModal | left out | – | – |" in text
    assert "AutoGluon was left out (`--autogluon none`)." in " ".join(text.split())
    assert "1.6.3" not in text


def test_one_seed_has_no_deviation(compared):
    text = section(read(compared, seeds=(1,)), "known", COMMAND)
    assert "±" not in text
    assert "| automm | 201 | 0.500 | 0.500 |" in text


def test_steps_of_several_days_are_told_apart(compared):
    sessions = json.loads((compared / "measured.json").read_text())
    sessions["automm-1"].append(["2026-11-29", "def5678"])
    (compared / "measured.json").write_text(json.dumps(sessions))
    text = " ".join(section(read(compared), "known", COMMAND).split())
    assert "commit abc1234 (probe, autogluon, automm-0, automm-1, first-trial)" in text
    assert "2026-11-29, commit def5678 (automm-1)" in text
    assert "def5678" not in section(read(compared, seeds=(0,)), "known", COMMAND)


def test_steps_of_which_no_day_was_written_down_are_unknown(compared):
    sessions = json.loads((compared / "measured.json").read_text())
    del sessions["probe"]
    (compared / "measured.json").write_text(json.dumps(sessions))
    text = " ".join(section(read(compared), "known", COMMAND).split())
    assert "day unknown, commit unknown (probe); 2026-11-28, commit abc1234 (autogluon, automm-0" in text


def test_the_first_seed_computes_the_features_where_it_began_without_any(compared):
    def told(*seeds):
        return " ".join(section(read(compared, seeds=seeds), "known", COMMAND).split())

    assert ", the first of which computes the features that the others find kept." in told(0, 1)
    assert "by seed 0, features included." in told(0)
    assert "automm's by seed 1, 0, mean ± standard deviation." in told(1, 0)
    (compared / "caches.json").unlink()
    assert "features" not in told(0, 1).partition("| |")[0]


def test_the_first_trial_is_timed_by_the_log(tmp_path):
    events = [("ask", 101.7), ("launch", 101.87), ("launch", 102.0), ("report", 104.0), ("tell", 104.04), ("tell", 105)]
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps({"time": at, "event": event}) + "\n" for event, at in events))
    assert since(100.0, log) == pytest.approx({"launched": 1.87, "done": 4.04})
