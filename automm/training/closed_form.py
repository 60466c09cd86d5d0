"""The closed-form solver: one pass over frozen encoders, then linear algebra.

Shape legend: N rows, D width of the concatenation, C outputs, S supports.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from automm.errors import OutOfRange, TrialFailed
from automm.fusions.fusion import Fusion
from automm.model import Absent
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
from automm.training.solver import Solver
from automm.trial import Report
from automm.types import FeatureSpec, Modality

Method = Literal["ridge", "kernel_ridge", "nearest_class_mean"]
METHODS: tuple[Method, ...] = get_args(Method)
Scaling = Literal["unit", "standard"]
SCALINGS: tuple[Scaling, ...] = get_args(Scaling)
_ROWS = 1024  # encoded at a time
_CALIBRATED = 20_000  # rows that scale the scores
_L2 = Float(1e-8, 1e-1, log=True, default=1e-5)
_BALANCED = OneOf((False, True), default=False)
_WEIGHT = OneOf((0.0, 0.25, 0.5, 1.0, 2.0), ordered=True, default=1.0)


@dataclass(frozen=True)
class _Rows:
    """The training rows as arrays."""

    x_ND: np.ndarray  # scaled
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
            rows, all of them where there are no more (else Nyström); `nearest_class_mean` compares with the mean of
            each class.
        scaling: `unit` gives every field's centred vector the same length; `standard` every feature the same deviation.
        l2: the penalty, relative to the variance of all features together; of kernel_ridge to the kernel's diagonal.
        bandwidth: a factor on the kernel's width, the median distance between supports.
        supports: training rows the kernel machine keeps.
        balanced: let every class weigh the same, however rare.
        image_weight: what the image fields count, together; 0 leaves them out.
        text_weight: the same of texts.
        numeric_weight: the same of numbers.
        categorical_weight: the same of categories.
        audio_weight: the same of sounds.
    """

    SPACE: ClassVar[Space] = Space(
        {
            "method": OneOf(
                METHODS,
                default="kernel_ridge",
                children={
                    "ridge": Space({"l2": _L2, "balanced": _BALANCED}),
                    "kernel_ridge": Space(
                        {
                            "l2": _L2,
                            "balanced": _BALANCED,
                            "bandwidth": Float(0.3, 3.0, log=True, default=1.0),
                        }
                    ),
                },
            ),
            "scaling": OneOf(SCALINGS, default="unit"),
            **{f"{modality}_weight": _WEIGHT for modality in get_args(Modality)},
        }
    )

    FUSIONS: ClassVar[tuple[str, ...] | None] = ("concat", "early")

    def __init__(
        self,
        *,
        method: Method = "kernel_ridge",
        scaling: Scaling = "unit",
        l2: float = 1e-5,
        bandwidth: float = 1.0,
        supports: int = 3000,
        balanced: bool = False,
        image_weight: float = 1.0,
        text_weight: float = 1.0,
        numeric_weight: float = 1.0,
        categorical_weight: float = 1.0,
        audio_weight: float = 1.0,
    ) -> None:
        for option, value, known in (("method", method, METHODS), ("scaling", scaling, SCALINGS)):
            if value not in known:
                raise OutOfRange(f"training.{option}={value} is not one of {', '.join(known)}.")
        if supports < 1:
            raise OutOfRange(f"training.supports={supports} must be 1 or more.")
        self.method: Method = method
        self.scaling: Scaling = scaling
        self.weights: dict[Modality, float] = {
            "image": image_weight,
            "text": text_weight,
            "numeric": numeric_weight,
            "categorical": categorical_weight,
            "audio": audio_weight,
        }
        self.l2, self.bandwidth, self.supports, self.balanced = l2, bandwidth, supports, balanced

    def refuses(self, candidate: Candidate) -> str | None:
        """Only a concatenation is fused without training."""
        name = candidate["fusion.name"]
        if name in (self.FUSIONS or ()):
            return None
        return f"closed_form trains no fusion, and fusion.name={name} must be trained; it goes with concat."

    def fusion(self, built: Fusion, specs: Sequence[FeatureSpec]) -> Fusion:
        """A plain concatenation."""
        fields = Counter(spec.modality for spec in specs)
        weights = [self.weights[spec.modality] / fields[spec.modality] ** 0.5 for spec in specs]
        if not any(weights):
            raise TrialFailed("every modality has the weight 0, and nothing is left to learn from")
        fusion = Concatenation(specs, unit=self.scaling == "unit")
        fusion.weight_F.copy_(torch.tensor(weights))
        return fusion

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
            values = evaluate(job.model, job.task, job.valid, batch_size=_ROWS)
        if job.save_to is not None:
            checkpoint.write(job.save_to, Snapshot(1, {}, {"model": checkpoint.weights(job.model)}))
        report(1, values)
        seconds = time.perf_counter() - began
        return FitResult(values, values, 1, 1, finished=True, seconds=seconds, history=[{"epoch": 1, **values}])

    def _solve(self, job: FitJob) -> None:
        head = job.model.heads[0]
        x_ND = self._scaled(job)
        y_NC = job.task.wanted_logits(job.train.table)
        even = not (self.balanced and job.task.CLASSES)
        rows = _Rows(x_ND, y_NC, np.ones(len(y_NC)) if even else _weights(y_NC))
        sample = np.random.default_rng([job.seed, 1]).permutation(len(x_ND))[:_CALIBRATED]
        if isinstance(head, KernelHead):
            self._solve_kernel(head, rows, sample, job)
            return
        assert isinstance(head, nn.Linear)  # what `head` makes
        weight_DC, bias_C, raw_NC = self._linear(rows, sample)
        scale, offset = _calibrated(job.task, job.train, raw_NC, sample)
        _install(head.weight, weight_DC.T * scale)
        _install(head.bias, bias_C * scale + offset)

    def _scaled(self, job: FitJob) -> np.ndarray:
        """What the head reads of the training rows, [N, D], once the fusion has learnt to scale it."""
        fusion, table = job.model.fusion, job.train.table
        assert isinstance(fusion, Concatenation)  # what `fusion` makes
        with fusion.unscaled():
            raw_ND = fused(job.model, job.train, batch_size=_ROWS)
        if not np.isfinite(raw_ND).all():
            raise TrialFailed("an encoder returns numbers that are not finite, and nothing can be solved for them")
        means, deviations, start = [], [], 0
        for at, (field, width) in enumerate(zip(fusion.fields, fusion.parts, strict=True)):
            known_NW = raw_ND[table.columns[field].index >= 0, start : start + width]
            known_NW = known_NW if len(known_NW) else np.zeros((1, width), np.float32)
            means.append(known_NW.mean(0))
            deviations.append(known_NW.std(0) * np.sqrt(width))
            absent = job.model.absent[at]
            assert isinstance(absent, Absent)
            _install(absent.pooled_W, means[-1])  # at the centre: what is missing says nothing
            raw_ND[table.columns[field].index < 0, start : start + width] = means[-1]
            start += width
        _install(fusion.mean_D, np.concatenate(means))
        if self.scaling == "standard":
            _install(fusion.scale_D, 1 / np.maximum(np.concatenate(deviations), 1e-6))
        scaled: np.ndarray = fusion.scaled(torch.from_numpy(raw_ND).to(fusion.mean_D.device)).cpu().numpy()
        return scaled

    def _linear(self, rows: _Rows, sample: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights [D, C], bias [C] and the sample's raw scores."""
        x_SD, y_SC = rows.x_ND[sample], rows.y_NC[sample]
        if self.method == "ridge":
            total = max(float(rows.x_ND.var(0).sum()), 1e-12)
            found = ridge.solve(_as_float64, rows.x_ND, rows.y_NC, rows.weight_N, self.l2 * total)
            return found.weight_PC, found.bias_C, found.left_out(x_SD, y_SC, rows.weight_N[sample])
        mean_CD = rows.y_NC.T @ rows.x_ND / np.maximum(rows.y_NC.sum(0), 1e-6)[:, None]
        bias_C = -(mean_CD**2).sum(1) / 2  # -|x - mean|^2 / 2, less what all classes share
        return mean_CD.T, bias_C, x_SD @ mean_CD.T + bias_C

    def _solve_kernel(self, head: KernelHead, rows: _Rows, sample: np.ndarray, job: FitJob) -> None:
        order = np.random.default_rng([job.seed, 0]).permutation(len(rows.x_ND))
        supports_SD = rows.x_ND[order[: self.supports]]
        distance_SS = ridge.squared_distances(supports_SD, supports_SD)
        gamma = 1 / (max(float(np.median(distance_SS)), 1e-6) * self.bandwidth**2)
        if len(supports_SD) == len(rows.x_ND):
            solved = ridge.solve_kernel(np.exp(-gamma * distance_SS), rows.y_NC[order], rows.weight_N[order], self.l2)
            weight_SC, bias_C, raw_NC = solved.weight_NC, solved.bias_C, np.empty_like(solved.left_out_NC)
            raw_NC[order] = solved.left_out_NC
            raw_NC = raw_NC[sample]
        else:
            to_features_SP = ridge.nystroem(supports_SD, gamma)
            found = ridge.solve(
                lambda x_ND: ridge.gaussian(x_ND, supports_SD, gamma) @ to_features_SP,
                rows.x_ND,
                rows.y_NC,
                rows.weight_N,
                self.l2,
            )
            weight_SC, bias_C = to_features_SP @ found.weight_PC, found.bias_C
            raw_NC = found.left_out(rows.x_ND[sample], rows.y_NC[sample], rows.weight_N[sample])
        scale, offset = _calibrated(job.task, job.train, raw_NC, sample)
        unused = self.supports - len(supports_SD)
        _install(head.supports_SD, np.pad(supports_SD, ((0, unused), (0, 0))))
        _install(head.weight_SC, np.pad(weight_SC * scale, ((0, unused), (0, 0))))
        _install(head.bias_C, bias_C * scale + offset)
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
