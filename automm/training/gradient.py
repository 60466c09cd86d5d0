"""The gradient solver: what it can be told. `loop.py` does it."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from automm.errors import OutOfRange
from automm.space import Float, Int, OneOf, Space
from automm.tasks.task import Task
from automm.training.augment import Augment
from automm.training.fit import FitJob, FitResult
from automm.training.loop import fit
from automm.training.recipe import Recipe
from automm.training.schedule import SCHEDULES, Schedule
from automm.training.solver import Solver
from automm.trial import Report


class Gradient(Solver):
    """Stochastic gradient descent on whatever the encoders' tuning mode leaves trainable.

    Args:
        lr: the peak learning rate of AdamW.
        weight_decay: decoupled, of matrices and filters, not of biases and norms.
        batch_size: rows a step; the rows of one costly item stay together.
        optimizer: `adamw`, or `muon` for the matrices of hidden linear layers beside AdamW for the rest.
        muon_lr: the peak learning rate of Muon, relative to the scale of a weight matrix.
        schedule: `one_cycle`, `cosine` or `wsd`; see `schedule.py`.
        warmup: the share of the horizon in which the learning rate rises.
        decay: the share of the horizon in which `wsd` falls.
        hidden: units of the head's hidden layer; 0 is a linear head.
        dropout: in the head.
        label_smoothing: of the training loss alone.
        ema: decay of an average of the weights, which is what is evaluated and kept; 0 keeps the weights themselves.
        grad_clip: the largest norm of the whole gradient; None does not clip.
        micro_batch: rows that pass through the model at a time, their gradients making up the batch's; of pairs always
            all. Mixup mixes, and a BatchNorm sees, one pass. None = 32 items where encoders from weights are trained,
            for their layers take much memory an item, else all.
        accumulate: batches whose gradients are averaged into one step.
        encoder_lr: a factor on the learning rate of the encoders; None is 0.05 for those from weights, which it spares,
            and 1 for others.
        beta2: of AdamW.
        class_weights: `balanced` lets every class count the same in the training loss, however rare (King & Zeng 2001);
            with several labels a row, every label's presence.
        focal_gamma: what is known well already counts less in the training loss, (1 - p)^focal_gamma times (Lin et al.
            2017, arXiv:1708.02002); 0 is the plain loss, 2 the paper's.
        mixup: rows are mixed in pairs where the heads read them, and so are their losses, by a share drawn from
            Beta(mixup, mixup) a batch (Zhang et al. 2018, arXiv:1710.09412; Verma et al. 2019, arXiv:1806.05236); 0
            mixes nothing.
        modality_dropout: the probability with which a training row loses a field, never its last, so that the model
            learns to do without any of them (Neverova et al. 2016, arXiv:1501.00102).
        augment: what happens to training images at random, anew in every epoch: `crop` (60 % of the area or more),
            `crop_flip` (also mirrored), `trivial` (TrivialAugment, Müller & Hutter 2021, arXiv:2103.10158). Features of
            such images cannot be kept: every epoch runs the image encoder, frozen or not, and the trial takes as long.
        views: where `augment` is on and the encoder frozen, how many such pictures are made of each image for good, so
            that their features are kept and epochs see them in turn: the encoder runs so many times for all trials
            together. 0 makes new ones in every epoch.
    """

    SPACE: ClassVar[Space] = Space(
        {
            "lr": Float(1e-5, 1e-1, log=True, default=1e-3),
            "weight_decay": Float(1e-6, 1.0, log=True, default=0.01),
            "batch_size": Int(1, 16384, log=True, default=256),
            "optimizer": OneOf(
                ("adamw", "muon"),
                default="adamw",
                children={"muon": Space({"muon_lr": Float(1e-4, 1e-1, log=True, default=0.01)})},
            ),
            "schedule": OneOf(SCHEDULES, default="one_cycle"),
            "warmup": Float(0.0, 0.5, default=0.1),
            "hidden": OneOf((0, 64, 128, 256, 512, 1024), ordered=True, default=128),
            "dropout": Float(0.0, 0.7, default=0.0),
            "label_smoothing": Float(0.0, 0.3, default=0.0),
            "ema": OneOf((0.0, 0.9, 0.99, 0.995, 0.999, 0.9999), ordered=True, default=0.0),
        }
    )

    def __init__(
        self,
        *,
        lr: float = 1e-3,
        weight_decay: float = 0.01,
        batch_size: int = 256,
        optimizer: Literal["adamw", "muon"] = "adamw",
        muon_lr: float = 0.01,
        schedule: Schedule = "one_cycle",
        warmup: float = 0.1,
        decay: float = 0.3,
        hidden: int = 128,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        ema: float = 0.0,
        grad_clip: float | None = 1.0,
        micro_batch: int | None = None,
        accumulate: int = 1,
        encoder_lr: float | None = None,
        beta2: float = 0.99,
        class_weights: Literal["none", "balanced"] = "none",
        focal_gamma: float = 0.0,
        mixup: float = 0.0,
        modality_dropout: float = 0.0,
        augment: Augment = "none",
        views: int = 0,
    ) -> None:
        if optimizer not in ("adamw", "muon"):
            raise OutOfRange(f"training.optimizer={optimizer} is not one of adamw, muon.")
        if schedule not in SCHEDULES:
            raise OutOfRange(f"training.schedule={schedule} is not one of {', '.join(SCHEDULES)}.")
        if batch_size < 1 or accumulate < 1:
            raise OutOfRange(
                f"training.batch_size={batch_size} and training.accumulate={accumulate} must be 1 or more."
            )
        for option, value, legal, range_ in (
            ("grad_clip", grad_clip, grad_clip is None or grad_clip > 0, "above 0, or null"),
            ("micro_batch", micro_batch, micro_batch is None or micro_batch >= 1, "1 or more, or null"),
            ("decay", decay, 0 <= decay <= 1, "a share, from 0 to 1"),
            ("encoder_lr", encoder_lr, encoder_lr is None or encoder_lr >= 0, "0 or more, or null"),
            ("beta2", beta2, 0 <= beta2 < 1, "from 0 to below 1"),
        ):
            if not legal:
                raise OutOfRange(f"training.{option}={value} is not allowed: {range_}.")
        self.lr, self.weight_decay, self.beta2, self.encoder_lr = lr, weight_decay, beta2, encoder_lr
        self.batch_size, self.micro_batch, self.accumulate = batch_size, micro_batch, accumulate
        self.optimizer, self.muon_lr = optimizer, muon_lr
        self.schedule: Schedule = schedule
        self.warmup, self.decay = warmup, decay
        self.hidden, self.dropout, self.label_smoothing = hidden, dropout, label_smoothing
        self.ema, self.grad_clip = ema, grad_clip
        self.recipe = Recipe(class_weights, focal_gamma, mixup, modality_dropout, augment, views)

    def head(self, task: Task, width: int) -> nn.Module:
        """The task's head with this solver's hidden layer and dropout.

        Raises:
            TrialFailed: the task's loss cannot be weighed as asked.
        """
        self.recipe.check(task)
        return task.head(width, hidden=self.hidden, dropout=self.dropout)

    def fit(self, job: FitJob, report: Report) -> FitResult:
        """Train from `start_epoch` to `stop_epoch`, bit for bit as if it had never been interrupted."""
        return fit(self, job, report)
