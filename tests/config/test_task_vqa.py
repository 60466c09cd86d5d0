from pathlib import Path

from automm.config import compose, to_settings
from automm.search.strategies.design import first
from automm.space import OneOf


def params(*overrides):
    return dict(to_settings(compose(["+task=vqa", *overrides]), Path.cwd()).space.paths())


def test_the_task_brings_ranges_for_training_from_scratch():
    """Without them a trial may ask for batches of a dozen questions, and take an hour."""
    found = params()
    assert found["training.batch_size"].choices == (320,)
    assert found["training.lr"].low >= 1e-4
    assert found["fusion.options.film.context"].choices == ("attention",)


def test_the_default_tries_every_fusion_and_then_something():
    settings = to_settings(compose(["+task=vqa"]), Path.cwd())
    fusions = settings.space.params["fusion.name"].choices
    spread_out = first(8, settings.search.trials, settings.space)
    assert len(fusions) == 10
    assert spread_out == len(fusions) < settings.search.trials


def test_the_declared_ranges_are_a_word_away():
    assert not isinstance(params("space=declared")["training.batch_size"], OneOf)


def test_a_narrowed_range_may_be_pinned_outside_it():
    assert params("training.batch_size=200")["training.batch_size"].choices == (200,)


def test_one_space_holds_all_there_is_to_decide():
    found = params(
        "space=declared",
        "training=either",
        "encoder.image.name=[convnet,timm]",
        "encoder.text.name=[text_transformer,transformers]",
    )
    searched = {path for path, param in found.items() if not (isinstance(param, OneOf) and len(param.choices) == 1)}
    assert {
        "encoder.image.name", "encoder.text.name", "encoder.image.options.timm.tune",
        "encoder.text.options.transformers.tune", "fusion.name", "fusion.options.film.blocks", "training.solver",
        "training.lr", "training.batch_size", "training.dropout", "training.schedule", "training.optimizer",
    } <= searched  # fmt: skip
