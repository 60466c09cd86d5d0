"""One run, exported once by the tool; most tests look at what it made."""

import pytest
from small_models import make_trained, tool_main

from automm.export.checkpoint import save_model
from automm.settings import ExportSettings


@pytest.fixture(scope="session")
def settings():
    return ExportSettings(enabled=True, opset=20, tolerance=1e-4, golden=4)


@pytest.fixture(scope="session")
def trained():
    made = make_trained()
    made.model.temperature.fill_(1.7)  # as a calibrated one has
    return made


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory, trained):
    """What a finished run leaves for the export tool."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "config.yaml").write_text("export:\n  opset: 20\n  tolerance: 1.0e-4\n  golden: 4\n")
    save_model(folder / "checkpoints" / "best", trained)
    return folder


@pytest.fixture(scope="session")
def bundle(run_dir):
    """The bundle that the tool makes of it."""
    assert tool_main([str(run_dir)]) == 0
    return run_dir / "bundle"
