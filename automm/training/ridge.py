"""Ridge regression with its leave-one-out predictions: in one pass over the rows, or among few rows of many features.

Rows that belong together are left out together, for a system of their number (Cook and Weisberg 1982, chapter 3).

Shape legend: N rows of D numbers, P features, C outputs, S supports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import blas, lapack

from automm.errors import TrialFailed

_LEAST = 1e-6  # of a row that its own leverage leaves to the others
_TINY = float(np.finfo(np.float64).tiny)
_NEGLIGIBLE = 1e-10  # of all eigenvalues together, or of the largest: directions that are rounding
_TOO_SMALL = "training.l2 is too small for these rows to determine a solution"
_NO_KERNEL = "the kernel among training.supports rows cannot be factored; the features they have may not be finite"

FeatureMap = Callable[[np.ndarray], np.ndarray]  # [N, D] -> float64 [N, P]
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]  # x [N, D], y [N, C], weight [N]


@dataclass(frozen=True)
class Ridge:
    """A solved regression: `phi(x) @ weight_PC + bias_C`."""

    phi: FeatureMap
    weight_PC: np.ndarray
    bias_C: np.ndarray
    mean_P: np.ndarray
    root_PP: np.ndarray  # lower triangular R, R.T @ R the inverse of the regularised second moments: for leverages
    total: float  # of the weights
    mean_C: np.ndarray  # of the targets, weighted

    def errors(self, x_ND: np.ndarray, y_NC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """By how much training rows are missed, [N, C], and [N, P] whose products are, but for weights, leverages."""
        phi_NP = self.phi(x_ND)
        return y_NC - (phi_NP @ self.weight_PC + self.bias_C), (phi_NP - self.mean_P) @ self.root_PP.T

    def left_out(self, y_NC: np.ndarray, weight_N: np.ndarray, error_NC: np.ndarray, z_NP: np.ndarray) -> np.ndarray:
        """What a fit without it would give each training row, [N, C]; exact, for ridge is linear in the targets.

        Args:
            y_NC: as `solve` had them.
            weight_N: likewise.
            error_NC: what `errors` says of these rows, and so does the next.
            z_NP: see there.
        """
        leverage_N = weight_N / self.total * (1 + np.square(z_NP).sum(1))
        out_NC: np.ndarray = y_NC - error_NC / np.clip(1 - leverage_N, _LEAST, None)[:, None]
        return out_NC

    def group_left_out(
        self, y_NC: np.ndarray, weight_N: np.ndarray, error_NC: np.ndarray, z_NP: np.ndarray
    ) -> np.ndarray:
        """What a fit without any of these training rows would give them, as `left_out` takes and returns it."""
        rooted_N = np.sqrt(weight_N / self.total)
        kept_NN = np.eye(len(y_NC)) - np.outer(rooted_N, rooted_N) * (1 + z_NP @ z_NP.T)
        out_NC: np.ndarray = y_NC - _solve_small(kept_NN, error_NC * rooted_N[:, None]) / rooted_N[:, None]
        return out_NC


def solve(phi: FeatureMap, blocks: Iterable[Rows], l2: float) -> Ridge:
    """Minimise the weighted mean squared error + l2 |weight|^2 over `weight_PC` and an unpenalised bias.

    Args:
        phi: features of rows; called a block at a time.
        blocks: all rows in pieces, each `x_ND`, their targets `y_NC` and how much each counts, `weight_N`.
        l2: added to the diagonal of the features' weighted second moments.
    """
    total, sums = 0.0, list[np.ndarray]()
    second_PP = np.empty(0)
    for x_ND, y_NC, weight_N in blocks:
        phi_NP, y = phi(x_ND), y_NC.astype(np.float64)
        if not sums:
            features, outputs = phi_NP.shape[1], y.shape[1]
            sums = [np.zeros(features), np.zeros(outputs), np.zeros((features, outputs))]
            second_PP = np.zeros((features, features), order="F")
        total += float(weight_N.sum())
        for each, more in zip(sums, (weight_N @ phi_NP, weight_N @ y, phi_NP.T @ (y * weight_N[:, None])), strict=True):
            each += more
        rooted_NP = phi_NP * np.sqrt(weight_N)[:, None]
        second_PP = blas.dsyrk(1.0, rooted_NP.T, beta=1.0, c=second_PP, overwrite_c=1, lower=1)
    for each in (*sums, second_PP):
        each /= total
    mean_P, mean_C, cross_PC = sums
    centred_PP = blas.dsyr(-1.0, mean_P, a=second_PP, overwrite_a=1, lower=1)
    root_PP = _inverse_root(centred_PP, np.full(len(mean_P), l2), _TOO_SMALL)
    weight_PC = root_PP.T @ (root_PP @ (cross_PC - np.outer(mean_P, mean_C)))
    return Ridge(phi, weight_PC, mean_C - mean_P @ weight_PC, mean_P, root_PP, total, mean_C)


@dataclass(frozen=True)
class Dual:
    """A regression that was solved among its rows: `kernel to the training rows @ weight_NC + bias_C`."""

    weight_NC: np.ndarray
    bias_C: np.ndarray
    left_out_NC: np.ndarray  # what a fit without it, or its group, would give each row; exact, the penalty the same


def solve_kernel(
    kernel_NN: np.ndarray,
    y_NC: np.ndarray,
    weight_N: np.ndarray,
    l2: float,
    *,
    groups: Sequence[np.ndarray] = (),
) -> Dual:
    """The same minimum for features that are a kernel's, all rows its supports; costs N^3, however many features.

    So are plain features, whose kernel is the products of the rows x: their weights are `x.T @ weight_NC`, and where
    rows are fewer than features that is cheaper than `solve`. The dual of ridge regression (Saunders et al., ICML 1998)
    with an unpenalised bias, and its leave-one-out predictions (Cawley and Talbot, Neural Networks 17, 2004).

    Args:
        kernel_NN: symmetric, without negative eigenvalues; it is spent.
        y_NC: targets.
        weight_N: how much each row counts.
        l2: as `solve` takes it.
        groups: row numbers of several rows that are left out together; any other row is left out alone.

    Raises:
        TrialFailed: `l2` is too small for these rows to determine a solution.
    """
    root_NN = _inverse_root(kernel_NN.T, l2 * weight_N.sum() / np.maximum(weight_N, 1e-12), _TOO_SMALL)
    sum_N, y = root_NN.T @ root_NN.sum(1), y_NC.astype(np.float64)
    bias_C = sum_N @ y / sum_N.sum()
    weight_NC = root_NN.T @ (root_NN @ (y - bias_C))
    diagonal_N = np.einsum("rn,rn->n", root_NN, root_NN)
    left_N = np.maximum(diagonal_N - sum_N**2 / sum_N.sum(), _TINY)
    left_out_NC = y - weight_NC / left_N[:, None]
    for at_G in groups:
        inverse_GG = root_NN[:, at_G].T @ root_NN[:, at_G] - np.outer(sum_N[at_G], sum_N[at_G]) / sum_N.sum()
        left_out_NC[at_G] = y[at_G] - _solve_small(inverse_GG, weight_NC[at_G])
    return Dual(weight_NC, bias_C, left_out_NC)


def _solve_small(matrix_GG: np.ndarray, y_GC: np.ndarray) -> np.ndarray:
    """matrix^-1 @ y for a symmetric matrix without negative eigenvalues, the least of which may be mere rounding."""
    value_G, vector_GG = np.linalg.eigh(matrix_GG)
    least = max(_NEGLIGIBLE * float(value_G[-1]), _TINY)
    found_GC: np.ndarray = vector_GG @ ((vector_GG.T @ y_GC) / np.maximum(value_G, least)[:, None])
    return found_GC


def _inverse_root(matrix_NN: np.ndarray, penalty_N: np.ndarray, why: str) -> np.ndarray:
    """R, lower triangular, R.T @ R the inverse of a symmetric matrix without negative eigenvalues + diag(penalty_N).

    By Cholesky and in the matrix's place, which is in Fortran's order and of which the lower triangle is read: neither
    time nor memory for what half of the numbers say.

    Raises:
        TrialFailed: the sum has no inverse; `why` says what that comes from.
    """
    matrix_NN[np.diag_indices(len(matrix_NN))] += penalty_N
    lower_NN, broke_down = lapack.dpotrf(matrix_NN, lower=1, clean=1, overwrite_a=1)
    if not broke_down:
        root_NN, broke_down = lapack.dtrtri(lower_NN, lower=1, overwrite_c=1)
    if broke_down:
        raise TrialFailed(why)
    found_NN: np.ndarray = root_NN
    return found_NN


def gaussian(x_ND: np.ndarray, supports_SD: np.ndarray, gamma: float) -> np.ndarray:
    """exp(-gamma |x - s|^2), float64 [N, S]."""
    out_NS = squared_distances(x_ND, supports_SD)
    out_NS *= -gamma
    np.exp(out_NS, out=out_NS)
    return out_NS


def squared_distances(x_ND: np.ndarray, supports_SD: np.ndarray) -> np.ndarray:
    """|x - s|^2, float64 [N, S]."""
    x, s = x_ND.astype(np.float64), supports_SD.astype(np.float64, copy=False)
    return _distances(x @ s.T, *(np.einsum("nd,nd->n", each, each) for each in (x, s)))


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


class Nystroem:
    """Features whose products are about those of a Gaussian kernel (Williams and Seeger, NIPS 2001): P = S of them.

    Args:
        supports_SD: float64.
        kernel_SS: of every support with every support; it is spent.
        gamma: as `gaussian` takes it.
    """

    def __init__(self, supports_SD: np.ndarray, kernel_SS: np.ndarray, gamma: float) -> None:
        self.supports_SD, self.gamma = supports_SD, gamma
        alike = np.full(len(kernel_SS), _NEGLIGIBLE * np.trace(kernel_SS))  # supports that are one make no zero
        self._root_SS = _inverse_root(
            kernel_SS.T,
            alike,
            _NO_KERNEL,
        )

    def __call__(self, x_ND: np.ndarray) -> np.ndarray:
        """float64 [N, S]."""
        kernel_NS = gaussian(x_ND, self.supports_SD, self.gamma)
        features_SN: np.ndarray = blas.dtrmm(1.0, self._root_SS, kernel_NS.T, lower=1, overwrite_b=1)  # in its place
        return features_SN.T

    def on_kernel(self, weight_SC: np.ndarray) -> np.ndarray:
        """Weights of the features -> of the kernel's values, [S, C] both."""
        of_kernel_SC: np.ndarray = self._root_SS.T @ weight_SC
        return of_kernel_SC
