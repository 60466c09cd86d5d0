"""A plugin that is installed while a run is stopped changes nothing of that run, and is there for the next one."""

import importlib
import random
import sys

import pytest
from strangers import lay_down

from automm import registry
from automm.config import compose, to_settings
from automm.flow import Run
from automm.training.objective import TrainingObjective

WIDER = '''
from automm.fusions.concat import Concat


class Wider(Concat):
    """A concatenation by another name."""
'''


@pytest.fixture
def table(tmp_path):
    """90 rows, a text and a number each."""
    draw = random.Random(0)
    lines = ["said,size,kind"]
    for row in range(90):
        kind = ("bird", "fish", "tree")[row % 3]
        said = f"{draw.choice([kind, 'thing'])} {draw.randrange(99)} number {row}"
        lines.append(f"{said},{draw.gauss(len(kind), 2)},{kind}")
    path = tmp_path / "things.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution that ships a fusion."""
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    (tmp_path / "site").mkdir()
    registry.get.cache_clear()

    def install():
        entry = "[automm.fusion]\nwider = stranger_wide.part:Wider\n"
        files = {"stranger_wide/__init__.py": "", "stranger_wide/part.py": WIDER}
        lay_down(tmp_path / "site", "stranger_wide", entry, files)
        importlib.invalidate_caches()  # as a new process would begin without

    yield install
    registry.get.cache_clear()
    for module in [name for name in sys.modules if name.startswith("stranger")]:
        del sys.modules[module]


def started(table, name, *more):
    asked = [
        "+task=classification",
        f"data.train={table}",
        "data.target=kind",
        "data.folds=1",
        "data.columns.said=text",
        "encoder.text.name=ngrams",
        "training=gradient",
        "search.trials=4",
        "search.min_epochs=1",
        "search.max_epochs=1",
        "search.runoff=0",
        "training.epochs=1",
        "executor=in_process",
        "baselines.unimodal=false",
        "export.enabled=false",
        f"run.dir={table.parent / name}",
        f"cache_dir={table.parent / 'cache'}",
        *more,
    ]
    return Run(to_settings(compose(asked), table.parent, overrides=asked))


def trials(stages):
    return [(each.candidate, each.values) for each in stages.searched.trials]


def test_a_stopped_run_goes_on_as_if_nobody_had_installed_it(table, install, monkeypatch):
    with started(table, "at_once") as stages:
        expected = trials(stages)
    begun, run = [], TrainingObjective.run

    def stopping(self, job, report):
        begun.append(job.trial)
        if job.trial == 2:
            raise KeyboardInterrupt
        return run(self, job, report)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingObjective, "run", stopping)
        with pytest.raises(KeyboardInterrupt), started(table, "stopped") as stages:
            _ = stages.searched
    assert begun == [0, 1, 2]
    assert "wider" not in registry.names("fusion")
    install()
    assert "wider" in registry.names("fusion")
    with started(table, "stopped") as stages:
        assert trials(stages) == expected
    with started(table, "next", "fusion.name=wider", "search.trials=1") as stages:
        (only,) = stages.searched.trials
        assert (only.candidate["fusion.name"], only.state) == ("wider", "completed")
