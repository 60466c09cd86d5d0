"""Serving needs numpy, ONNX Runtime, Pillow and tokenizers; a process in which nothing else exists proves it."""

import subprocess
import sys
import textwrap
from pathlib import Path

STORED = Path(__file__).parents[1] / "golden" / "bundle_1"
SCRIPT = """
import sys

ALLOWED = set(sys.stdlib_module_names) | {"automm", "numpy", "onnxruntime", "PIL", "tokenizers"}


class OnlyTheBase:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ALLOWED:
            raise ModuleNotFoundError(f"No module named {name!r} (forbidden here)", name=name)


sys.meta_path.insert(0, OnlyTheBase())
from automm.runtime import Bundle, Predictor

predictor = Predictor.open(sys.argv[1], threads=1)
print([said["answer"] for said in predictor.predict([{"question": "what is it ?"}, {}])])
assert not {"torch", "transformers", "timm", "hydra"} & set(sys.modules)
"""


def test_the_runtime_serves_without_torch_or_anything_else():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(SCRIPT), str(STORED)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['wordy', 'unsure']"
