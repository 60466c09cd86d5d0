"""A finished run, read back for export: its best model and the settings it was exported by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from automm.errors import ExportError, StudyError
from automm.export.bundle import write_bundle
from automm.export.checkpoint import Trained, load_model
from automm.export.ensemble import load_members
from automm.settings import ExportSettings

BEST = Path("checkpoints") / "best"  # under the run directory, as `save_model` writes it
_DEFAULTS = ExportSettings(enabled=True, opset=20, tolerance=1e-4, golden=8)


@dataclass(frozen=True)
class Run:
    """What an export needs of a run."""

    trained: Trained
    settings: ExportSettings
    config_yaml: str


def load_run(run_dir: Path) -> Run:
    """The best model of the run in `run_dir`, its export settings and its configuration.

    Raises:
        StudyError: no run is there, it has no finished model, or its files are damaged.
    """
    config = run_dir / "config.yaml"
    if not config.is_file():
        raise StudyError(f"{run_dir} is no run: it holds no config.yaml. Next: give the run.dir of a run.")
    text = config.read_text(encoding="utf-8")
    try:
        composed = yaml.safe_load(text)
        export: dict[str, Any] = (composed.get("export") if isinstance(composed, dict) else None) or {}
        known = {key: export[key] for key in vars(_DEFAULTS) if key in export}
    except (yaml.YAMLError, AttributeError, TypeError) as error:
        raise StudyError(f"{config} cannot be read: {error}. Next: restore it, or run again.") from error
    trained = load_members((run_dir / BEST).parent) or load_model(run_dir / BEST)
    return Run(trained, replace(_DEFAULTS, **known), text)


def export_run(run_dir: Path, *, out: Path | None = None, opset: int | None = None) -> dict[str, Any]:
    """Export the best model of a run again; returns the manifest.

    Args:
        run_dir: the run's directory.
        out: the bundle's folder; None = `bundle` in the run's directory.
        opset: the ONNX operator set; None = what the run was configured with.

    Raises:
        StudyError: as `load_run`.
        ExportError: as `write_bundle`, or no such operator set.
    """
    if opset is not None and not 18 <= opset <= 23:
        raise ExportError(
            f"opset {opset} is not one torch exports to. Next: give one from 18 to 23; 20 is the tested one."
        )
    run = load_run(run_dir)
    settings = run.settings if opset is None else replace(run.settings, opset=opset)
    return write_bundle(out or run_dir / "bundle", run.trained, settings, config_yaml=run.config_yaml)
