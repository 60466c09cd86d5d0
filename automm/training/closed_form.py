"""The closed-form solver: one pass over frozen encoders, then linear algebra.

Shape legend: N rows, D width of the concatenation, C outputs, S supports.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from automm import paths
from automm.data.split import take
from automm.errors import OutOfRange, TrialFailed
from automm.fusions.fusion import Fusion
from automm.space import Candidate, Float, OneOf, Space
from automm.tasks.task import Task
from automm.training import checkpoint, ridge
from automm.training.allocator import keep_freed_memory
from automm.training.calibration_sample import Sample
from automm.training.checkpoint import Snapshot
from automm.training.determinism import deterministic
from automm.training.device import make_fabric, memory_errors
from automm.training.evaluate import evaluate
from automm.training.fit import FitJob, FitResult
from automm.training.head_rows import Block, HeadRows, Wanted
from automm.training.kernel_head import Concatenation, KernelHead
from automm.training.solver import Solver
from automm.trial import Report
from automm.types import FeatureSpec, Modality, Table

Method = Literal["ridge", "kernel_ridge", "nearest_class_mean"]
METHODS: tuple[Method, ...] = get_args(Method)
Scaling = Literal["unit", "standard"]
SCALINGS: tuple[Scaling, ...] = get_args(Scaling)
_ROWS = 512  # evaluated at a time
_CALIBRATED = 5_000  # rows that scale the scores,
_SCALED = 5_000_000  # as far as they have no more scores together
_SHIFT = 4.0  # times a class's share, at most, that its scores are shifted by
_L2 = Float(1e-8, 1e-1, log=True, default=1e-5)
_BALANCED = OneOf((False, True), default=False)
_NOTHING = "every modality has the weight 0, and nothing is left to learn from"
_WEIGHT = OneOf((0.0, 0.25, 0.5, 1.0, 2.0), ordered=True, default=1.0)


class ClosedForm(Solver):
    """Ridge, kernel ridge or nearest class mean over the concatenated pooled vectors of encoders as they are.

    The encoders are read once and not trained; the fusion is a plain concatenation, without the layers `concat` would
    train. What is solved becomes the model's head, a linear layer or a kernel machine, so that evaluation and export
    are those of any model. Scores of a regression are no logits: two numbers, a scale and an offset, are fitted to the
    task's loss on predictions of training rows by fits without them, which ridge has in closed form; rows that belong
    together (`Table.together`) are left out together, of large groups as many as `Sample` draws. Regressions on one-hot
    targets have frequent classes mask rare ones. How much the share of a class counts against it, or for it, is a third
    number, unless classes are `balanced`: a logit adjustment (Menon et al., ICLR 2021) by the share itself instead of
    its logarithm. Shares are those of all training rows, left out or not.

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

    TRAINS_ENCODERS: ClassVar[bool] = False
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
        """Only a concatenation is fused without training, and of something."""
        name = candidate["fusion.name"]
        if name in (self.FUSIONS or ()):
            weights = [weight for modality, weight in self.weights.items() if f"encoder.{modality}.name" in candidate]
            own = any(paths.field_of(path) is not None for path in candidate)  # columns of whatever modality
            return _NOTHING if weights and not any(weights) and not own else None
        return f"closed_form trains no fusion, and fusion.name={name} must be trained; it goes with concat."

    def fusion(self, built: Fusion, specs: Sequence[FeatureSpec]) -> Fusion:
        """A plain concatenation."""
        fields = Counter(spec.modality for spec in specs)
        weights = [self.weights[spec.modality] / fields[spec.modality] ** 0.5 for spec in specs]
        if not any(weights):
            raise TrialFailed(_NOTHING)
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
        folder = None if job.save_to is None else job.save_to.parent
        among = self.method == "ridge" or (self.method == "kernel_ridge" and len(job.train.table) <= self.supports)
        standard = self.scaling == "standard"
        with closing(HeadRows(job.model, job.train, standard=standard, folder=folder, among=among)) as rows:
            self._solve_rows(rows, job)

    def _solve_rows(self, rows: HeadRows, job: FitJob) -> None:
        head = job.model.heads[0]
        wanted = Wanted(job.task, job.train.table, balanced=self.balanced and job.task.CLASSES)
        most = max(1, min(_CALIBRATED, _SCALED // len(job.task.labels)))
        sample = Sample.drawn(job.train.table, len(rows) - job.extra, most, job.seed)
        if isinstance(head, KernelHead):
            self._solve_kernel(head, rows, wanted, sample, job)
            return
        assert isinstance(head, nn.Linear)  # what `head` makes
        weight_DC, bias_C, raw_SC, share_C = self._linear(rows, wanted, sample)
        scale, offset_C = self._scaling(job, sample, raw_SC, share_C)
        _install(head.weight, weight_DC.T * scale)
        _install(head.bias, bias_C * scale + offset_C)

    def _linear(
        self, rows: HeadRows, wanted: Wanted, sample: Sample
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
        """Weights [D, C], bias [C], the sample's raw scores and, of a regression, its targets' mean [C]."""
        if self.method == "ridge":
            l2 = self.l2 * max(rows.variance(), 1e-12)
            if rows.kept_TD is not None and len(rows) <= rows.kept_TD.shape[1]:
                _, y_NC, weight_N = wanted.block(np.arange(len(rows)), rows.kept_TD)
                solved = ridge.solve_kernel(rows.products(), y_NC, weight_N, l2, groups=sample.groups_of_rows)
                raw_SC = solved.left_out_NC[sample.rows]
                return rows.kept_TD.T @ solved.weight_NC, solved.bias_C, raw_SC, y_NC.mean(0)
            found = ridge.solve(_as_float64, _weighed(rows, wanted), l2)
            return found.weight_PC, found.bias_C, _left_out(found, rows, wanted, sample), found.mean_C
        sampled = wanted.block(sample.rows, rows.take(sample.rows))
        sums_C, sums_CD = np.zeros(sampled.y_NC.shape[1]), np.zeros((sampled.y_NC.shape[1], sampled.x_ND.shape[1]))
        for x_ND, y_NC, _ in _weighed(rows, wanted):
            sums_C += y_NC.sum(0)
            sums_CD += y_NC.T @ x_ND
        mean_CD = sums_CD / np.maximum(sums_C, 1e-6)[:, None]
        bias_C = -(mean_CD**2).sum(1) / 2  # -|x - mean|^2 / 2, less what all classes share
        raw_SC = sampled.x_ND @ mean_CD.T + bias_C
        for at_G in [*sample.groups, *sample.alone]:
            _without(raw_SC, at_G, sampled, sums_C, sums_CD)
        return mean_CD.T, bias_C, raw_SC, None

    def _solve_kernel(self, head: KernelHead, rows: HeadRows, wanted: Wanted, sample: Sample, job: FitJob) -> None:
        exact = len(rows) <= self.supports
        chosen = np.random.default_rng([job.seed, 0]).permutation(len(rows))[: self.supports]
        supports_SD = rows.take(np.arange(len(rows)) if exact else chosen)
        if exact and rows.kept_TD is not None:
            distance_SS = ridge.distances_among(rows.products())
        else:
            supports_SD = supports_SD.astype(np.float64)
            distance_SS = ridge.distances_among(supports_SD @ supports_SD.T)
        gamma = 1 / (max(float(np.median(distance_SS)), 1e-6) * self.bandwidth**2)
        distance_SS *= -gamma
        kernel_SS = np.exp(distance_SS, out=distance_SS)
        if exact:
            _, y_NC, weight_N = wanted.block(np.arange(len(rows)), supports_SD)
            solved = ridge.solve_kernel(kernel_SS, y_NC, weight_N, self.l2, groups=sample.groups_of_rows)
            weight_SC, bias_C, raw_SC = solved.weight_NC, solved.bias_C, solved.left_out_NC[sample.rows]
            share_C = y_NC.mean(0)
        else:
            features = ridge.Nystroem(supports_SD, kernel_SS, gamma)
            del distance_SS, kernel_SS
            found = ridge.solve(features, _weighed(rows, wanted), self.l2)
            weight_SC, bias_C, share_C = features.on_kernel(found.weight_PC), found.bias_C, found.mean_C
            raw_SC = _left_out(found, rows, wanted, sample)
        scale, offset_C = self._scaling(job, sample, raw_SC, share_C)
        head.resize(len(supports_SD))
        _install(head.supports_SD, supports_SD)
        _install(head.weight_SC, weight_SC * scale)
        _install(head.bias_C, bias_C * scale + offset_C)
        _install(head.gamma, np.asarray(gamma))

    def _scaling(
        self, job: FitJob, sample: Sample, raw_SC: np.ndarray, share_C: np.ndarray | None
    ) -> tuple[float, np.ndarray]:
        """What scores are multiplied by, and offsets [C]."""
        table = take(job.train.table, sample.rows)
        # weights of classes took the shares out, and where several outputs may be right they are no shares of one whole
        if share_C is None or self.balanced or job.task.label_numbers(table) is None:
            share_C = np.zeros(raw_SC.shape[1])
        return _calibrated(job.task, table, raw_SC, share_C)


def _weighed(rows: HeadRows, wanted: Wanted) -> Iterator[Block]:
    """All training rows, a block at a time."""
    return (wanted.block(at_N, x_ND) for at_N, x_ND in rows.blocks())


def _left_out(found: ridge.Ridge, rows: HeadRows, wanted: Wanted, sample: Sample) -> np.ndarray:
    """What fits without it, or without what the sample has of its group, would give each row of a sample, [S, C]."""
    shared = np.concatenate([np.empty(0, np.int64), *sample.groups])
    slot_S = np.full(len(sample.rows), -1)
    slot_S[shared] = np.arange(len(shared))
    y_SC, weight_S = np.empty((len(sample.rows), len(found.bias_C)), np.float32), np.empty(len(sample.rows))
    out_SC, error_SC = np.empty(y_SC.shape), np.empty(y_SC.shape)
    z_GP = np.empty((len(shared), len(found.mean_P)), np.float32)
    for place_N, x_ND in rows.parts_of(sample.rows):
        _, y_SC[place_N], weight_S[place_N] = wanted.block(sample.rows[place_N], x_ND)
        error_SC[place_N], z_NP = found.errors(x_ND, y_SC[place_N])
        out_SC[place_N] = found.left_out(y_SC[place_N], weight_S[place_N], error_SC[place_N], z_NP)
        z_GP[slot_S[place_N][slot_S[place_N] >= 0]] = z_NP[slot_S[place_N] >= 0]
    for at_G in sample.groups:
        out_SC[at_G] = found.group_left_out(y_SC[at_G], weight_S[at_G], error_SC[at_G], z_GP[slot_S[at_G]])
    return out_SC


def _without(raw_SC: np.ndarray, at_G: np.ndarray, sampled: Block, sums_C: np.ndarray, sums_CD: np.ndarray) -> None:
    """Give rows of a sample the scores of class means in which they have no part."""
    x_GD, y_GC = sampled.x_ND[at_G], sampled.y_NC[at_G]
    own = np.flatnonzero(y_GC.any(0))
    count_C = np.maximum(sums_C[own] - y_GC[:, own].sum(0), 0.0)
    mean_CD = np.maximum(count_C, 1e-6)[:, None] ** -1 * (sums_CD[own] - y_GC[:, own].T @ x_GD) * (count_C > 0)[:, None]
    raw_SC[np.ix_(at_G, own)] = x_GD @ mean_CD.T - (mean_CD**2).sum(1) / 2


def _calibrated(task: Task, table: Table, raw_NC: np.ndarray, share_C: np.ndarray) -> tuple[float, np.ndarray]:
    """The scale and the offsets [C] at which the task's loss on raw scores of these rows is least.

    An offset is one number for all outputs, and another, within bounds, times `share_C`.
    """
    targets = {name: torch.from_numpy(array) for name, array in task.targets(table).items()}
    raw, spread = np.ascontiguousarray(raw_NC, np.float64), float(share_C.std())
    if spread == 0:
        scale, offset, _ = _fitted(task, targets, raw, share_C)
        return scale, np.full(len(share_C), offset)
    scale, offset, slope = _fitted(task, targets, raw, share_C / spread)
    per_share = slope / (spread * scale)
    if abs(per_share) > _SHIFT:
        per_share = float(np.copysign(_SHIFT, per_share))
        scale, offset, _ = _fitted(task, targets, raw + per_share * share_C, np.zeros(len(share_C)))
    return scale, scale * per_share * share_C + offset


def _fitted(
    task: Task, targets: Mapping[str, Tensor], raw_NC: np.ndarray, shift_C: np.ndarray
) -> tuple[float, float, float]:
    """The scale, offset and slope at which the loss of `raw_NC * scale + shift_C * slope + offset` is least."""
    raw, shift = torch.from_numpy(raw_NC), torch.from_numpy(shift_C).double()
    log_scale, offset, slope = (torch.zeros((), dtype=torch.float64, requires_grad=True) for _ in range(3))
    optimizer = torch.optim.LBFGS([log_scale, offset, slope], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = raw * log_scale.clamp(-10, 8).exp() + shift * slope + offset
        value = task.loss(logits, targets, label_smoothing=0.0)
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    return float(log_scale.detach().clamp(-10, 8).exp()), float(offset.detach()), float(slope.detach())


@torch.no_grad()
def _install(target: Tensor, value: np.ndarray) -> None:
    target.copy_(torch.from_numpy(value))


def _as_float64(x_ND: np.ndarray) -> np.ndarray:
    return x_ND.astype(np.float64)
