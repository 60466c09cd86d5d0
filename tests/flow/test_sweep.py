"""Sweeps whose jobs finish: each in a directory of its own, with what its overrides asked for."""

import json
import os
import subprocess
import sys

import pytest

from .conftest import SMALL


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_every_job_of_a_sweep_leaves_its_result(launcher, tmp_path, finished):
    asked = [*SMALL, "search.trials=1", "search.max_epochs=1", "training.epochs=1", "baselines.unimodal=false"]
    asked = [o for o in asked if not o.startswith("fusion.name")] + [f"cache_dir={finished.run_dir.parent / 'cache'}"]
    command = [sys.executable, "-m", "automm", "-m", *asked, "seed=0", "fusion=concat,gated"]
    command += [f"hydra.sweep.dir={tmp_path / 'sweep'}", f"hydra/launcher={launcher}"]
    if launcher == "joblib":
        command += ["hydra.launcher.n_jobs=2"]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=alone)
    assert done.returncode == 0, done.stderr
    results = [json.loads(path.read_text()) for path in sorted((tmp_path / "sweep").glob("*/result.json"))]
    assert [r["best"]["candidate"]["fusion.name"] for r in results] == ["concat", "gated"]
    assert all("accuracy" in r["test"] and r["bundle"] for r in results)
