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
from typing import Any, BinaryIO

import yaml

from automm.errors import StudyError

_SESSIONS = "sessions"
_MAY_CHANGE = (
    "run.",
    "hydra.",
    "debug",
    "cache_dir",
    "cache_max_gb",
    "search.timeout",
    "export.",
)  # what does not change a run's numbers


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

    def create(self, config: Mapping[str, Any]) -> None:
        """Make the folder, and write the configuration it is a run of."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        if not self.config.exists():
            write_text(self.config, yaml.safe_dump(dict(config), sort_keys=False))

    def check(self, config: Mapping[str, Any]) -> None:
        """Raise StudyError when this is a run of another configuration."""
        if not self.config.exists():
            return
        begun = _flat(yaml.safe_load(self.config.read_text(encoding="utf-8")))
        now = _flat(yaml.safe_load(yaml.safe_dump(dict(config))))
        changed = [
            f"{key} was {begun.get(key)} and is now {now.get(key)}"
            for key in sorted(begun.keys() | now.keys())
            if begun.get(key) != now.get(key) and not key.startswith(_MAY_CHANGE)
        ]
        if changed:
            raise StudyError(
                f"run.dir={self.path} holds a run with other settings: {'; '.join(changed)}. "
                "Next: give the settings it was begun with, or another run.dir."
            )

    def stored_result(self) -> dict[str, Any] | None:
        """What a finished run found; None while it is not finished."""
        if not self.result.exists():
            return None
        values: dict[str, Any] = json.loads(self.result.read_text(encoding="utf-8"))
        return values

    def spent(self) -> float:
        """Seconds of wall time that earlier sessions took."""
        return float((self.finished(_SESSIONS) or {}).get("seconds", 0.0))

    def spend(self, seconds: float) -> None:
        """Record the wall time of all sessions so far."""
        write_json(self._stage_file, {**self._stages(), _SESSIONS: {"seconds": seconds}})

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
        line = json.dumps({"time": round(time.time(), 3), "event": event, **values}, default=str) + "\n"
        with (self.path / "log.jsonl").open("a+b") as file:
            if file.tell() and not _ends_a_line(file):
                line = "\n" + line  # a kill cut the last one short
            file.write(line.encode())

    def finished(self, stage: str) -> dict[str, Any] | None:
        """What a stage that is over left, or None."""
        found: dict[str, Any] | None = self._stages().get(stage)
        return found

    def finish(self, stage: str, values: Mapping[str, Any]) -> None:
        """Record that a stage is over, and what it found."""
        write_json(self._stage_file, {**self._stages(), stage: dict(values)})
        self.log("stage", stage=stage, **values)

    @property
    def _stage_file(self) -> Path:
        return self.checkpoints / "stages.json"

    def _stages(self) -> dict[str, Any]:
        if not self._stage_file.exists():
            return {}
        stages: dict[str, Any] = json.loads(self._stage_file.read_text(encoding="utf-8"))
        return stages


def _ends_a_line(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            out.update(_flat(value, f"{prefix}{key}."))
        else:
            out[f"{prefix}{key}"] = value
    return out


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
