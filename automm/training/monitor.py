"""Watches gradients: norms of the whole and of each branch, and what is wrong with them, said in a sentence.

Norms are taken every few steps, so that watching costs next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

import torch
from torch import Tensor, nn

from automm.errors import TrialFailed

_JUMP = 1000.0  # times the usual norm: exploding
_SILENT = 1e-6  # of the whole model's norm: a branch that vanishes
_NOTHING = 1e-9  # a whole model's norm that moves nothing
_DIVERGED = 5.0  # times the loss of the first steps
_FIRST = 8  # samples that say what is usual
_TOTAL = "total"


@dataclass(frozen=True)
class Finding:
    """Something that went wrong with a branch's gradients."""

    kind: Literal["exploding", "vanishing"]
    branch: str  # `encoder.<field>`, `fusion`, `head`, or `total`
    epoch: int  # counted from 1
    sentence: str


class GradientMonitor:
    """Keeps sampled norms and findings; ends a trial that is beyond hope.

    Args:
        branches: trainable parameters by branch name.
        every: steps from one sample to the next.
        scaled: losses are scaled up for half precision and steps that overflow are skipped, so that a gradient that
            is not finite is no failure while the loss is.
    """

    def __init__(
        self, branches: Mapping[str, Sequence[nn.Parameter]], *, every: int = 16, scaled: bool = False
    ) -> None:
        trained = {name: [p for p in parameters if p.requires_grad] for name, parameters in branches.items()}
        self._branches = {name: parameters for name, parameters in trained.items() if parameters}
        self.every = every
        self.scaled = scaled
        self.norms: list[dict[str, float]] = []
        self.findings: list[Finding] = []
        self._first_losses: list[float] = []
        self._epoch_start = 0  # where this epoch's samples begin

    def due(self, step: int) -> bool:
        """Whether to sample in this step; the first ones are, for they say what is usual."""
        return step < _FIRST or step % self.every == 0

    def sample(self, *, progress: float, loss: float, lr: float) -> None:
        """Look at the gradients of a step that was just taken back.

        Args:
            progress: epochs done, as a fraction.
            loss: of the step's batch.
            lr: the learning rate, for the sentence.

        Raises:
            TrialFailed: the loss or a gradient is not a number.
        """
        norms = self._measure()
        bad = [name for name, norm in norms.items() if not math.isfinite(norm)]
        if bad and self.scaled and math.isfinite(loss):
            return
        self.norms.append({"epoch": progress, **norms})
        if len(self._first_losses) < _FIRST:
            self._first_losses.append(loss)
        if not math.isfinite(loss) or bad:
            raise TrialFailed(self._not_finite(progress, loss, lr, [name for name in bad if name != _TOTAL]))
        self._look_for_jumps(int(progress) + 1)

    def check_loss(self, *, progress: float, loss: float, lr: float) -> None:
        """Raise TrialFailed unless the loss of a step is a number; cheap enough for every step."""
        if not math.isfinite(loss):
            raise TrialFailed(self._not_finite(progress, loss, lr, []))

    def close_epoch(self, epoch: int, loss: float) -> None:
        """Judge an epoch, counted from 1, by its samples and its mean loss.

        Raises:
            TrialFailed: the loss has gone far above where it began, or nothing is learnt any more.
        """
        samples, self._epoch_start = self.norms[self._epoch_start :], len(self.norms)
        first = median(self._first_losses) if self._first_losses else loss
        if loss > _DIVERGED * max(first, 0.1):
            raise TrialFailed(
                f"training diverged: the mean loss of epoch {epoch} is {loss:.3g}, of the first steps {first:.3g}. "
                "A smaller learning rate or a longer warm-up would help."
            )
        if samples:
            self._look_for_silence(epoch, {k: median(s[k] for s in samples) for k in (_TOTAL, *self._branches)})
            usual = median(s[_TOTAL] for s in samples)
            if usual < _NOTHING and loss > first / 2:
                raise TrialFailed(
                    f"no gradient reaches any weight: the median norm of epoch {epoch} is {usual:.1g}, while the loss "
                    f"is still {loss:.3g} ({first:.3g} in the first steps)."
                )

    def state(self) -> dict[str, Any]:
        """Plain JSON that `restore` takes."""
        findings = [asdict(finding) for finding in self.findings]
        return {"norms": self.norms, "findings": findings, "first_losses": self._first_losses}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        self.norms = [dict(norms) for norms in state["norms"]]
        self.findings = [Finding(**finding) for finding in state["findings"]]
        self._first_losses = list(state["first_losses"])
        self._epoch_start = len(self.norms)

    def _measure(self) -> dict[str, float]:
        squares: dict[str, Tensor] = {}
        for name, parameters in self._branches.items():
            grads = [p.grad for p in parameters if p.grad is not None]
            if grads:
                squares[name] = torch.stack(torch._foreach_norm(grads)).float().square().sum()
        if not squares:
            return {_TOTAL: 0.0, **dict.fromkeys(self._branches, 0.0)}
        values = torch.stack(list(squares.values())).tolist()  # one transfer from the device
        found = {name: math.sqrt(value) for name, value in zip(squares, values, strict=True)}
        return {_TOTAL: math.sqrt(sum(values)), **{name: found.get(name, 0.0) for name in self._branches}}

    def _not_finite(self, progress: float, loss: float, lr: float, branches: Sequence[str]) -> str:
        last = next((n for n in reversed(self.norms) if math.isfinite(n[_TOTAL])), None)
        before = f" The last gradient norm before that was {last[_TOTAL]:.3g}." if last else ""
        where = f" in {', '.join(branches)}" if branches else ""
        what = f"the training loss became {loss}" if not math.isfinite(loss) else f"gradients{where} are not finite"
        return f"{what} in epoch {int(progress) + 1}, at a learning rate of {lr:.2g}.{before}"

    def _look_for_jumps(self, epoch: int) -> None:
        if len(self.norms) <= _FIRST:
            return
        for name in self._branches:
            now, usual = self.norms[-1][name], median(n[name] for n in self.norms[-200:-1])
            if now > _JUMP * usual > 0:
                self._find(
                    "exploding",
                    name,
                    epoch,
                    f"In epoch {epoch} the gradient of {name} jumped to {now:.2g}, {now / usual:.0f} times its usual "
                    f"{usual:.2g}: a smaller learning rate or a lower training.grad_clip would steady it.",
                )

    def _look_for_silence(self, epoch: int, usual: Mapping[str, float]) -> None:
        for name in self._branches:
            if usual[name] <= _SILENT * usual[_TOTAL]:
                self._find(
                    "vanishing",
                    name,
                    epoch,
                    f"In epoch {epoch} almost no gradient reached {name} (median norm {usual[name]:.1g}, the whole "
                    f"model's {usual[_TOTAL]:.1g}): that part is not learning.",
                )

    def _find(self, kind: Literal["exploding", "vanishing"], branch: str, epoch: int, sentence: str) -> None:
        """Note it once a branch and kind."""
        if not any(f.kind == kind and f.branch == branch for f in self.findings):
            self.findings.append(Finding(kind, branch, epoch, sentence))
