"""The VQA accuracy: how far a predicted answer agrees with what people answered (Antol et al. 2015, Goyal et al. 2017).

Each of the ten people is left out in turn; the prediction is worth min(1, matches among the other nine / 3); the score
is the mean over the ten. With n matches that mean is exactly min(1, 0.3 n). Answers are compared after the official
normalisation, slips included, because published numbers were made with them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")  # a period that no digit follows; "3." loses its own, ".5" and "2.5" do not
_PERIODS_REMOVED = 32  # the official code passes a flag where the count goes, and so stops after 32

_ARTICLES = frozenset(("a", "an", "the"))
_NUMBER_WORDS = "zero one two three four five six seven eight nine ten"
_NUMBERS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS.split())} | {"none": "0"}

# Each is also recognised with any one of its apostrophes left out ("couldnt've", "couldn'tve").
_CONTRACTIONS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's
how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't mightn't've must've mustn't needn't not've o'clock
oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's
where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've
y'all y'all'd've y'all'll you'd you'd've you'll you're you've
"""


def _spellings(word: str) -> list[str]:
    return [word[:at] + word[at + 1 :] for at, letter in enumerate(word) if letter == "'"]


_CONTRACTED = {spelling: word for word in _CONTRACTIONS.split() for spelling in _spellings(word)}
_CONTRACTED["somebody'd"] = "somebodyd"  # the official table has this one the wrong way round


@lru_cache(maxsize=1 << 18)
def normalise(answer: str) -> str:
    """The official canonical form: punctuation, case, number words, articles, contractions."""
    kept = [_NUMBERS.get(word, word) for word in _strip_punctuation(_one_line(answer)).lower().split()]
    return " ".join(_CONTRACTED.get(word, word) for word in kept if word not in _ARTICLES)


def agreement(matches: int, people: int = 10) -> float:
    """The leave-one-out mean for a prediction that `matches` of `people` gave; min(1, 0.3 matches) for ten."""
    if people < 2:
        return float(matches)  # nobody is left to compare with: agree with the one, or not
    thirds = matches * min(3, matches - 1) + (people - matches) * min(3, matches)
    return thirds / (3 * people)


def canonical(answers: Sequence[str], *, skip_unanimous: bool = True) -> list[str]:
    """The answers as a prediction is compared with them.

    With `skip_unanimous`, the official behaviour, answers that all agree are left as they were typed, and so must the
    prediction be.
    """
    typed = [_one_line(answer) for answer in answers]
    return typed if skip_unanimous and len(set(typed)) == 1 else [normalise(answer) for answer in typed]


def answer_scores(answers: Sequence[str], *, skip_unanimous: bool = True) -> dict[str, float]:
    """Every answer that scores above 0 for this question and what it scores; the soft target of training."""
    forms = canonical(answers, skip_unanimous=skip_unanimous)
    return {form: agreement(count, len(forms)) for form, count in Counter(forms).items()}


def score(prediction: str, answers: Sequence[str], *, skip_unanimous: bool = True) -> float:
    """The VQA accuracy of one prediction, in [0, 1]."""
    typed = _one_line(prediction)
    unanimous = len({_one_line(answer) for answer in answers}) == 1
    form = typed if skip_unanimous and unanimous else normalise(typed)
    return answer_scores(answers, skip_unanimous=skip_unanimous).get(form, 0.0)


def scores(predictions: Sequence[str], answers: Sequence[Sequence[str]], *, skip_unanimous: bool = True) -> np.ndarray:
    """`score` of every row, float64 [rows]; the accuracy of a set is their mean."""
    rows = zip(predictions, answers, strict=True)
    return np.array([score(p, a, skip_unanimous=skip_unanimous) for p, a in rows], np.float64)


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def _strip_punctuation(text: str) -> str:
    """Marks vanish beside a space, or anywhere once a number holds a comma; elsewhere they become spaces."""
    number = _COMMA_IN_NUMBER.search(text) is not None
    out = text
    for mark in _PUNCTUATION:
        vanishes = number or f"{mark} " in text or f" {mark}" in text
        out = out.replace(mark, "" if vanishes else " ")
    return _PERIOD.sub("", out, count=_PERIODS_REMOVED)
