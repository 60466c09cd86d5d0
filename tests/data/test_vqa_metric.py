import random

import pytest

from automm.data.vqa_metric import agreement, answer_scores, canonical, normalise, score, scores


def leave_one_out(prediction, answers):
    """The published definition, literally."""
    per_person = []
    for left_out in range(len(answers)):
        others = [a for at, a in enumerate(answers) if at != left_out]
        per_person.append(min(1, sum(a == prediction for a in others) / 3))
    return sum(per_person) / len(per_person)


@pytest.mark.parametrize("matches", range(11))
def test_ten_people_give_the_closed_form(matches):
    answers = ["cat"] * matches + ["dog"] * (10 - matches)
    assert agreement(matches) == pytest.approx(min(1, 0.3 * matches), abs=1e-15)
    assert agreement(matches) == pytest.approx(leave_one_out("cat", answers), abs=1e-15)
    assert score("cat", answers) == agreement(matches)


def test_any_number_of_people_gives_the_leave_one_out_mean():
    draw = random.Random(0)
    for _ in range(500):
        answers = [draw.choice(["red", "blue", "green"]) for _ in range(draw.randint(2, 12))]
        assert score("red", answers) == pytest.approx(leave_one_out("red", answers), abs=1e-12)


def test_one_person_agrees_or_does_not():
    assert (score("yes", ["yes"]), score("no", ["yes"])) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("typed", "form"),
    [
        ("Yes", "yes"),
        ("  two dogs\n", "2 dogs"),
        ("none", "0"),
        ("ten", "10"),
        ("eleven", "eleven"),
        ("the cat", "cat"),
        ("A man and an apple", "man and apple"),
        ("a", ""),
        ("dont know", "don't know"),
        ("Im here", "im here"),  # lower case comes first, so the capital entry is never met
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("couldntve", "couldntve"),  # no such entry
        ("oclock", "o'clock"),
        ("twas", "'twas"),
        ("somebody'd", "somebodyd"),  # the official slip
        ("lets", "lets"),
        ("red, white and blue", "red white and blue"),  # beside a space a mark vanishes
        ("red,white", "red white"),  # elsewhere it becomes one
        ("1,000 people", "1000 people"),
        ("1,000/2", "10002"),  # a number with a comma makes every mark vanish
        ("t-shirt", "t shirt"),
        ("t - shirt", "t shirt"),
        ("what?", "what"),
        ("2.5", "2.5"),
        (".5", ".5"),
        ("3.", "3"),
        ("mr. smith", "mr smith"),
        ("u.s.a.", "usa"),
        ("it's 5:30", "it's 5:30"),  # apostrophes and colons stay
        ("100%", "100%"),
        ("$5", "$5"),
        ("." * 40, "." * 8),  # 32 periods go, then it stops: the official code passes a flag as the count
    ],
)
def test_normalisation_is_the_official_one(typed, form):
    assert normalise(typed) == form


def test_normalised_twice_is_normalised_once_for_common_answers():
    for answer in ("yes", "2", "man and woman", "don't know", "usa", "10", "black and white"):
        assert normalise(answer) == answer


def test_answers_that_all_agree_are_compared_as_typed():
    agreed = ["The cat"] * 10
    assert score("cat", agreed) == 0.0
    assert score("The cat\n", agreed) == 1.0
    assert score("cat", agreed, skip_unanimous=False) == 1.0
    assert canonical(agreed) == agreed
    assert canonical(agreed, skip_unanimous=False) == ["cat"] * 10


def test_answers_that_differ_are_normalised_with_the_prediction():
    answers = ["The cat"] * 2 + ["cat"] + ["dog"] * 7
    assert score("a Cat.", answers) == pytest.approx(0.9)
    assert answer_scores(answers) == {"cat": pytest.approx(0.9), "dog": 1.0}


def test_a_set_scores_row_by_row():
    answers = [["yes"] * 10, ["2"] * 2 + ["3"] * 8]
    assert scores(["yes", "two"], answers).tolist() == [1.0, pytest.approx(0.6)]
    with pytest.raises(ValueError, match="longer"):
        scores(["yes"], answers)
