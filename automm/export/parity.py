"""Proof that a bundle is the same function as the model it was made from: raw rows in, scores out, on both sides.

The torch side goes as training does (distinct items, expanded by rows), the other as serving does (a Predictor on the
written bundle, its preprocessing read back from disk), so that whatever differs between the two shows here.

Shape legend: B rows, C outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from automm.errors import ExportError
from automm.export.checkpoint import Trained
from automm.runtime.distinct import distinct
from automm.runtime.predictor import Predictor
from automm.types import Batch

Row = Mapping[str, Any]
MOST_ROWS = 16


def check_parity(trained: Trained, predictor: Predictor, rows: Sequence[Row], *, tolerance: float) -> dict[str, Any]:
    """Compare the two at every batch of `parity_batches`.

    Returns:
        Plain JSON for the manifest: `tolerance`, `max_abs`, and for each batch `rows`, `missing` (cells), `max_abs`.

    Raises:
        ExportError: their scores are further apart than `tolerance`, or are not finite.
    """
    checked = []
    for batch in parity_batches(rows, list(trained.preprocessors)):
        expected, found = torch_scores(trained, batch), predictor.scores(batch, batch_size=len(batch))
        apart = float(np.abs(expected - found).max()) if expected.shape == found.shape else float("inf")
        missing = sum(row.get(name) is None for row in batch for name in trained.preprocessors)
        checked.append({"rows": len(batch), "missing": missing, "max_abs": apart})
        if not apart <= tolerance:
            raise ExportError(
                f"the exported model is not the trained one: on {len(batch)} rows with {missing} missing cells their "
                f"scores are {apart:.3g} apart, {tolerance:.3g} is allowed (export.tolerance, in their "
                "scale). No bundle was written. "
                "Next: report it to the encoder or fusion in use, or choose another."
            )
    return {"tolerance": tolerance, "max_abs": max(each["max_abs"] for each in checked), "batches": checked}


def parity_batches(rows: Sequence[Row], fields: Sequence[str]) -> list[list[dict[str, Any]]]:
    """One whole row; one row for each missing field; a few with each field missing in turn; as many as are given.

    Raises:
        ExportError: there is no row to prove anything on.
    """
    if not rows:
        raise ExportError("an export is proved on raw rows, and none were given. Next: give at least one.")
    whole = [{name: row.get(name) for name in fields} for row in rows[:MOST_ROWS]]
    without = [{**whole[at % len(whole)], name: None} for at, name in enumerate(fields)]
    return [whole[:1], *([row] for row in without), [*without, whole[-1]], [*whole, *without]]


def torch_scores(trained: Trained, rows: Sequence[Row]) -> np.ndarray:
    """What the model itself says of raw rows, [B, C], computed on the device it is on."""
    model = trained.model
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    batch = Batch({}, {}, {})
    for name, preprocess in trained.preprocessors.items():
        values, index, present = distinct([row.get(name) for row in rows])
        batch.inputs[name] = {
            k: torch.from_numpy(np.ascontiguousarray(v)).to(device) for k, v in preprocess(values).items()
        }
        batch.rows[name] = torch.from_numpy(index).to(device)
        batch.present[name] = torch.from_numpy(present).to(device)
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        scores = model.probabilities(batch, trained.task).float().cpu().numpy()
    model.train(was_training)
    return np.asarray(scores)
