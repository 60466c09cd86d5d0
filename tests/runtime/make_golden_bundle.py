"""Writes the stored bundle of the current schema: `python tests/runtime/make_golden_bundle.py`. Never run by a test.

Its graph is written by hand, so that the runtime is tested without torch: label 0 scores by the picture's brightness,
label 1 by the sum of the question's token ids, label 2 by what is missing.
"""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from tokenizers import Tokenizer, models, pre_tokenizers

from automm.runtime.images import ImagePreprocess
from automm.runtime.kinds import save_preprocess
from automm.runtime.manifest import MANIFEST, SCHEMA
from automm.runtime.predictor import Predictor
from automm.runtime.rows import write_rows
from automm.runtime.texts import TextPreprocess

FOLDER = Path(__file__).parents[1] / "golden" / f"bundle_{SCHEMA}"
LABELS = ["bright", "wordy", "unsure"]
GRAPH = """
<ir_version: 9, opset_import: ["" : 20]>
tiny (uint8[batch,3,8,8] image, int64[batch,length] ids, bool[batch,length] mask, bool[batch,2] present)
     => (float[batch,3] scores)
<int64[3] chw = {1, 2, 3}, int64[1] last = {1}, float[1] white = {127.5}, float[1] weight = {0.2},
 int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}>
{
  pixels = Cast <to = 1> (image)
  sum_B = ReduceMean <keepdims = 0> (pixels, chw)
  bright_B = Div (sum_B, white)
  mask_int = Cast <to = 7> (mask)
  valid = Mul (ids, mask_int)
  valid_float = Cast <to = 1> (valid)
  words_B = ReduceSum <keepdims = 0> (valid_float, last)
  wordy_B = Mul (words_B, weight)
  bright_B1 = Unsqueeze (bright_B, last)
  wordy_B1 = Unsqueeze (wordy_B, last)
  both_B2 = Concat <axis = 1> (bright_B1, wordy_B1)
  there_B2 = Cast <to = 1> (present)
  known_B2 = Mul (both_B2, there_B2)
  absent_B2 = Not (present)
  gone_B2 = Cast <to = 1> (absent_B2)
  gone_B1 = ReduceSum <keepdims = 1> (gone_B2, last)
  logits = Concat <axis = 1> (known_B2, gone_B1)
  scores = Softmax <axis = 1> (logits)
}
"""


def tokenizer():
    words = ["<pad>", "<unk>", "what", "is", "it", "?", "red", "blue"]
    made = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def tensor(name, field, key, dtype, shape, optional=True):
    return {"name": name, "field": field, "key": key, "dtype": dtype, "shape": shape, "optional": optional}


def write(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    onnx.save(onnx.parser.parse_model(GRAPH), str(folder / "model.fp32.onnx"))
    fields = []
    preprocessors = {
        "image": ("image", ImagePreprocess(size=(8, 8))),
        "question": ("text", TextPreprocess(tokenizer=tokenizer(), max_length=6)),
    }
    for at, (name, (modality, preprocess)) in enumerate(preprocessors.items()):
        place = f"preprocess/{at}"
        saved = {**save_preprocess(preprocess, folder / place), "folder": place}
        fields.append({"name": name, "modality": modality, "preprocess": saved})
    inputs = [
        tensor("image", "image", "pixels", "uint8", ["batch", 3, 8, 8]),
        tensor("ids", "question", "ids", "int64", ["batch", "length"]),
        tensor("mask", "question", "mask", "bool", ["batch", "length"]),
        tensor("present", None, None, "bool", ["batch", 2], optional=False),
    ]
    rng = np.random.default_rng(0)
    rows = [
        {"image": rng.integers(0, 255, (10, 12, 3), np.uint8), "question": "what is it ?"},
        {"image": np.full((8, 8, 3), 250, np.uint8)},
        {"question": "red blue red"},
    ]
    write_rows(folder / "golden", rows, {"image": "image", "question": "text"})
    (folder / "config.yaml").write_text("seed: 0\n")
    manifest = {
        "schema": SCHEMA,
        "task": {"name": "vqa", "decode": "argmax label", "labels": LABELS},
        "fields": fields,
        "graphs": [
            {
                "name": "model",
                "inputs": inputs,
                "outputs": [{"name": "scores", "dtype": "float32", "shape": ["batch", 3]}],
                "variants": [{"name": "fp32", "file": "model.fp32.onnx", "requires": []}],
            }
        ],
        "golden": {"tolerance": 1e-3},
        "versions": {"automm": "0.1.0"},
        "files": {},
    }
    (folder / "golden" / "expected.json").write_text(json.dumps({"scores": []}))
    list_files(folder, manifest)
    predictor = Predictor.open(folder, verify=False)
    scores = predictor.scores(predictor.golden()[0]).round(6).tolist()
    (folder / "golden" / "expected.json").write_text(json.dumps({"scores": scores}) + "\n")
    list_files(folder, manifest)


def list_files(folder, manifest):
    """Write the manifest with the hash of every file there is."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    manifest["files"] = {
        path.relative_to(folder).as_posix(): {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in files
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    write(FOLDER)
