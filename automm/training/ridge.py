"""Ridge regression with its leave-one-out predictions: in one pass over the rows, or among few rows of many features.

Shape legend: N rows of D numbers, P features, C outputs, S supports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch

from automm.errors import TrialFailed

_CHUNK = 1024
_NEGLIGIBLE = 1e-10  # of the largest eigenvalue: directions the supports do not span

FeatureMap = Callable[[np.ndarray], np.ndarray]  # [N, D] -> float64 [N, P]
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]  # x [N, D], y [N, C], weight [N]


@dataclass(frozen=True)
class Ridge:
    """A solved regression: `phi(x) @ weight_PC + bias_C`."""

    phi: FeatureMap
    weight_PC: np.ndarray
    bias_C: np.ndarray
    mean_P: np.ndarray
    inverse_PP: np.ndarray  # of the regularised second moments: what the leverage of a row comes from
    total: float  # of the weights

    def left_out(self, x_ND: np.ndarray, y_NC: np.ndarray, weight_N: np.ndarray) -> np.ndarray:
        """What a fit without it would give each training row, [N, C]; exact, for ridge is linear in the targets."""
        starts = range(0, len(x_ND), _CHUNK)
        parts = [slice(start, start + _CHUNK) for start in starts]
        return np.concatenate([self._left_out(x_ND[part], y_NC[part], weight_N[part]) for part in parts])

    def _left_out(self, x_ND: np.ndarray, y_NC: np.ndarray, weight_N: np.ndarray) -> np.ndarray:
        phi_NP = self.phi(x_ND)
        centred_NP = phi_NP - self.mean_P
        share_N = weight_N / self.total
        leverage_N = share_N * (1 + (centred_NP @ self.inverse_PP * centred_NP).sum(1))
        fitted_NC = phi_NP @ self.weight_PC + self.bias_C
        out_NC: np.ndarray = y_NC - (y_NC - fitted_NC) / np.clip(1 - leverage_N, 1e-6, None)[:, None]
        return out_NC


def solve(phi: FeatureMap, blocks: Iterable[Rows], l2: float) -> Ridge:
    """Minimise the weighted mean squared error + l2 |weight|^2 over `weight_PC` and an unpenalised bias.

    Args:
        phi: features of rows; called a block at a time.
        blocks: all rows in pieces, each `x_ND`, their targets `y_NC` and how much each counts, `weight_N`.
        l2: added to the diagonal of the features' weighted second moments.
    """
    sums = list[np.ndarray]()
    for x_ND, y_NC, weight_N in blocks:
        phi_NP, y = phi(x_ND), y_NC.astype(np.float64)
        scaled_NP = phi_NP * weight_N[:, None]
        moments = [weight_N.sum(keepdims=True), scaled_NP.sum(0), weight_N @ y, scaled_NP.T @ phi_NP, scaled_NP.T @ y]
        for each, more in zip(sums, moments, strict=False):  # none are there at first
            each += more
        sums = sums or moments
    assert sums  # a table has rows
    total = float(sums[0][0])
    for each in sums[1:]:
        each /= total
    mean_P, mean_C, centred_PP, cross_PC = sums[1:]
    for row, mean in zip(centred_PP, mean_P, strict=True):
        row -= mean * mean_P
    inverse_PP = _inverse(centred_PP, np.full(len(mean_P), l2))
    weight_PC = inverse_PP @ (cross_PC - np.outer(mean_P, mean_C))
    return Ridge(phi, weight_PC, mean_C - mean_P @ weight_PC, mean_P, inverse_PP, total)


@dataclass(frozen=True)
class Dual:
    """A regression that was solved among its rows: `kernel to the training rows @ weight_NC + bias_C`."""

    weight_NC: np.ndarray
    bias_C: np.ndarray
    left_out_NC: np.ndarray  # what a fit without it would give each training row; exact, the penalty being the same


def solve_kernel(kernel_NN: np.ndarray, y_NC: np.ndarray, weight_N: np.ndarray, l2: float) -> Dual:
    """The same minimum for features that are a kernel's, all rows its supports; costs N^3, however many features.

    So are plain features, whose kernel is the products of the rows x: their weights are `x.T @ weight_NC`, and where
    rows are fewer than features that is cheaper than `solve`. The dual of ridge regression (Saunders et al., ICML 1998)
    with an unpenalised bias, and its leave-one-out predictions (Cawley and Talbot, Neural Networks 17, 2004).

    Args:
        kernel_NN: symmetric, without negative eigenvalues; it is spent.
        y_NC: targets.
        weight_N: how much each row counts.
        l2: as `solve` takes it.

    Raises:
        TrialFailed: `l2` is too small for these rows to determine a solution.
    """
    inverse_NN = _inverse(kernel_NN, l2 * weight_N.sum() / np.maximum(weight_N, 1e-12))
    sum_N, y = inverse_NN.sum(0), y_NC.astype(np.float64)
    bias_C = sum_N @ y / sum_N.sum()
    weight_NC = inverse_NN @ (y - bias_C)
    left_N = np.maximum(np.diag(inverse_NN) - sum_N**2 / sum_N.sum(), np.finfo(np.float64).tiny)
    return Dual(weight_NC, bias_C, y - weight_NC / left_N[:, None])


def _inverse(matrix_NN: np.ndarray, penalty_N: np.ndarray) -> np.ndarray:
    """Of a symmetric matrix without negative eigenvalues + diag(penalty_N), by Cholesky: half the work of any other.

    The sum takes the matrix's place.

    Raises:
        TrialFailed: the penalty is too small for the sum to have one.
    """
    matrix_NN.flat[:: len(matrix_NN) + 1] += penalty_N
    lower, broke_down = torch.linalg.cholesky_ex(torch.from_numpy(matrix_NN))
    if int(broke_down):
        raise TrialFailed("training.l2 is too small for these rows to determine a solution")
    inverse_NN: np.ndarray = torch.cholesky_inverse(lower).numpy()
    return inverse_NN


def gaussian(x_ND: np.ndarray, supports_SD: np.ndarray, gamma: float) -> np.ndarray:
    """exp(-gamma |x - s|^2), float64 [N, S]."""
    out_NS = squared_distances(x_ND, supports_SD)
    out_NS *= -gamma
    np.exp(out_NS, out=out_NS)
    return out_NS


def squared_distances(x_ND: np.ndarray, supports_SD: np.ndarray) -> np.ndarray:
    """|x - s|^2, float64 [N, S]."""
    x, s = x_ND.astype(np.float64), supports_SD.astype(np.float64, copy=False)
    return _distances(x @ s.T, (x**2).sum(1), (s**2).sum(1))


def distances_among(products_NN: np.ndarray) -> np.ndarray:
    """Products of rows with each other, which are spent -> |x - x'|^2, float64 [N, N]."""
    square_N = np.diag(products_NN).copy()
    return _distances(products_NN, square_N, square_N)


def _distances(products_NS: np.ndarray, square_N: np.ndarray, square_S: np.ndarray) -> np.ndarray:
    products_NS *= -2
    products_NS += square_N[:, None]
    products_NS += square_S
    np.maximum(products_NS, 0.0, out=products_NS)
    return products_NS


def nystroem(kernel_SS: np.ndarray) -> np.ndarray:
    """[S, P]: kernel values to the supports @ this = features whose products are the kernel (Williams, Seeger 2001).

    Args:
        kernel_SS: of every support with every support.
    """
    values_S, vectors_SS = np.linalg.eigh(kernel_SS)
    kept = values_S > _NEGLIGIBLE * values_S[-1]
    out_SP: np.ndarray = vectors_SS[:, kept]
    out_SP /= np.sqrt(values_S[kept])
    return out_SP
