"""The run directory: what a run leaves behind, and how it goes on after a kill.

config.yaml  study.db  log.jsonl  checkpoints/  bundle/  report.html  result.json

Every file is written whole and renamed into place, so that a kill leaves the old one or the new one; `log.jsonl` and
`study.db` are append-only. A stage that is over is recorded in `checkpoints/stages.json` and not run again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from automm.errors import StudyError


class RunDir:
    """One run's files.

    Args:
        path: the folder; made if need be.

    Raises:
        StudyError: the path is a file, or a folder of something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists() and not path.is_dir():
            raise StudyError(f"run.dir={path} is a file. Next: give a folder, or leave run.dir out.")
        if path.is_dir() and any(path.iterdir()) and not self.config.exists():
            raise StudyError(
                f"run.dir={path} holds files but no config.yaml, so it is not a run of automm. "
                "Next: give an empty or a new folder, or that of a run to go on with."
            )
        self.checkpoints.mkdir(parents=True, exist_ok=True)

    @property
    def config(self) -> Path:
        """The composed configuration."""
        return self.path / "config.yaml"

    @property
    def study(self) -> Path:
        """The ledger of the search."""
        return self.path / "study.db"

    @property
    def checkpoints(self) -> Path:
        """Weights of trials, of the refit and of the baselines, and finished stages."""
        return self.path / "checkpoints"

    @property
    def bundle(self) -> Path:
        """What is served."""
        return self.path / "bundle"

    @property
    def result(self) -> Path:
        """The run's figures, the last file to be written."""
        return self.path / "result.json"

    def log(self, event: str, **values: Any) -> None:
        """Append one line to log.jsonl."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **values}, default=str)
        with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def finished(self, stage: str) -> dict[str, Any] | None:
        """What a stage that is over left, or None."""
        found: dict[str, Any] | None = self._stages().get(stage)
        return found

    def finish(self, stage: str, values: Mapping[str, Any]) -> None:
        """Record that a stage is over, and what it found."""
        write_json(self.checkpoints / "stages.json", {**self._stages(), stage: dict(values)})
        self.log("stage", stage=stage, **values)

    def _stages(self) -> dict[str, Any]:
        path = self.checkpoints / "stages.json"
        if not path.exists():
            return {}
        stages: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return stages


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it."""
    write_text(path, json.dumps(value, indent=1, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text so that a reader sees the old file or the new one, never half of it."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
