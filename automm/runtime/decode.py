"""How a row's scores become an answer, without torch: a manifest's `task.decode` names one of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from automm.errors import BundleError, near_miss

Decode = Callable[[np.ndarray, Sequence[str], int], dict[str, Any]]
ARGMAX = "argmax label"
HALF_OR_MORE = "labels of half or more"
NUMBER = "number"
EMBEDDINGS = "embeddings"
HALF = 0.5


def argmax_label(scores_C: np.ndarray, labels: Sequence[str], top: int) -> dict[str, Any]:
    """`answer`: the best label; `scores`: the `top` best labels and their scores, best first."""
    order = np.argsort(-scores_C, kind="stable")[: max(top, 1)]
    return {
        "answer": labels[int(order[0])],
        "scores": {labels[int(at)]: float(scores_C[at]) for at in order[:top]},
    }


def half_or_more(scores_C: np.ndarray, labels: Sequence[str], top: int) -> dict[str, Any]:
    """`answer`: the labels whose score is half or more; `scores`: the `top` best labels; both best first."""
    order = np.argsort(-scores_C, kind="stable")
    return {
        "answer": [labels[int(at)] for at in order if scores_C[at] >= HALF],
        "scores": {labels[int(at)]: float(scores_C[at]) for at in order[:top]},
    }


def number(scores_C: np.ndarray, _labels: Sequence[str], _top: int) -> dict[str, Any]:
    """`answer`: the only score there is."""
    return {"answer": float(scores_C[0])}


def embeddings(scores_C: np.ndarray, labels: Sequence[str], _top: int) -> dict[str, Any]:
    """`answer`: the vector of every field that is there, by its name; what is all zeros is not there."""
    parts = dict(zip(labels, np.split(scores_C, len(labels)), strict=True))
    return {"answer": {label: part.tolist() for label, part in parts.items() if part.any()}}


DECODES: dict[str, Decode] = {
    ARGMAX: argmax_label,
    HALF_OR_MORE: half_or_more,
    NUMBER: number,
    EMBEDDINGS: embeddings,
}


def decoder(kind: str) -> Decode:
    """The function a manifest names.

    Raises:
        BundleError: this automm knows no such way to decode.
    """
    if kind not in DECODES:
        raise BundleError(
            f"the bundle decodes by {kind!r}, unknown here. {near_miss(kind, DECODES)} Next: upgrade automm."
        )
    return DECODES[kind]
