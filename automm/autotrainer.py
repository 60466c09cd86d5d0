"""`AutoTrainer`: the Python face of the same flow and the same run directory as the command line."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from automm import registry
from automm.config import compose, to_settings
from automm.data.targets import likely_target, suited_task
from automm.errors import ConfigError, DataError, near_miss
from automm.flow import Result, Run
from automm.settings import ComponentSettings, Settings
from automm.space import Candidate, Space, literal
from automm.tasks.judged import Judge
from automm.types import Direction

log = logging.getLogger("automm")


_EMBEDDED_TASK = {"sort_of_clevr": "vqa", "vqa_v2": "vqa", "coco_captions": "retrieval", "karpathy": "retrieval"}


class AutoTrainer:
    """Searches, trains, evaluates and exports a model for a data set.

    Args:
        dataset: an installed data source by name (`sort_of_clevr`), the path of a table (csv, parquet, JSON lines)
            or of a folder that Hugging Face's `datasets` reads, or a data set of its hub (`owner/name`).
        task: `vqa`, `classification`, `regression`, `multilabel`, `retrieval` or a plugin's; None infers it from the
            data set (a table's by its target: lists are several labels, numbers with fractions or many values a
            regression), and logs why.
        model_name: a text model (a Hugging Face id or a local folder) to use instead of the preset's text encoders; for
            tables as `encoder.text.weights` of the command line.
        target: the column to predict; None infers it for a table (a column named target, label or answer, else the
            last one), and logs why. A task of pairs has none.
        search_space: what to pin or narrow, as on the command line: `{"fusion.name": ["concat", "film"],
            "training.lr": [1e-4, 1e-2], "training.batch_size": 320}`.
        max_trials: candidates that are asked for; None = the preset's.
        preset: of the budget: `default`, `quick`, `thorough` or `table`; None = the task's own, `table` for tables.
        run_dir: None = a new folder under `outputs/`; one that holds a run is resumed.
        seed: of everything.
        overrides: further overrides, as on the command line.

    Raises:
        ConfigError: a name, a key or a value that cannot be; nothing has been done yet.
        DataError: the data set is not there.
    """

    def __init__(
        self,
        dataset: str | Path,
        task: str | None = None,
        model_name: str | None = None,
        target: str | None = None,
        search_space: Mapping[str, Any] | None = None,
        max_trials: int | None = None,
        *,
        preset: str | None = None,
        run_dir: str | Path | None = None,
        seed: int = 0,
        overrides: Iterable[str] = (),
    ) -> None:
        asked = [f"seed={seed}", *_data_overrides(dataset, task, target, preset)]
        if model_name is not None:
            asked += _text_model(model_name, asked)
        asked += [f"{path}={literal(value)}" for path, value in (search_space or {}).items()]
        if max_trials is not None:
            asked.append(f"search.trials={max_trials}")
        asked += list(overrides)
        if run_dir is not None:
            asked.append(f"run.dir={literal(str(run_dir))}")
        self.settings: Settings = to_settings(compose(asked), Path.cwd(), overrides=asked)
        self._run: Run | None = None
        self._preview: Run | None = None  # has read the data and done nothing else, so that settings may still change
        self._judge: Judge | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the study, so that another process may go on with it."""
        if self._run is not None:
            self._run.close()

    @property
    def run_dir(self) -> Path:
        """Where everything is kept."""
        return self.settings.run_dir

    @property
    def space(self) -> Space:
        """What is searched: the settings' space for the modalities that the data has. Reads the data."""
        return self._looked.space

    def hyperopt(
        self, objective: str | Judge | None = None, direction: Direction | None = None, timeout: float | None = None
    ) -> Candidate:
        """Search, and return the best configuration: configuration paths and their values.

        Args:
            objective: a validation metric (`accuracy`, `accuracy/relational`, `loss` = plain negative log-likelihood
                whatever a candidate trains with; `f1` or any other that `automm plugins metric` lists for the task), or
                a function of targets and predictions; None = the task's goal.
            direction: `maximize` or `minimize`; None = which way the metric is better. A function needs one.
            timeout: seconds of wall time for the search, without what comes after it; None = the preset's.

        Raises:
            ConfigError: a function without a direction, a metric that the task cannot be measured by, or a search that
                has begun with another objective.
            KeyboardInterrupt: it was stopped; calling again goes on.
        """
        if callable(objective):
            if direction is None:
                raise ConfigError(
                    "an objective of your own needs a direction. Next: direction='maximize' or 'minimize'."
                )
            self._judge, objective = objective, getattr(objective, "__name__", "objective")
        said = {"objective": objective, "direction": direction, "timeout": None if timeout is None else float(timeout)}
        said = {key: value for key, value in said.items() if value is not None}
        changed = _with_search(self.settings, said, spoken=self._judge is None)  # a function has no command
        if changed.search != self.settings.search:
            if self._run is not None:
                raise ConfigError("the search has begun with another objective. Next: a new AutoTrainer.")
            self.settings = changed
        return dict(self._stages.best.candidate)

    def fit(self, config: Mapping[str, Any] | None = None) -> Self:
        """Train the best configuration (searched for if need be), or `config`, to the end of its schedule.

        Args:
            config: configuration paths and their values, as `hyperopt` returns them; None = search.

        Raises:
            ConfigError: `config` is not a point of the space, or a search has begun.
        """
        if config is not None:
            self._pin(config)
        _ = self._stages.trained
        return self

    def evaluate(self, split: str = "test") -> dict[str, float]:
        """Metrics of the trained model on `valid` or `test`.

        Raises:
            ConfigError: no such split.
            DataError: the data has no test split, or one without targets.
        """
        stages = self._stages
        if split == "valid":
            return dict(stages.trained.metrics["valid"])
        if split != "test":
            raise ConfigError(f"no split {split!r} to evaluate on. {near_miss(split, ('valid', 'test'))}")
        test = stages.splits.test
        if test is None or all(target is None for target in test.targets):
            raise DataError("the data has no test split with targets. Next: name one (data.test=...), or use 'valid'.")
        return stages.task.measure(stages.test_scores, test)

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Answers for raw rows (`{"image": path | bytes | PIL, "question": "..."}`), from the exported bundle."""
        from automm.runtime import Predictor

        bundle = self.run_dir / "bundle"
        if not (bundle / "manifest.json").is_file():
            self.export()
        return [each["answer"] for each in Predictor.open(bundle).predict(rows)]

    def export(self, out: str | Path | None = None) -> Path:
        """Write the ONNX bundle, parity proved, and return its folder."""
        return self._stages.export(None if out is None else Path(out))

    def report(self) -> Path:
        """Finish the run as the command does (baselines, test, bundle, result.json) and return the report's path."""
        return self.finish().run_dir / "report.html"

    def finish(self) -> Result:
        """All stages, as the command line runs them."""
        return self._stages.finish()

    @property
    def _stages(self) -> Run:
        if self._run is None:
            if self._judge is not None:  # a function of the caller's cannot be handed to another process
                search = replace(self.settings.search, executor=ComponentSettings("in_process"))
                self.settings = replace(self.settings, search=search)
            self._run = Run(self.settings, judge=self._judge)
            if self._preview is not None:
                self._run.splits = self._preview.splits  # read once
        return self._run

    @property
    def _looked(self) -> Run:
        """Stages for what only the data can tell."""
        if self._run is not None:
            return self._run
        if self._preview is None:
            self._preview = Run(self.settings)
        return self._preview

    def _pin(self, config: Mapping[str, Any]) -> None:
        if self._run is not None:
            if dict(config) == self._run.best.candidate:
                return
            raise ConfigError("a search has begun, and its best is another configuration. Next: a new AutoTrainer.")
        space = self.space
        space.check(config)
        for path, value in config.items():
            space = space.narrow(path, [value] if value is None else value)
        changed = _with_search(self.settings, {"trials": 1, "max_epochs": self.settings.search.min_epochs})
        self.settings = replace(changed, space=space, fields={})  # the space has them by now


