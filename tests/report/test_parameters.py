import math

import numpy as np

from automm.report.data import TrialRecord
from automm.report.metrics import signature
from automm.report.parameters import axes, importance, short_names


def trial(number, candidate, *values):
    curve = [{"epoch": at + 1, "values": {"accuracy": value}} for at, value in enumerate(values)]
    return TrialRecord(number, "completed", candidate, curve[-1]["values"] if curve else {}, curve)


def test_names_are_short_but_tell_apart():
    paths = [
        "training.lr",
        "fusion.name",
        "fusion.options.film.blocks",
        "fusion.options.relation.blocks",
        "encoder.text.name",
    ]
    assert list(short_names(paths).values()) == ["lr", "fusion.name", "film.blocks", "relation.blocks", "text.name"]


def test_names_of_columns_are_read_whole():
    paths = ['encoder.fields."a.width".options.ngrams.width', "encoder.fields.b.options.ngrams.width", "fusion.width"]
    names = ['"a.width".options.ngrams.width', "b.options.ngrams.width", "fusion.width"]
    assert list(short_names(paths).values()) == names


def test_a_signature_says_which_column_has_an_encoder_of_its_own():
    candidate = {"encoder.text.name": "transformers", 'encoder.fields."a b".name': "ngrams", "fusion.name": "concat"}
    assert signature(candidate) == "transformers + ngrams (a b) → concat"


def test_wide_ranges_are_drawn_on_a_log_scale():
    (axis,) = axes([trial(0, {"lr": 1e-4}), trial(1, {"lr": 1e-2}), trial(2, {"lr": 1e-3})])
    np.testing.assert_allclose(axis.values, [-4, -2, -3])
    assert axis.texts == ("0.0001", "0.01")  # fractions are marked at the ends alone


def test_an_inactive_parameter_sits_below():
    trials = [trial(0, {"f": "a"}), trial(1, {"f": "b", "n": 1}), trial(2, {"f": "b", "n": 3})]
    f, n = axes(trials)
    assert f.texts == ("a", "b")
    assert n.values[0] < n.values[1] < n.values[2]
    assert n.texts == ("–", "1", "3")


def test_values_of_mixed_kinds_are_named():
    (axis,) = axes([trial(0, {"p": None}), trial(1, {"p": True}), trial(2, {"p": 3})])
    assert sorted(axis.texts) == ["3", "null", "true"]


def test_what_never_varies_has_no_axis():
    assert axes([trial(0, {"a": 1}), trial(1, {"a": 1})]) == []


def test_importance_compares_at_the_epoch_all_reached():
    rng = np.random.default_rng(0)
    trials = []
    for at in range(30):
        x, noise = float(rng.uniform()), float(rng.uniform())
        later = [0.9] if at % 3 == 0 else []  # what some reached at a later epoch must not count
        trials.append(trial(at, {"x": x, "noise": noise}, x, *later))
    found = importance(trials, "accuracy")
    assert found.epoch == 1
    assert found.trials == 30
    assert next(iter(found.shares)) == "x"
    assert found.shares["x"] > 0.9
    assert math.isclose(sum(found.shares.values()), 1)
    assert found.explained > 0.7


def test_importance_is_not_guessed_from_few_trials():
    assert importance([trial(at, {"x": float(at)}, at / 10) for at in range(7)], "accuracy") is None
    assert importance([trial(at, {"x": float(at)}, 0.5) for at in range(20)], "accuracy") is None
    assert importance([trial(at, {"x": float(at)}, math.nan) for at in range(20)], "accuracy") is None
