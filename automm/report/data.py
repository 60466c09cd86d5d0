"""What a report is made from: plain data, nothing that trains, searches or reads a run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from automm.types import Goal, Scalar


@dataclass(frozen=True)
class TrialRecord:
    """One trial of the search."""

    number: int
    state: str  # completed, pruned, failed or running
    candidate: Mapping[str, Scalar]
    values: Mapping[str, float] = field(default_factory=dict)  # its last validation metrics
    curve: Sequence[Mapping[str, Any]] = ()  # one {"epoch": int, "values": {metric: value}} an epoch
    reason: str = ""  # why it failed or was pruned
    findings: Sequence[str] = ()  # what the gradient monitor saw, a sentence each


@dataclass(frozen=True)
class GradientRecord:
    """Gradient norms at one moment of the best model's training."""

    step: float  # epochs, fractions allowed
    total: float  # the global norm
    branches: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One row and what the model said of it. Images and audio are as a Predictor takes them; None = missing."""

    images: Mapping[str, np.ndarray | Any]
    texts: Mapping[str, Any]  # every other field
    answer: Any
    prediction: Any
    score: float | None = None  # the prediction's, where it is a share
    right: bool | None = None  # whether the prediction is the answer; None where nearness is what counts
    sounds: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportData:
    """A run's story."""

    result: Mapping[str, Any]  # result.json
    goal: Goal
    trials: Sequence[TrialRecord] = ()
    gradients: Sequence[GradientRecord] = ()
    findings: Sequence[str] = ()  # the gradient monitor's sentences
    samples: Sequence[Sample] = ()
    sampled: str = "test"  # the split they are from
    baseline_notes: Mapping[str, str] = field(default_factory=dict)  # what a baseline is, by name
