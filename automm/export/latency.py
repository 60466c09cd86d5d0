"""How long a bundle takes on this machine, with what the machine is: a number without its processor says nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from automm.runtime import cpu
from automm.runtime.predictor import Predictor

_WARM_UP = 3
_SIZES = (1, 16)


def measure_latency(predictor: Predictor, rows: Sequence[Mapping[str, Any]], *, repeats: int = 20) -> dict[str, Any]:
    """Median and 95th percentile, in milliseconds a call, for 1 and for 16 rows.

    `total` is from raw rows to answers, `graph` the network alone.

    Returns:
        Plain JSON: `cpu`, `threads`, `repeats` and, in `batches`, an entry a batch size.
    """
    batches = []
    for size in _SIZES:
        chunk = [rows[at % len(rows)] for at in range(size)]
        arrays = predictor.arrays(chunk)
        total = _milliseconds(lambda chunk=chunk: predictor.predict(chunk), repeats)  # type: ignore[misc]
        graph = _milliseconds(lambda arrays=arrays: predictor.run(arrays), repeats)  # type: ignore[misc]
        batches.append({"rows": size, "total_ms": total, "graph_ms": graph})
    return {"cpu": cpu.describe(), "threads": predictor.threads, "repeats": repeats, "batches": batches}


def _milliseconds(call: Callable[[], Any], repeats: int) -> dict[str, float]:
    taken = []
    for _ in range(_WARM_UP + repeats):
        start = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - start))
    median, high = np.percentile(taken[_WARM_UP:], [50, 95])
    return {"median": round(float(median), 4), "p95": round(float(high), 4)}
