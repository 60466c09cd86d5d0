"""Clips of a data set, proved readable before anything trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import automm
from automm.data.image_files import Check, Raw, broken_files
from automm.runtime.audio import check_readable, duration

CLIP_CHECKS: dict[Check, Callable[[Any], object]] = {"header": duration, "decode": check_readable}


def broken_clips(clips: Sequence[Raw], mode: Check, cache_dir: Path | None = None) -> dict[Raw, str]:
    """What is wrong with each raw clip that cannot be read, in a phrase.

    `header` opens every one, which finds a WAV that was cut short; `decode` reads it to the end as well. With a
    `cache_dir`, files that passed before and whose size and time stamp are as they were are not read again.

    Raises:
        MissingExtra: a format needs a package that is not installed.
    """
    return broken_files(clips, CLIP_CHECKS[mode], f"audio {mode}, automm {automm.__version__}", cache_dir)
