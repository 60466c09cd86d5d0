"""The default executor under a whole run: what is killed goes on to the same numbers."""

import shutil
import signal

from automm.flow import run

from .conftest import killed_at, settings_in, stored, without_times

ASKED = (
    "+task=vqa",
    "data.train_images=40",
    "data.valid_images=12",
    "data.test_images=12",
    "fusion.name=[concat,gated]",
    "encoder.image.options.convnet.width=48",
    "training.batch_size=200",
    "training.epochs=2",
    "executor.slots=2",
    "search.trials=3",
    "search.min_epochs=1",
    "search.max_epochs=1",
    "search.timeout=null",
    "baselines.unimodal=false",
    "baselines.defaults=false",
    "export.enabled=false",
)


def test_a_run_over_processes_that_was_killed_goes_on_to_the_same_numbers(finished, tmp_path):
    for name in ("whole", "cut"):  # the same images as the finished run has
        shutil.copytree(finished.run_dir.parent / "cache", tmp_path / name / "cache")
    whole = settings_in(tmp_path / "whole", asked=ASKED)
    assert whole.search.executor.name == "processes"
    run(whole)
    killed_at(tmp_path / "cut", '"event": "tell"', signal.SIGKILL, asked=ASKED)
    assert not (tmp_path / "cut" / "run" / "result.json").exists()
    run(settings_in(tmp_path / "cut", asked=ASKED))
    expected = without_times(stored(tmp_path / "whole" / "run"))
    assert without_times(stored(tmp_path / "cut" / "run")) == expected
    assert expected["trials"]["total"] == expected["trials"]["completed"] == 3
