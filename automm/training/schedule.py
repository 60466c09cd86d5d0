"""Learning-rate curves over the horizon of a fit, as factors of the candidate's rate.

They are functions of how far a fit has come alone, so that a paused trial continues on the curve it left.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

Schedule = Literal["one_cycle", "cosine", "wsd"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
_LEAST = 0.002  # of one_cycle, where it ends
_FLOOR = 0.1  # of cosine, where it ends: a gentler curve that still learns in its last epochs


def factor(schedule: Schedule, progress: float, *, warmup: float, decay: float) -> float:
    """The factor after `progress` (in (0, 1]) of the horizon.

    Args:
        schedule: `one_cycle` rises in a line and falls to nothing along a cosine (Smith & Topin 2019,
            arXiv:1708.07120); `cosine` the same down to a tenth; `wsd` rises, stays, and falls in the last `decay`
            of the horizon as 1 - sqrt (Hägele et al. 2024, arXiv:2405.18392).
        progress: the share of the horizon done, this step included.
        warmup: the share of the horizon that the rise takes.
        decay: the share that the fall of `wsd` takes.
    """
    if progress < warmup:
        return progress / warmup
    if schedule == "wsd":
        fall = (progress - (1 - decay)) / decay if decay else 0.0
        return 1.0 if fall <= 0 else max(0.0, 1 - math.sqrt(min(1.0, fall)))
    fallen = (1 + math.cos(math.pi * min(1.0, (progress - warmup) / max(1e-12, 1 - warmup)))) / 2
    return max(_LEAST, fallen) if schedule == "one_cycle" else _FLOOR + (1 - _FLOOR) * fallen
