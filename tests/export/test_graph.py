import numpy as np
import onnx
import pytest
from small_models import make_text_only, make_trained

from automm.export.graph import export_graph, graph_inputs
from automm.runtime.images import ImagePreprocess


def test_names_are_the_fields_and_their_keys(trained):
    inputs = graph_inputs(trained.preprocessors)
    assert [each.name for each in inputs] == ["image", "question.ids", "question.mask", "present"]
    assert [each.optional for each in inputs] == [True, True, True, False]
    assert inputs[0].shape == ("batch", 3, 20, 24)
    assert inputs[1].shape == ("batch", "question.length")


def test_a_field_may_be_called_anything():
    one = ImagePreprocess(size=(4, 4))
    text = make_trained().preprocessors["question"]
    inputs = graph_inputs({"present": one, "scores": one, "a": text, "a.ids": one})
    names = [each.name for each in inputs]
    assert len(set(names)) == len(names)
    assert "scores" not in names
    assert names[-1] == "present_"


@pytest.mark.slow
def test_weights_too_large_for_one_file_lie_beside_it(tmp_path):
    trained = make_text_only()
    inputs = graph_inputs(trained.preprocessors)
    ready = trained.preprocessors["question"](["a b", "c d e"])
    arrays = {"question.ids": ready["ids"], "question.mask": ready["mask"], "present": np.ones((2, 1), bool)}
    file = tmp_path / "model.onnx"
    export_graph(file, model=trained.model, task=trained.task, inputs=inputs, arrays=arrays, opset=20, single_file=1000)
    assert (tmp_path / "model.onnx.data").is_file()
    onnx.checker.check_model(str(file))
