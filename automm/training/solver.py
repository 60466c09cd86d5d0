"""What a solver is: how a candidate is fitted.

Shape legend: B rows, C outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from automm.fusions.fusion import Fusion
from automm.space import Candidate, Space
from automm.tasks.task import Task
from automm.trial import Report
from automm.types import FeatureSpec

if TYPE_CHECKING:
    from automm.training.fit import FitJob, FitResult


class Solver:
    """Base of every solver. Keyword options are its configuration schema, under `training.` in a candidate."""

    API: ClassVar[int] = 1
    SPACE: ClassVar[Space] = Space()
    TRAINS_ENCODERS: ClassVar[bool] = True  # else it makes no difference how far they are unfrozen
    FUSIONS: ClassVar[tuple[str, ...] | None] = None  # the names of those it goes with; None = any

    def refuses(self, candidate: Candidate) -> str | None:
        """Why this solver cannot fit a candidate, in a sentence; None when it can."""
        return None

    def fusion(self, built: Fusion, specs: Sequence[FeatureSpec]) -> Fusion:
        """The fusion to use; a solver that cannot train one may put its own in the place of the one `built`."""
        return built

    def head(self, task: Task, width: int) -> nn.Module:
        """The head of one stream, [B, width] -> logits [B, C].

        A checkpoint is loaded into it: its shapes are final, or it is `checkpoint.Resizable`.
        """
        raise NotImplementedError(f"{type(self).__name__} makes no head")

    def fit(self, job: FitJob, report: Report) -> FitResult:
        """Fit `job.model` in place, from `job.start_epoch` to `job.stop_epoch`; `report` after every epoch.

        Raises:
            TrialFailed: this candidate cannot go on.
            StudyError: the checkpoint to continue from is missing, damaged or of another epoch.
        """
        raise NotImplementedError(f"{type(self).__name__} fits nothing")
