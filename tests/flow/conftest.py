"""A run small enough for a test, real in every part."""

import json
import signal
import subprocess
import sys
import time
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


def settings_in(folder: Path, *more: str, asked: tuple[str, ...] = SMALL):
    """The settings of a run in `folder`."""
    words = [*asked, f"cache_dir={folder / 'cache'}", f"run.dir={folder / 'run'}", *more]
    return to_settings(compose(words), folder, overrides=list(asked))


def killed_at(folder: Path, marker: str, signal_number: int, *, asked: tuple[str, ...] = SMALL) -> None:
    """Start the command of that run, and end it at the first line of its log that holds `marker`."""
    words = [*asked, f"cache_dir={folder / 'cache'}", f"run.dir={folder / 'run'}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "automm", *words],
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    log = folder / "run" / "log.jsonl"
    deadline = time.monotonic() + 120
    try:
        while time.monotonic() < deadline and process.poll() is None:
            if log.exists() and marker in log.read_text():
                process.send_signal(signal_number)
                break
            time.sleep(0.005)
        process.wait(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0


def stored(run_dir: Path) -> dict:
    """What result.json holds."""
    return json.loads((run_dir / "result.json").read_text())


def without_times(values: dict) -> dict:
    """A result without what the clock says."""
    return {key: value for key, value in values.items() if key != "seconds"}


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Result:
    return run(settings_in(tmp_path_factory.mktemp("finished")))