def _with_search(settings: Settings, said: Mapping[str, Any], *, spoken: bool = True) -> Settings:
    """Settings whose search is as said, written down as if it had been said at first; `spoken` on the command line."""
    config = {**settings.config, "search": {**settings.config["search"], **said}}
    overrides = [f"search.{key}={literal(value)}" for key, value in said.items() if spoken]
    return replace(
        settings,
        search=replace(settings.search, **said),
        config=config,
        overrides=(*settings.overrides, *overrides),
    )


def _data_overrides(dataset: str | Path, task: str | None, target: str | None, preset: str | None) -> list[str]:
    name, budget = str(dataset), [] if preset is None else [f"search={preset}"]
    path = Path(name).expanduser()
    source = name if name in registry.names("data") else "table"
    if source == "table" and not path.exists() and not _on_hub(name):
        raise DataError(
            f"no data set {name!r}: it is no installed source and no file here. "
            f"{near_miss(name, registry.names('data'))} Next: one of these names, or the path of a table."
        )
    if source != "table":
        if task is None:
            task = _EMBEDDED_TASK.get(source, "classification")
            log.info("task: %s, because that is what %s is for", task, source)
        return [f"+task={task}", *budget, f"data={source}"]
    pairs = task is not None and registry.get("task", task).factory.PAIRS
    if task is None or (target is None and not pairs):
        from automm.data.places import need_table, read_place

        cells = read_place(need_table(name, "dataset"), "train")["train"]
        target = target or _target_of(list(cells))
        if task is None and target in cells:
            task = _task_of(target, cells[target])
    keys = [f"data.train={literal(str(path))}", f"data.target={literal(target)}"]
    return [f"+task={task or 'classification'}", *budget, f"data={source}", *keys]


def _on_hub(name: str) -> bool:
    """Whether it may be a data set of the hub."""
    registry.get("data", "table")  # which says what to install where that is missing
    from automm.data.places import is_hub_id

    return is_hub_id(name)


def _target_of(names: Sequence[str]) -> str:
    """The column to predict: one that is called so, else the last."""
    chosen, called = likely_target(names)
    log.info("target: %s, %s", chosen, "by its name" if called else "the last column; say target= if it is another")
    return chosen


def _task_of(target: str, cells: Sequence[Any]) -> str:
    """The task that suits a table's target."""
    task, why = suited_task(cells)
    log.info("task: %s, because %s holds %s; say task= if it is another", task, target, why)
    return task


def _text_model(model_name: str, asked: Sequence[str]) -> list[str]:
    """What makes a model, a folder that exists or else a Hugging Face id, the one that reads texts."""
    folder = Path(model_name).expanduser()
    weights = f"local-dir:{folder.resolve()}" if folder.is_dir() else f"hf-hub:{model_name}"
    takes_weights = compose(asked).encoder.text.name == "auto"
    return [*([] if takes_weights else ["encoder/text=transformers"]), f"encoder.text.weights={literal(weights)}"]
