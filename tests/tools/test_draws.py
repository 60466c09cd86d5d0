"""The table over several draws, from files as the runs leave them."""

import json

import pytest
from draws import Judged, parsed, section

SESSIONS = {"draw-0": [["2026-11-28", "abc1234"]], "draw-1": [["2026-11-28", "abc1234"]]}


@pytest.fixture
def judged(compared):
    return [Judged.read(compared / f"automm-{seed}", compared / "set", seed) for seed in (0, 1)]


def test_validation_stands_beside_the_tests_of_each_draw(judged):
    text = section(judged, SESSIONS, "python draws.py")
    assert "`python draws.py`, 2026-11-28, commit abc1234. 2 cores of AMD EPYC" in text
    assert "| 0 | 4 | 0.787 | 1.000 | 1.000 | -0.213 |" in text
    assert "| 1 | 4 | 0.787 | 0.500 | 0.500 | +0.287 |" in text
    assert "| mean |  | 0.787 | 0.750 | 0.750 | +0.037 |" in text
    assert "| standard deviation |  | 0.000 | 0.354 | 0.354 | 0.354 |" in text


def test_one_draw_has_no_deviation(judged):
    text = section(judged[:1], SESSIONS, "python draws.py")
    assert "standard deviation" not in text


def test_draws_of_different_days_say_so(judged):
    later = {**SESSIONS, "draw-1": [["2026-11-29", "def5678"]]}
    text = section(judged, later, "python draws.py")
    assert "2026-11-28, commit abc1234 (draw-0); 2026-11-29, commit def5678 (draw-1)" in text


def test_answers_of_another_set_are_refused(compared):
    answers = {"same_vendors": ["face"], "other_vendors": ["face", "face"]}
    (compared / "automm-0" / "answers.json").write_text(json.dumps(answers))
    with pytest.raises(ValueError, match="longer"):
        Judged.read(compared / "automm-0", compared / "set", 0)


def test_five_draws_by_default(tmp_path):
    assert parsed(["--out", str(tmp_path)]).draws == [0, 1, 2, 3, 4]
