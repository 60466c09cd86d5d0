"""What a training loop does to its batches and its loss beside what the task asks for. Nothing, by default."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from automm.errors import OutOfRange, TrialFailed
from automm.tasks.task import Task
from automm.tasks.weighing import Weighing, balanced
from automm.training.augment import AUGMENTS, Augment
from automm.types import Table

ClassWeights = Literal["none", "balanced"]
CLASS_WEIGHTS: tuple[ClassWeights, ...] = get_args(ClassWeights)


@dataclass(frozen=True)
class Recipe:
    """Options of the gradient solver, which says what they mean.

    Raises:
        OutOfRange: an option that cannot be.
    """

    class_weights: ClassWeights = "none"
    focal_gamma: float = 0.0
    mixup: float = 0.0
    modality_dropout: float = 0.0
    augment: Augment = "none"
    views: int = 0

    def __post_init__(self) -> None:
        if self.class_weights not in CLASS_WEIGHTS:
            raise OutOfRange(f"training.class_weights={self.class_weights} is not one of {', '.join(CLASS_WEIGHTS)}.")
        for option, value in (("focal_gamma", self.focal_gamma), ("mixup", self.mixup)):
            if not 0 <= value < math.inf:
                raise OutOfRange(f"training.{option}={value} must be 0, which is none of it, or more.")
        if self.augment not in AUGMENTS:
            raise OutOfRange(f"training.augment={self.augment} is not one of {', '.join(AUGMENTS)}.")
        if self.views < 0:
            raise OutOfRange(f"training.views={self.views} must be 0, which is another view in every epoch, or more.")
        if not 0 <= self.modality_dropout < 1:
            raise OutOfRange(f"training.modality_dropout={self.modality_dropout} is a probability, 0 or more, below 1.")

    @property
    def weighs(self) -> bool:
        """Whether terms of the loss are weighed."""
        return self.class_weights != "none" or self.focal_gamma > 0

    def check(self, task: Task) -> None:
        """Raise TrialFailed where the task's loss cannot be weighed as asked."""
        if self.weighs and not task.weighs:
            asked = "focal_gamma" if self.class_weights == "none" else "class_weights"
            raise TrialFailed(f"training.{asked} weighs classes, and the loss of {type(task).__name__} has none")

    def weighing(self, task: Task, train: Table, device: torch.device) -> Weighing | None:
        """How the terms of the loss are weighed; None leaves the loss as the task has it."""
        if not self.weighs:
            return None
        if self.class_weights == "none":
            return Weighing(focal_gamma=self.focal_gamma)
        weight_C = torch.from_numpy(balanced(task.majority(train, 1)[0]))
        return Weighing(weight_C.to(device), self.focal_gamma)
