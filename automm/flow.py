"""A run, stage by stage: data, search, refit, baselines, test, bundle, report, result. Both faces call this.

Every stage that is over is on disk, so that the same command goes on where a kill left it; what comes out is the same
as if nothing had happened.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from automm.building import build_solver
from automm.ensemble import Ensemble
from automm.errors import ExportError, StudyError
from automm.explain import calibration_of, inputs_relied_on
from automm.export.checkpoint import Trained
from automm.field_encoders import for_schema
from automm.finals import DEFAULTS, SINGLE, WINNER, Finals, keepers
from automm.members import choose
from automm.preflight import placed
from automm.problem import fitted_task, read_splits
from automm.refit import Refit, Refits
from automm.report.console import Progress, print_summary
from automm.report.page import NAME as REPORT
from automm.report.page import write_report
from automm.report.story import answered, story
from automm.result import result_of
from automm.run_dir import RunDir, write_json
from automm.runoff import proven, run_off
from automm.search.loop import SearchResult, check_search, search
from automm.search.selection import Members
from automm.search.study import Event, Study
from automm.settings import Settings
from automm.space import Space
from automm.tasks.judged import Judge, goals_of
from automm.tasks.task import Task
from automm.tasks.unseen import unseen
from automm.training.device import device_model, device_name
from automm.training.folds import FoldedObjective
from automm.training.objective import TrainingObjective, only
from automm.trial import Trial
from automm.types import Goal, Splits, Table
from automm.uncertainty import Judgement

MAJORITY = "majority"
_MEMBERS = "members"  # the stage that says who is averaged
_LARGE = 50_000  # training rows from which on nothing is exported beside workers


@dataclass(frozen=True)
class Result:
    """A finished run."""

    run_dir: Path
    values: Mapping[str, Any]  # what result.json holds


def run(settings: Settings) -> Result:
    """Everything from settings to a result, going on from what `settings.run_dir` already holds.

    Raises:
        AutommError: something the user can mend; what was done so far is kept.
        KeyboardInterrupt: the user stopped it; the same settings go on.
    """
    with Run(settings) as stages:
        return stages.finish()


class Run:
    """The stages of a run. Each is done once, whoever asks for it first; later stages ask for earlier ones.

    Args:
        settings: the run's.
        judge: a function of the caller's that is the objective, under the name and with the direction settings give it.

    Raises:
        StudyError: the run directory is something else, or was begun with other settings.
    """

    def __init__(self, settings: Settings, *, judge: Judge | None = None) -> None:
        self.settings = placed(settings)
        self._judge = judge
        self.dir = RunDir(settings.run_dir)
        self.dir.check(settings.config)
        self._began = time.monotonic()
        self._earlier = self.dir.spent()
        self._study: Study | None = None
        self._concluding = False  # whether the winner is exported as soon as there is one
        self._exported: tuple[str | None, ExportError | None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the study, and write down how long this session took."""
        if self._study is not None:
            self._study.close()
            self._study = None
            self.dir.spend(self.seconds)

    @property
    def seconds(self) -> float:
        """Wall time of this run so far, all sessions."""
        return self._earlier + time.monotonic() - self._began

    @cached_property
    def splits(self) -> Splits:
        """The data; nothing has been written when reading it fails."""
        return read_splits(self.settings)

    @cached_property
    def task(self) -> Task:
        """The task, its labels learnt from the training table, aimed at what settings ask for."""
        return fitted_task(self.settings, self.splits, self._judge)

    @property
    def goal(self) -> Goal:
        """What the search drives at."""
        return self.task.aim

    @cached_property
    def space(self) -> Space:
        """What is searched: the settings' space without the encoders that no input field goes by, and with those of
        fields that have a section of their own.

        Raises:
            ConfigError: such a section is of no field, or does not suit its modality.
        """
        return for_schema(self.settings.space, self.settings.fields, self.splits.train.schema)

    @cached_property
    def progress(self) -> Progress:
        """What the console is told."""
        return Progress(self.goal, trials=self.settings.search.trials)

    @cached_property
    def objective(self) -> TrainingObjective:
        """What builds, fits and evaluates candidates."""
        return TrainingObjective(self.settings, self.splits, self.task, self.dir.checkpoints / "trials")

    @cached_property
    def trials_objective(self) -> TrainingObjective | FoldedObjective:
        """What judges candidates in the search: the objective, or one like it a fold."""
        if self.splits.folds is None:
            return self.objective
        return FoldedObjective(self.settings, self.splits, self.task, self.objective.folder)

    @cached_property
    def study(self) -> Study:
        """The ledger, open for writing; the first thing a run puts on disk."""
        _ = self.space, self.task, device_name(self.settings.training)  # what is wrong shows before there is a trace
        check_search(self.space, self.settings.search, self.settings.seed)
        self.dir.create(self.settings.config)
        self.progress.say(f"run.dir={self.dir.path}: the same command with that goes on where this one is stopped")
        self._study = Study.open(self.dir.study)
        return self._study

    @cached_property
    def searched(self) -> SearchResult:
        """The search.

        Raises:
            KeyboardInterrupt: the user stopped it.
            StudyError: not one trial could be measured.
        """
        study, settings = self.study, self.settings
        self.progress.say(f"search for {self.goal.metric} ({self.goal.direction}), {settings.search.trials} trials")
        found = search(
            self.space,
            self.trials_objective,
            self.goal,
            settings.search,
            study,
            settings.seed,
            self._event,
            horizon=self.refits.horizon,
            may_climb=lambda candidate: build_solver(candidate).TRAINS_ENCODERS,
        )
        if found.stopped_by == "interrupt":
            raise KeyboardInterrupt
        if found.best is None:
            reasons = sorted({trial.reason for trial in found.trials if trial.reason})
            raise StudyError(
                f"none of {len(found.trials)} trials could be measured: {'; '.join(reasons[:3]) or 'no reason given'}. "
                "Next: mend what is named, or widen the space, in a new run.dir."
            )
        found = self._proven(found)
        self._choose_members(found)
        self.objective.keep({trial.number for trial in self._kept(found)})
        if isinstance(self.trials_objective, FoldedObjective):
            self.trials_objective.close()
        return found

    def _proven(self, found: SearchResult) -> SearchResult:
        """With whoever wins when the last candidates are judged by more rows, where few judged them; with the defaults,
        unless they are beaten by more than chance."""
        found = run_off(
            found,
            self.settings,
            self.splits,
            self.task,
            self.goal,
            self.dir,
            trained=self.dir.finished(WINNER) is not None,
            say=self.progress.say,
            on_fit=self._spend,
        )
        if self._judge is not None:
            return found
        rows, margin = len(self.trials_objective.judged), self.settings.search.margin
        return proven(found, self.goal, margin, rows, self.progress.say)

    def _spend(self) -> None:
        """Write down how long this took so far: a kill may come at any time, and the time was spent all the same."""
        self.dir.spend(self.seconds)

    @cached_property
    def members(self) -> Members:
        """Which models of the search are averaged."""
        said = (self.searched and self.dir.finished(_MEMBERS)) or {}
        weights = {int(number): weight for number, weight in said.get("weights", {}).items()}
        more = {key: said[key] for key in ("souped", "temperature") if key in said}
        return Members(weights, said.get("valid", {}), **more)

    def _choose_members(self, found: SearchResult) -> None:
        """Once, while what trials scored is still there."""
        if self.dir.finished(_MEMBERS) is None:
            chosen = choose(
                found,
                self.settings.search,
                self.trials_objective,
                self.task,
                self.goal,
                cost=self.objective.operations,
                folds=self.splits.folds is not None,
            )
            if chosen is not None:
                self.dir.finish(_MEMBERS, asdict(chosen))

    @property
    def best(self) -> Trial:
        """The winner of the search, or who took its place because it could not be trained to the end."""
        return self.finals.best

    @cached_property
    def refits(self) -> Refits:
        """Trains to the end."""
        return Refits(
            self.settings, self.dir, self.splits, self.task, self.objective, self._epoch, on_trained=self._on_trained
        )

    @cached_property
    def finals(self) -> Finals:
        """Who is trained to the end."""
        found, wanted = self.searched, self.settings.baselines.defaults
        return Finals(
            self.refits,
            self.dir,
            found,
            self._kept(found),
            self.members,
            goal=self.goal,
            measure=lambda trained: self.task.measure(self.score(trained, self.splits.valid), self.splits.valid),
            defaults=wanted,
            say=self.progress.say,
        )

    @cached_property
    def trained(self) -> Trained:
        """The winner, trained to the end of its schedule; with the other members where there is an ensemble."""
        return self.finals.alone()

    @cached_property
    def baselines(self) -> dict[str, Trained]:
        """What the winner is compared with, by name; the majority answer needs no model and is left to `tested`.

        The winner is trained beside them, where it has not been.
        """
        wanted, refits = self.settings.baselines, list[Refit]()
        inputs = self.splits.train.schema.inputs
        modalities = list(dict.fromkeys(field.modality for field in inputs))
        alone = wanted.unimodal and len(modalities) > 1 and not self.task.PAIRS  # half of a pair is nothing to learn
        for modality in modalities if alone else ():
            fields = [field for field in inputs if field.modality == modality]
            refits.append(self.refits.unimodal(f"{modality}_only", fields, self.space.defaults()))
        found = self.finals.beside(refits)
        self.__dict__.setdefault("trained", found[WINNER])
        names = SINGLE, *(refit.name for refit in refits), DEFAULTS
        return {name: found[name] for name in names if name in found}

    @property
    def tested(self) -> Mapping[str, Mapping[str, float]]:
        """Test metrics by model, the winner first: the one time the test split is read. Empty without targets."""
        return {} if self._judgement is None else self._judgement.values

    @cached_property
    def _judgement(self) -> Judgement | None:
        """Every model on the test split."""
        test = self.splits.test
        if test is None or all(target is None for target in test.targets):
            return None
        self.progress.say("test, and how sure it is")
        # among fewer rows a pair is found more easily; a function of the caller's may be slow
        sure = not self.task.PAIRS and self._judge is None
        found = Judgement(self.task, test, self.goal if sure else None, self.settings.seed)
        found.add(WINNER, self.test_scores)
        found.add(MAJORITY, self.task.majority(self.splits.train, len(test)))
        for name, trained in self.baselines.items():
            if trained is self.trained:
                found.again(name, WINNER)
            else:
                found.add(name, self.score(trained, test))
        return found

    @cached_property
    def test_scores(self) -> np.ndarray:
        """What the winner scores on the test split, [rows, C]; its answers go to predictions.json."""
        test = self.splits.test
        assert test is not None
        found = self.score(self.trained, test)
        answers = self.task.answers(self.task.predictions(found, test), test)
        write_json(self.dir.path / "predictions.json", answers)
        return found

    @cached_property
    def explained(self) -> dict[str, Any]:
        """Which inputs the winner relies on, and whether its scores can be believed: a part of result.json.

        Read off the rows of the test once that is over, for it chooses nothing; off validation where nothing is tested.
        Empty for a task of pairs, whose answer is nothing without either half.
        """
        if self.task.PAIRS:
            return {}
        self.progress.say("inputs removed and shuffled, scores against shares of right answers")
        split, table, scores_BC = self._shown
        seed, winner = self.settings.seed, self.finals.winner
        inputs = inputs_relied_on(self.trained, self.objective, table, self.goal, split=split, seed=seed)
        fitted_by = "winner" if not winner.on_valid else "trial" if winner.unseeing else None
        fitted_by = "trial" if self.trained.soup else None if self.trained.members else fitted_by  # each has its own
        return {**inputs, "calibration": calibration_of(self.trained, scores_BC, table, fitted_by=fitted_by)}

    @cached_property
    def _shown(self) -> tuple[str, Table, np.ndarray]:
        """The rows that the winner is shown by, what they are called, and what it scores on them."""
        if self.tested:
            assert self.splits.test is not None
            return "test", self.splits.test, self.test_scores
        return "valid", self.splits.valid, self.score(self.trained, self.splits.valid)

    def score(self, trained: Trained, table: Table) -> np.ndarray:
        """What a model scores on a table, float32 [rows, C]."""
        if isinstance(trained.model, Ensemble):
            parts = zip(trained.model.weights, trained.members, strict=True)
            return np.asarray(np.sum([weight * self.score(member, table) for weight, member in parts], 0), np.float32)
        table = only(table, tuple(trained.preprocessors))
        return self.objective.scores(trained.model, trained.candidate, table, trained.preprocessors)

    def export(self, out: Path | None = None, *, timed: bool = True) -> Path:
        """Write the bundle; parity is proved on the way, and its latency measured where it is `timed`.

        Raises:
            ExportError: the graph is not the same function as the model; no bundle is left.
        """
        from automm.export.bundle import write_bundle  # seconds, of which no trial has need

        trained, folder = self.trained, out or self.dir.bundle
        self.progress.say("bundle: exporting, and proving it equal to the model")
        config = self.dir.config.read_text(encoding="utf-8")
        write_bundle(folder, trained, self.settings.export, config_yaml=config, timed=timed)
        return folder

    def finish(self) -> Result:
        """All stages; a run that is over is only shown again."""
        values = self.dir.stored_result() or self._conclude()
        print_summary(values, Goal(**values["goal"]), self._paths(values))
        return Result(self.dir.path, values)

    def _conclude(self) -> dict[str, Any]:
        self._concluding = True
        _ = self.baselines  # first, so that the winner is trained beside them
        _ = self.tested
        if self.splits.test is not None:
            _ = self.test_scores  # a test that keeps its answers to itself is answered all the same
        bundle, failure = self._exported or self._bundle(timed=True)
        if self._exported is not None and bundle is not None:
            self._time_bundle()
        values = self.result(bundle)
        self.report(values)
        values["seconds"]["total"] = round(self.seconds, 2)
        write_json(self.dir.result, values)
        self.dir.log("result", test=values["test"])
        if failure is not None:
            print_summary(values, Goal(**values["goal"]), self._paths(values))
            raise failure
        return values

    def _bundle(self, *, timed: bool) -> tuple[str | None, ExportError | None]:
        """The bundle's folder where one was asked for and could be made, or what kept it from being made."""
        if not self.settings.export.enabled:
            return None, None
        try:
            return self.export(timed=timed).name, None
        except ExportError as error:
            return None, ExportError(f"{error} The run is whole but for its bundle, and kept in {self.dir.path}.")

    def _time_bundle(self) -> None:
        """Measure the latency of the bundle, now that nothing else is running."""
        from automm.export.bundle import write_latency

        write_latency(self.dir.bundle)

    def result(self, bundle: str | None) -> dict[str, Any]:
        """The figures of all stages, as result.json holds them."""
        tested = self.tested
        names = [name for name in (MAJORITY, *self.baselines) if name in tested]
        return result_of(
            self.settings,
            self.goal,
            goals_of(self.task),
            self.splits,
            self.searched,
            self.best,
            valid=self.trained.metrics["valid"],
            test=tested.get(WINNER, {}),
            baselines={name: tested[name] for name in names},
            seconds={
                "search": self.searched.seconds,
                **({"runoff": self.searched.runoff.seconds} if self.searched.runoff is not None else {}),
                "refit": self.refits.seconds(*{WINNER, *self.finals.weights}),
                "baselines": self.refits.seconds(*(n for n, t in self.baselines.items() if t is not self.trained)),
                "total": self.seconds,
            },
            bundle=bundle,
            uncertainty=None if self._judgement is None else self._judgement.uncertainty(),
            explained=self.explained,
            members=self.members if self.trained.members or self.trained.soup else Members(),
            unseen=unseen(self.task, self.splits),
            device=device_model(self.settings.training),
        )

    def report(self, values: Mapping[str, Any]) -> Path:
        """Write report.html."""
        self.progress.say("report")
        _, table, found = self._shown
        return write_report(
            self.dir.path,
            story(
                values,
                self.goal,
                self.searched.trials,
                gradients=self.refits.state_of(WINNER).with_suffix(".json"),
                table=table,
                split="test" if self.tested else "validation",
                answers=answered(self.task, found, table),
            ),
        )

    def _kept(self, found: SearchResult) -> list[Trial]:
        """The trials whose state is kept."""
        averaged = (self.dir.finished(_MEMBERS) or {}).get("weights", {})
        kept = keepers(found, self.goal, self.settings.search.keep_checkpoints)
        return [*kept, *(found.trials[int(n)] for n in averaged if found.trials[int(n)] not in kept)]

    def _event(self, event: Event) -> None:
        self.progress.on_event(event)
        self.dir.log(event.kind, trial=event.trial, **dict(event.data))
        if event.kind in ("report", "tell"):
            self._spend()

    def _epoch(self, name: str, epoch: int, epochs: int, values: Mapping[str, float]) -> None:
        self.progress.epoch(name, epoch, epochs, values)
        self.dir.log("epoch", model=name, epoch=epoch, values=dict(values))
        self._spend()

    def _on_trained(self, name: str) -> None:
        """Export the winner while what it is compared with is still being trained: at the end a core would idle.

        Of a large table a process holds much by then, and tracing a graph takes a gigabyte more.
        """
        alone = len(self.splits.train) > _LARGE
        if name == WINNER and self._concluding and not self.finals.weights and not alone:
            self._exported = self._bundle(timed=False)

    def _paths(self, values: Mapping[str, Any]) -> dict[str, Path]:
        paths = {"report": self.dir.path / REPORT, "result": self.dir.result}
        return paths | ({"bundle": self.dir.path / values["bundle"]} if values["bundle"] else {})
