"""Tables of numbers, dates and categories, from the file to the bundle's answers."""

import json

import numpy as np
import pytest

from automm.config import compose, to_settings
from automm.flow import run
from automm.runtime import Predictor

KINDS = ("brick", "wood", "clay")


def houses(folder, n=300):
    """A price that depends on all columns but the date; some cells are empty."""
    random = np.random.default_rng(0)
    area, kind = random.uniform(20, 200, n), random.integers(0, 3, n)
    year = random.integers(1900, 2020, n)
    price = 1000 * area * (1 + kind) + 50 * (year - 1900)
    lines = [
        f"{'' if i % 17 == 0 else f'{area[i]:.1f} m²'},{'' if i % 19 == 0 else KINDS[kind[i]]},{year[i]},"
        f"{'' if i % 23 == 0 else f'{1 + i % 28}/{1 + i % 12}/2019'},{price[i]:.0f}"
        for i in range(n)
    ]
    path = folder / "houses.csv"
    path.write_text("\n".join(["area,walls,built,sold,price", *lines]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("fusion", ["concat", "ft_transformer"])
def test_a_regression_on_numbers_and_categories(fusion, tmp_path):
    asked = [
        "+task=regression",
        f"data.train={houses(tmp_path)}",
        "data.folds=1",
        "data.target=price",
        f"fusion={fusion}",
        "search.trials=1",
        "executor=in_process",
        "search.min_epochs=10",
        "search.max_epochs=10",
        "training.epochs=30",
        "training.lr=1e-2",
        "training.batch_size=32",
        f"run.dir={tmp_path / 'run'}",
        f"cache_dir={tmp_path / 'cache'}",
    ]
    done = run(to_settings(compose(asked), tmp_path, overrides=asked))
    assert done.values["test"]["rmse"] < 0.5 * done.values["baselines"]["majority"]["rmse"]
    assert {"numeric_only", "categorical_only"} <= set(done.values["baselines"])
    candidate = done.values["best"]["candidate"]
    assert candidate["encoder.numeric.name"] == "periodic"
    assert not any(path.startswith(("encoder.image", "encoder.text")) for path in candidate)
    predictor = Predictor.open(done.run_dir / "bundle")
    dear, cheap, unknown = predictor.predict(
        [
            {"area": "190 m²", "walls": "clay", "built": 2000, "sold": "31 March 2019"},
            {"area": 30, "walls": "brick", "built": 1950},
            {"walls": "straw"},  # nothing known but a category never seen
        ]
    )
    assert dear["answer"] > cheap["answer"]
    kinds = {field["name"]: field["preprocess"]["kind"] for field in predictor.bundle.manifest["fields"]}
    assert kinds == {"area": "numeric", "walls": "categorical", "built": "numeric", "sold": "date"}
    assert np.isfinite(unknown["answer"])
    assert (done.run_dir / "report.html").is_file()
    json.dumps(done.values, allow_nan=False)
