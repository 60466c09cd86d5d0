"""One run's settings, frozen and checked; knows no Hydra. `config.py` makes them for the command line and Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from automm.space import Space
from automm.types import Direction

OnError = Literal["fail", "skip"]


@dataclass(frozen=True)
class ComponentSettings:
    """A component by name, with its options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FieldEncoder:
    """What is searched for a column with a section of its own, as long as only the data knows its modality."""

    spaces: Mapping[str, Space]  # by modality
    refused: Mapping[str, str]  # by modality: why a column of it cannot have the section


@dataclass(frozen=True)
class SearchSettings:
    """How candidates are proposed, judged and stopped."""

    strategy: ComponentSettings
    executor: ComponentSettings
    trials: int  # candidates asked for, the defaults (trial 0) included
    timeout: float | None  # seconds of wall time for the search alone; None = no limit
    min_epochs: int  # the first rung of successive halving
    max_epochs: int  # the last rung; a candidate is compared with others at equal rungs only
    eta: int  # one in `eta` candidates goes on to the next rung, which is `eta` times as long
    max_gflop: float | None  # hard constraint, deterministic: forward GFLOP of one training row; None = no limit
    keep_checkpoints: int  # the best k trials keep theirs once the search ends
    objective: str | None = None  # a validation metric; None = the task's own goal
    ensemble: int = 1  # different models that may be averaged, where that is better than the best alone; 1 = none
    soup: int = 1  # models whose weights may be averaged into one, likewise
    direction: Direction | None = None  # None = which way the metric is better
    climb: float = 0.0  # the share of the budget that goes to the best candidates one step up their ladders
    runoff: int = 0  # trials that are judged again, beside the defaults, where few rows judged them; 0 = none
    margin: float = 0.0  # standard errors of its accuracy by which a candidate must beat the defaults to replace them


@dataclass(frozen=True)
class TrainingSettings:
    """What is the same for every candidate."""

    epochs: int  # the refit's budget, also the horizon of every schedule
    patience: int | None  # epochs without a better validation goal before training stops; None = never
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
    threads: int | None  # torch's intra-op threads; None = one per physical core
    refit_on_valid: bool = False  # whether what is trained to the end learns from the validation rows too


@dataclass(frozen=True)
class BaselineSettings:
    """What is fitted beside the winner. majority always is."""

    unimodal: bool  # each modality alone
    defaults: bool  # the unsearched configuration at the refit's budget
    unimodal_epochs: int


@dataclass(frozen=True)
class ExportSettings:
    """The bundle."""

    enabled: bool
    opset: int
    tolerance: float  # the largest |torch - ONNX Runtime| of a score that passes as the same function, in its scale
    golden: int  # raw rows stored with their expected outputs


@dataclass(frozen=True)
class Settings:
    """Everything a run needs."""

    task: ComponentSettings
    data: ComponentSettings
    space: Space  # what a Candidate decides: encoder.<modality>.*, fusion.*, training.*
    search: SearchSettings
    training: TrainingSettings
    baselines: BaselineSettings
    export: ExportSettings
    seed: int
    run_dir: Path
    cache_dir: Path
    cache_bytes: int  # what features of frozen encoders may take there
    metrics: tuple[str, ...] = ()  # by name, beside the task's own
    debug: bool = False
    fields: Mapping[str, FieldEncoder] = field(default_factory=dict)  # encoder.fields.*, by column, beside the space
    config: Mapping[str, Any] = field(default_factory=dict)  # the composed configuration, as written to config.yaml
    overrides: tuple[str, ...] = ()  # as typed, less what a candidate decides; the two together are its command
