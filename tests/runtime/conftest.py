import json
import shutil
from pathlib import Path

import pytest

from automm.runtime import Predictor

STORED = Path(__file__).parents[1] / "golden" / "bundle_1"


@pytest.fixture
def bundle(tmp_path):
    """A copy of the stored bundle, to be damaged at will."""
    return Path(shutil.copytree(STORED, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def predictor():
    return Predictor.open(STORED, threads=1)


@pytest.fixture
def edit_manifest():
    """Changes a bundle's manifest in place."""

    def edit(folder, change):
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))

    return edit
