"""The closed-form solver: one pass over frozen encoders, then linear algebra.

Shape legend: N rows, D width of the concatenation, C outputs, S supports.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from automm.errors import OutOfRange, TrialFailed
from automm.fusions.fusion import Fusion
from automm.space import Candidate, Float, OneOf, Space
from automm.tasks.task import Task
from automm.training import checkpoint, ridge
from automm.training.allocator import keep_freed_memory
from automm.training.checkpoint import Snapshot
from automm.training.determinism import deterministic
from automm.training.device import make_fabric, memory_errors
from automm.training.evaluate import evaluate, fused
from automm.training.fit import FitJob, FitResult, Part
from automm.training.kernel_head import Concatenation, KernelHead
from automm.training.solver import Report, Solver
from automm.types import FeatureSpec

Method = Literal["ridge", "kernel_ridge", "nearest_class_mean"]
METHODS: tuple[Method, ...] = get_args(Method)
_CALIBRATED = 20_000  # rows that scale the scores
_L2 = Float(1e-6, 1e3, log=True, default=1e-2)
_BALANCED = OneOf((False, True), default=False)


@dataclass(frozen=True)
class _Rows:
    """The training rows as arrays."""

    x_ND: np.ndarray  # standardised
    y_NC: np.ndarray
    weight_N: np.ndarray


class ClosedForm(Solver):
    """Ridge, kernel ridge or nearest class mean over the concatenated pooled vectors of encoders as they are.

    The encoders are read once and not trained; the fusion is a plain concatenation, without the layers `concat` would
    train. What is solved becomes the model's head, a linear layer or a kernel machine, so that evaluation and export
    are those of any model. Scores of a regression are no logits: two numbers, a scale and an offset, are fitted to the
    task's loss on leave-one-out predictions of training rows, which ridge has in closed form.

    Args:
        method: `ridge` regresses on the targets; `kernel_ridge` the same with a Gaussian kernel to `supports` training
            rows (Nyström); `nearest_class_mean` compares with the mean of each class.
        l2: the penalty, relative to features of unit variance.
        bandwidth: a factor on the kernel's width, the median distance between supports.
        supports: training rows the kernel machine keeps.
        balanced: let every class weigh the same, however rare.
        batch_size: rows encoded at a time.
    """

    SPACE: ClassVar[Space] = Space(
        {
            "method": OneOf(
                METHODS,
                default="ridge",
                children={
                    "ridge": Space({"l2": _L2, "balanced": _BALANCED}),
                    "kernel_ridge": Space(
                        {"l2": _L2, "balanced": _BALANCED, "bandwidth": Float(0.1, 10.0, log=True, default=1.0)}
                    ),
                },
            )
        }
    )

    FUSIONS: ClassVar[tuple[str, ...] | None] = ("concat", "early")

    def __init__(
        self,
        *,
        method: Method = "ridge",
        l2: float = 1e-2,
        bandwidth: float = 1.0,
        supports: int = 1000,
        balanced: bool = False,
        batch_size: int = 1024,
    ) -> None:
        if method not in METHODS:
            raise OutOfRange(f"training.method={method} is not one of {', '.join(METHODS)}.")
        if supports < 1 or batch_size < 1:
            raise OutOfRange(f"supports={supports} and batch_size={batch_size} of training must be 1 or more.")
        self.method: Method = method
        self.l2, self.bandwidth, self.supports, self.balanced = l2, bandwidth, supports, balanced
        self.batch_size = batch_size

    def refuses(self, candidate: Candidate) -> str | None:
        """Only a concatenation is fused without training."""
        name = candidate["fusion.name"]
        if name in (self.FUSIONS or ()):
            return None
        return f"closed_form trains no fusion, and fusion.name={name} must be trained; it goes with concat."

    def fusion(self, built: Fusion, specs: Sequence[FeatureSpec]) -> Fusion:
        """A plain concatenation."""
        return Concatenation(specs)

    def head(self, task: Task, width: int) -> nn.Module:
        """A linear layer, or a kernel machine of `supports` rows."""
        if self.method == "nearest_class_mean" and not task.CLASSES:
            raise TrialFailed("training.method=nearest_class_mean needs classes, and this task has none")
        if self.method == "kernel_ridge":
            return KernelHead(width, len(task.labels), supports=self.supports)
        return nn.Linear(width, len(task.labels))

    def fit(self, job: FitJob, report: Report) -> FitResult:
        """Solve, whatever the epochs asked for; it is done after the first."""
        began = time.perf_counter()
        fabric = make_fabric(job.settings)
        keep_freed_memory()
        with deterministic(fabric.device, job.settings.threads), memory_errors(f"training.supports={self.supports}"):
            job.model.to(fabric.device).requires_grad_(False)
            self._solve(job)
            values = evaluate(job.model, job.task, job.valid, batch_size=self.batch_size)
        if job.save_to is not None:
            checkpoint.write(job.save_to, Snapshot(1, {}, {"model": checkpoint.weights(job.model)}))
        report(1, values)
        seconds = time.perf_counter() - began
        return FitResult(values, values, 1, 1, finished=True, seconds=seconds, history=[{"epoch": 1, **values}])

    def _solve(self, job: FitJob) -> None:
        x_ND = fused(job.model, job.train, batch_size=self.batch_size)
        if not np.isfinite(x_ND).all():
            raise TrialFailed("an encoder returns numbers that are not finite, and nothing can be solved for them")
        mean_D, scale_D = x_ND.mean(0), 1 / np.maximum(x_ND.std(0), 1e-6)
        y_NC = job.task.wanted_logits(job.train.table)
        even = not (self.balanced and job.task.CLASSES)
        rows = _Rows((x_ND - mean_D) * scale_D, y_NC, np.ones(len(y_NC)) if even else _weights(y_NC))
        sample = np.random.default_rng([job.seed, 1]).permutation(len(x_ND))[:_CALIBRATED]
        head = job.model.heads[0]
        if isinstance(head, KernelHead):
            self._solve_kernel(head, rows, sample, job, mean_D, scale_D)
            return
        assert isinstance(head, nn.Linear)  # what `head` makes
        weight_DC, bias_C, raw_NC = self._linear(rows, sample)
        scale, offset = _calibrated(job.task, job.train, raw_NC, sample)
        weight_DC, bias_C = weight_DC * scale, bias_C * scale + offset
        folded_DC = weight_DC * scale_D[:, None]
        _install(head.weight, folded_DC.T)
        _install(head.bias, bias_C - mean_D @ folded_DC)

    def _linear(self, rows: _Rows, sample: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights [D, C], bias [C] and the sample's raw scores."""
        x_SD, y_SC = rows.x_ND[sample], rows.y_NC[sample]
        if self.method == "ridge":
            found = ridge.solve(_as_float64, rows.x_ND, rows.y_NC, rows.weight_N, self.l2)
            return found.weight_PC, found.bias_C, found.left_out(x_SD, y_SC, rows.weight_N[sample])
        mean_CD = rows.y_NC.T @ rows.x_ND / np.maximum(rows.y_NC.sum(0), 1e-6)[:, None]
        bias_C = -(mean_CD**2).sum(1) / 2  # -|x - mean|^2 / 2, less what all classes share
        return mean_CD.T, bias_C, x_SD @ mean_CD.T + bias_C

    def _solve_kernel(
        self, head: KernelHead, rows: _Rows, sample: np.ndarray, job: FitJob, mean_D: np.ndarray, scale_D: np.ndarray
    ) -> None:
        at = np.random.default_rng([job.seed, 0]).permutation(len(rows.x_ND))[: self.supports]
        supports_SD = rows.x_ND[at]
        distance_SS = ridge.squared_distances(supports_SD, supports_SD)
        gamma = 1 / (max(float(np.median(distance_SS)), 1e-6) * self.bandwidth**2)
        to_features_SP = ridge.nystroem(supports_SD, gamma)
        found = ridge.solve(
            lambda x_ND: ridge.gaussian(x_ND, supports_SD, gamma) @ to_features_SP,
            rows.x_ND,
            rows.y_NC,
            rows.weight_N,
            self.l2,
        )
        raw_NC = found.left_out(rows.x_ND[sample], rows.y_NC[sample], rows.weight_N[sample])
        scale, offset = _calibrated(job.task, job.train, raw_NC, sample)
        unused = self.supports - len(at)
        _install(head.mean_D, mean_D)
        _install(head.scale_D, scale_D)
        _install(head.supports_SD, np.pad(supports_SD, ((0, unused), (0, 0))))
        _install(head.weight_SC, np.pad(to_features_SP @ found.weight_PC * scale, ((0, unused), (0, 0))))
        _install(head.bias_C, found.bias_C * scale + offset)
        _install(head.gamma, np.asarray(gamma))


