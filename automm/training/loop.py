"""The training loop of the gradient solver."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from automm.errors import StudyError
from automm.model import Model
from automm.training import checkpoint
from automm.training.allocator import keep_freed_memory
from automm.training.augment import augmented
from automm.training.checkpoint import Snapshot
from automm.training.determinism import deterministic, epoch_draws, start_epoch
from automm.training.device import make_fabric, memory_errors, moved
from automm.training.ema import Average
from automm.training.evaluate import evaluate
from automm.training.fit import FitJob, FitResult
from automm.training.mixup import draw_mix, mixed_loss
from automm.training.modality_dropout import drop_fields
from automm.training.monitor import GradientMonitor
from automm.training.optimizer import make_optimizer, restore_tensors, set_factor, state_tensors
from automm.training.schedule import factor
from automm.trial import Report
from automm.types import Batch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from automm.training.gradient import Gradient

_EVALUATION = 4  # times the training batch: nothing is kept for a backward pass
_MICRO = 32  # items at a time of an encoder from weights that is trained


def fit(solver: Gradient, job: FitJob, report: Report) -> FitResult:
    """Train `job.model` as `solver` says; see `Solver.fit`."""
    began = time.perf_counter()
    fabric = make_fabric(job.settings)
    if fabric.device.type == "cpu":
        keep_freed_memory()
    rows = rows_a_pass(solver, job)
    too_many = f"training.{'batch_size' if rows == solver.batch_size else 'micro_batch'}={rows}"
    with deterministic(fabric.device, job.settings.threads), memory_errors(too_many):
        loop = _Loop(solver, job, fabric, rows)
        for epoch in range(job.start_epoch, job.stop_epoch):
            if loop.out_of_patience:
                break
            report(epoch + 1, loop.epoch(epoch))
        return loop.close(began)


class _Loop:
    """One fit under way."""

    def __init__(self, solver: Gradient, job: FitJob, fabric: Fabric, rows: int) -> None:
        self.solver, self.job, self.fabric = solver, job, fabric
        self.model: Model = job.model
        self.model.to(fabric.device)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        scaled = fabric.strategy.precision.precision == "16-mixed"
        optimizer = make_optimizer(
            self.model,
            solver.optimizer,
            lr=solver.lr,
            weight_decay=solver.weight_decay,
            muon_lr=solver.muon_lr,
            encoder_lr=solver.encoder_lr,
            beta2=solver.beta2,
            fused=not scaled,
        )
        self.forward, self.optimizer = fabric.setup(self.model, optimizer)
        self.average = Average(self.model, solver.ema) if solver.ema else None
        self.monitor = GradientMonitor(self.model.branches, scaled=scaled)
        self.weighing = solver.recipe.weighing(job.task, job.train.table, fabric.device)
        self.passes = math.ceil(solver.batch_size / rows)  # a batch
        self.in_parts = self.passes > 1 or solver.accumulate > 1
        self.rows_a_step = solver.batch_size * solver.accumulate
        size = math.ceil(solver.batch_size / self.passes)
        self.loader = job.train.loader(batch_size=size, shuffle=True, seed=job.seed)
        self.steps = 0
        self._rate = 0.0
        self.history: list[dict[str, float]] = []
        self.best_epoch = 0
        self.best: dict[str, Tensor] = {}
        if job.start_epoch or job.checkpoint is not None:
            self._restore()

    @property
    def kept(self) -> Model:
        """The model that is evaluated and handed over."""
        return self.model if self.average is None else self.average.model

    @property
    def out_of_patience(self) -> bool:
        """Whether the goal has not improved for as many epochs as settings bear."""
        patience = self.job.settings.patience
        return patience is not None and len(self.history) - self.best_epoch >= patience

    def epoch(self, number: int) -> dict[str, float]:
        """Train an epoch, counted from 0, and validate; returns what is reported."""
        start_epoch(self.job.seed, number)
        loss = self._train(number)
        self.monitor.close_epoch(number + 1, loss)
        rows = _EVALUATION * self.solver.batch_size
        metrics = evaluate(self.kept, self.job.task, self.job.valid, batch_size=rows)
        self.history.append({"epoch": number + 1, "train_loss": loss, "lr": self._rate, **metrics})
        if self._improved(metrics):
            self.best_epoch = number + 1
            self.best = {name: tensor.clone() for name, tensor in checkpoint.weights(self.kept).items()}
        over = number + 1 == self.job.stop_epoch or self.out_of_patience
        if self.job.save_to is not None and (over or self.job.save_epochs):
            checkpoint.write(self.job.save_to, self._snapshot(number + 1))
        return {"train_loss": loss, **metrics}

    def close(self, began: float) -> FitResult:
        """Leave the best weights in the model."""
        if self.best:
            checkpoint.load_weights(self.model, self.best)
        self.model.eval()
        epochs = len(self.history)
        finished = self.out_of_patience or epochs >= self.job.horizon
        return FitResult(
            values=_metrics(self.history[self.best_epoch - 1]) if self.history else {},
            last=_metrics(self.history[-1]) if self.history else {},
            epochs=epochs,
            best_epoch=self.best_epoch,
            finished=finished,
            seconds=time.perf_counter() - began,
            history=self.history,
            norms=self.monitor.norms,
            findings=self.monitor.findings,
        )

    def _train(self, epoch: int) -> float:
        """The mean loss of one pass."""
        self.model.train()
        self.loader.set_epoch(epoch)
        draws, recipe = epoch_draws(self.job.seed, epoch), self.solver.recipe
        rows, waiting = 0, _Waiting()
        total = torch.zeros((), device=self.fabric.device)
        for batch in self.loader:
            rows += len(batch)
            progress = epoch + min(1.0, rows / len(self.job.train.table))
            if recipe.modality_dropout:
                batch = drop_fields(batch, recipe.modality_dropout, draws)
            on_device = moved(augmented(batch, recipe.augment, draws), self.fabric.device)
            loss = self._loss(on_device, draws)
            self.fabric.backward(loss * (len(batch) / self.rows_a_step) if self.in_parts else loss)
            waiting.add(loss.detach(), len(batch))
            total += loss.detach() * len(batch)
            if waiting.full(self.solver.batch_size if self.passes > 1 else 1, self.solver.accumulate):
                self._step(progress, waiting)
                waiting = _Waiting()
        if waiting.rows:
            self._step(epoch + 1.0, waiting)
        return float(total / rows)

    def _loss(self, batch: Batch, draws: np.random.Generator) -> Tensor:
        alpha = self.solver.recipe.mixup
        if not alpha:
            return self._judged(self.forward(batch), batch.targets)
        mix = draw_mix(len(batch), alpha, draws, self.fabric.device)
        logits_BC = self.forward(batch, mix)
        return mixed_loss(mix, lambda targets: self._judged(logits_BC, targets), batch.targets)

    def _judged(self, logits_BC: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        task, smoothing = self.job.task, self.solver.label_smoothing
        if self.weighing is None:
            return task.loss(logits_BC, targets, label_smoothing=smoothing)
        return task.weighed_loss(logits_BC, targets, label_smoothing=smoothing, weighing=self.weighing)

    def _step(self, progress: float, waiting: _Waiting) -> None:
        solver, loss = self.solver, waiting.loss
        share = min(1.0, progress / self.job.horizon)
        self._rate = set_factor(
            self.optimizer, factor(solver.schedule, share, warmup=solver.warmup, decay=solver.decay)
        )
        self.fabric.strategy.precision.unscale_gradients(self.optimizer.optimizer)
        if self.in_parts and waiting.rows != self.rows_a_step:  # the last of an epoch, or whole items of many rows
            for parameter in self.trained:
                if parameter.grad is not None:
                    parameter.grad.mul_(self.rows_a_step / waiting.rows)
        if self.monitor.due(self.steps):
            self.monitor.sample(progress=progress, loss=float(loss), lr=self._rate)
        elif self.fabric.device.type == "cpu":  # elsewhere reading the loss would make the device wait
            self.monitor.check_loss(progress=progress, loss=float(loss), lr=self._rate)
        if solver.grad_clip is not None:
            nn.utils.clip_grad_norm_(self.trained, solver.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1
        if self.average is not None:
            self.average.update(self.steps)

    def _improved(self, metrics: Mapping[str, float]) -> bool:
        if not self.best_epoch:
            return True
        goal = self.job.task.aim
        now, before = metrics[goal.metric], self.history[self.best_epoch - 1][goal.metric]
        return now > before if goal.direction == "maximize" else now < before

    def _snapshot(self, epochs: int) -> Snapshot:
        names = {id(p): name for name, p in self.model.named_parameters()}
        tensors = {
            "model": checkpoint.weights(self.model),
            "best": self.best,
            "optimizer": state_tensors(self.optimizer.optimizer, names),
        }
        if self.average is not None:
            tensors["average"] = checkpoint.weights(self.average.model)
        meta = {
            "steps": self.steps,
            "best_epoch": self.best_epoch,
            "history": self.history,
            "monitor": self.monitor.state(),
            "precision": self.fabric.strategy.precision.state_dict(),
        }
        return Snapshot(epochs, meta, tensors)

    def _restore(self) -> None:
        if self.job.checkpoint is None:
            raise StudyError(
                f"to go on from epoch {self.job.start_epoch} a fit needs a checkpoint, and was given none."
            )
        saved = checkpoint.read(self.job.checkpoint)
        if saved.epoch != self.job.start_epoch:
            raise StudyError(
                f"the checkpoint {self.job.checkpoint} has done {saved.epoch} epochs, and this fit goes on from "
                f"{self.job.start_epoch}. Next: start this trial again."
            )
        checkpoint.load_weights(self.model, saved.tensors["model"])
        if self.average is not None:
            checkpoint.load_weights(self.average.model, saved.tensors["average"])
        restore_tensors(
            self.optimizer.optimizer, dict(self.model.named_parameters()), saved.tensors.get("optimizer", {})
        )
        self.best = {name: tensor.to(self.fabric.device) for name, tensor in saved.tensors["best"].items()}
        self.steps, self.best_epoch = saved.meta["steps"], saved.meta["best_epoch"]
        self.history = saved.meta["history"]
        self.monitor.restore(saved.meta["monitor"])
        self.fabric.strategy.precision.load_state_dict(saved.meta["precision"])


class _Waiting:
    """What has gone backward and waits for the step it belongs to."""

    def __init__(self) -> None:
        self.rows = 0
        self._summed: Tensor | float = 0.0
        self._batches, self._of_batch = 0, 0

    def add(self, loss: Tensor, rows: int) -> None:
        """Take in a pass: its mean loss, and its rows."""
        self._summed = self._summed + loss * rows
        self.rows += rows
        self._of_batch += rows

    def full(self, batch: int, batches: int) -> bool:
        """Whether that was the last pass of a step, which takes so many batches of so many rows or more."""
        if self._of_batch >= batch:
            self._batches, self._of_batch = self._batches + 1, 0
        return self._batches == batches

    @property
    def loss(self) -> Tensor:
        """The mean over the rows."""
        return torch.as_tensor(self._summed / self.rows)


def rows_a_pass(solver: Gradient, job: FitJob) -> int:
    """Rows that pass through the model at a time, at most a batch: see the solver's `micro_batch`.

    The loss of pairs is of a whole batch, in which every other row is a wrong answer; it is never cut. Of the items
    that rows share only those that a batch holds whole are fewer than its rows.
    """
    model, table, whole = job.model, job.train.table, job.train.group_by
    heavy = [
        field
        for field, encoder in zip(model.fields, model.encoders, strict=True)
        if encoder.pretrained and any(parameter.requires_grad for parameter in encoder.parameters())
    ]
    if job.task.PAIRS:
        rows = solver.batch_size
    elif solver.micro_batch is not None:
        rows = solver.micro_batch
    elif heavy:
        rows = _MICRO
        if whole is not None and heavy == [whole]:
            rows = max(rows, round(_MICRO * len(table) / max(1, len(table.columns[whole].values))))
    else:
        rows = solver.batch_size
    return min(rows, solver.batch_size)


def _metrics(entry: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in entry.items() if name not in ("epoch", "lr", "train_loss")}
