"""A run small enough for a test, real in every part."""

from pathlib import Path

import pytest

from automm.config import compose, to_settings
from automm.flow import Result, run

SMALL = (
    "+task=vqa",
    "data.train_images=40",
    "data.valid_images=12",
    "data.test_images=12",
    "fusion.name=[concat,cross_attention]",
    "fusion.options.cross_attention.readers=summary",
    "encoder.image.options.convnet.width=48",
    "training.optimizer=adamw",
    "training.batch_size=200",
    "training.epochs=4",
    "executor=in_process",
    "search.trials=3",
    "search.min_epochs=1",
    "search.max_epochs=2",
    "search.eta=2",
    "search.timeout=null",
    "baselines.unimodal_epochs=1",
)


def settings_in(folder: Path, *more: str):
    asked = [*SMALL, f"cache_dir={folder / 'cache'}", f"run.dir={folder / 'run'}", *more]
    return to_settings(compose(asked), folder, overrides=list(SMALL))


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Result:
    return run(settings_in(tmp_path_factory.mktemp("finished")))