def _weights(y_NC: np.ndarray) -> np.ndarray:
    """Row weights that give every class the same total; rows without a target count as they are."""
    per_class_C = y_NC.sum() / (y_NC.shape[1] * np.maximum(y_NC.sum(0), 1e-6))
    of_row_N = y_NC.sum(1)
    return np.where(of_row_N > 0, (y_NC @ per_class_C) / np.maximum(of_row_N, 1e-6), 1.0).astype(np.float64)


def _calibrated(task: Task, part: Part, raw_NC: np.ndarray, sample: np.ndarray) -> tuple[float, float]:
    """The scale and the offset at which the task's loss on raw scores of the sampled rows is least."""
    raw = torch.from_numpy(np.ascontiguousarray(raw_NC, np.float64))
    targets = {name: torch.from_numpy(array[sample]) for name, array in task.targets(part.table).items()}
    log_scale = torch.zeros((), dtype=torch.float64, requires_grad=True)
    offset = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_scale, offset], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = task.loss(raw * log_scale.clamp(-10, 8).exp() + offset, targets, label_smoothing=0.0)
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    return float(log_scale.detach().clamp(-10, 8).exp()), float(offset.detach())


@torch.no_grad()
def _install(target: Tensor, value: np.ndarray) -> None:
    target.copy_(torch.tensor(value))


def _as_float64(x_ND: np.ndarray) -> np.ndarray:
    return x_ND.astype(np.float64)
