"""Several models as one graph."""

import json

import numpy as np
import onnx
import pytest
import torch
from small_models import make_trained

from automm.errors import StudyError
from automm.export.bundle import write_bundle
from automm.export.checkpoint import save_model
from automm.export.ensemble import MEMBERS, combined, load_members
from automm.export.parity import parity_batches, torch_scores
from automm.export.run import load_run
from automm.runtime import Predictor

WEIGHTS = {"best": 0.75, "member_0003": 0.25}
VALID = {"accuracy": 0.6}


@pytest.fixture(scope="module")
def members(trained):
    """Both with the encoders of one seed; the second has another fusion, and its own items for what is missing."""
    return {"best": trained, "member_0003": make_trained("gated")}


def mean(members, rows):
    return sum(weight * torch_scores(members[name], rows) for name, weight in WEIGHTS.items())


def test_probabilities_are_averaged_and_missing_items_are_each_members_own(members):
    whole = combined(members, WEIGHTS, VALID)
    assert whole.metrics == {"valid": VALID}
    for rows in parity_batches(whole.rows, ["image", "question"]):
        np.testing.assert_allclose(torch_scores(whole, rows), mean(members, rows), atol=1e-6)


def test_only_encoders_that_are_the_same_are_shared(members):
    assert combined(members, WEIGHTS, VALID).model.shared == ("image", "question")
    other = make_trained("gated")
    with torch.no_grad():
        next(other.model.encoders[0].parameters()).add_(1.0)
    apart = combined({**members, "member_0003": other}, WEIGHTS, VALID)
    assert apart.model.shared == ("question",)
    rows = list(apart.rows)
    expected = 0.75 * torch_scores(members["best"], rows) + 0.25 * torch_scores(other, rows)
    np.testing.assert_allclose(torch_scores(apart, rows), expected, atol=1e-6)


def test_the_bundle_is_one_graph_in_which_a_shared_encoder_runs_once(members, settings, bundle, tmp_path):
    manifest = write_bundle(tmp_path / "bundle", combined(members, WEIGHTS, VALID), settings)
    assert [each["weight"] for each in manifest["members"]] == [0.75, 0.25]
    assert manifest["members"][1]["candidate"]["fusion.name"] == "gated"

    def convolutions(folder):
        return sum(node.op_type == "Conv" for node in onnx.load(str(folder / "model.fp32.onnx")).graph.node)

    assert convolutions(tmp_path / "bundle") == convolutions(bundle) > 0
    rows = [{"question": "how many?"}, dict(members["best"].rows[0])]
    found = Predictor.open(tmp_path / "bundle").scores(rows)
    np.testing.assert_allclose(found, mean(members, rows), atol=1e-5)


def test_a_finished_run_says_what_it_combined(members, run_dir, tmp_path):
    for name, each in members.items():
        save_model(tmp_path / "checkpoints" / name, each)
    (tmp_path / "config.yaml").write_text((run_dir / "config.yaml").read_text())
    assert load_members(tmp_path / "checkpoints") is None
    assert not load_run(tmp_path).trained.members
    said = tmp_path / "checkpoints" / MEMBERS
    said.write_text(json.dumps({"weights": WEIGHTS, "valid": VALID}))
    rows = list(members["best"].rows)
    np.testing.assert_allclose(torch_scores(load_run(tmp_path).trained, rows), mean(members, rows), atol=1e-6)
    said.write_text("{")
    with pytest.raises(StudyError, match=r"ensemble\.json cannot be read"):
        load_run(tmp_path)
