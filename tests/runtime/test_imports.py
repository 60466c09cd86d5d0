"""Serving needs numpy, ONNX Runtime, Pillow and tokenizers; a process in which nothing else exists proves it."""

from pathlib import Path

from base_install import SERVING, with_only

STORED = Path(__file__).parents[1] / "golden" / "bundle_1"
SCRIPT = """
from automm.runtime import Bundle, Predictor

predictor = Predictor.open(sys.argv[1], threads=1)
print([said["answer"] for said in predictor.predict([{"question": "what is it ?"}, {}])])
assert not {"torch", "transformers", "timm", "hydra"} & set(sys.modules)
"""


def test_the_runtime_serves_without_torch_or_anything_else():
    done = with_only(SERVING, SCRIPT, STORED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['wordy', 'unsure']"
