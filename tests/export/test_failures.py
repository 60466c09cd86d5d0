"""What cannot be exported leaves nothing behind, or the bundle that was there before."""

from dataclasses import replace

import pytest
from small_models import make_text_only, make_trained
from torch import nn

from automm.errors import ExportError
from automm.export.bundle import write_bundle


class Wilful(nn.Module):
    """A head whose control flow depends on the data, which no graph can hold."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, x_BD):
        return self.head(x_BD) if x_BD.sum() > 0 else self.head(-x_BD)


def test_a_model_that_cannot_be_traced_is_an_export_error(tmp_path, settings):
    trained = make_text_only()
    trained.model.heads[0] = Wilful(trained.model.heads[0])
    former = tmp_path / "bundle"
    former.mkdir()
    (former / "manifest.json").write_text("{}")
    with pytest.raises(ExportError, match=r"torch cannot export this model to ONNX opset 20: \w+:.*Next"):
        write_bundle(former, trained, settings)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert (former / "manifest.json").read_text() == "{}"


def test_a_failed_proof_leaves_no_bundle(tmp_path, settings):
    with pytest.raises(ExportError, match="No bundle was written"):
        write_bundle(tmp_path / "bundle", make_text_only(), replace(settings, tolerance=-1.0))
    assert not list(tmp_path.iterdir())


FUSIONS = ["late", "gated", "mfb", "lmf", "film", "cross_attention", "merged_transformer", "bottleneck", "relation"]


@pytest.mark.parametrize(
    "fusion", [name if name == "cross_attention" else pytest.param(name, marks=pytest.mark.slow) for name in FUSIONS]
)
def test_every_fusion_exports(tmp_path, settings, fusion):
    small = {"fusion.options.cross_attention.layers": 1} if fusion == "cross_attention" else {}
    manifest = write_bundle(tmp_path / "bundle", make_trained(fusion, **small), settings)
    assert manifest["graphs"][0]["variants"][0]["parity"]["given"]["max_abs"] < 1e-5
