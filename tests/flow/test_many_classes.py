"""Ten thousand classes are learnt by gradients, and served, as two are."""

import random

from automm.config import compose, to_settings
from automm.flow import run
from automm.runtime import Predictor

CLASSES = 10_000


def test_ten_thousand_classes_are_learnt_by_gradients_and_served(tmp_path, caplog):
    draw = random.Random(0)
    table = tmp_path / "things.csv"
    lines = [f"thing{row % CLASSES} thing{row % CLASSES} seen {draw.randrange(99)} number {row},class {row % CLASSES}"
             for row in range(2 * CLASSES)]  # fmt: skip
    table.write_text("\n".join(["said,kind", *lines]) + "\n", encoding="utf-8")
    asked = [
        "+task=classification",
        f"data.train={table}",
        "data.target=kind",
        "data.columns.said=text",
        "data.folds=1",
        "encoder/text=ngrams",
        "encoder.text.options.ngrams.width=1024",
        "fusion=concat",
        "fusion.options.concat.hidden=256",
        "training=gradient",
        "training.batch_size=256",
        "training.lr=0.005",
        "training.hidden=0",
        "search.trials=1",
        "search.min_epochs=1",
        "search.max_epochs=1",
        "training.epochs=3",
        "executor=in_process",
        "baselines.unimodal=false",
        f"run.dir={tmp_path / 'run'}",
        f"cache_dir={tmp_path / 'cache'}",
    ]
    with caplog.at_level("INFO"):
        values = run(to_settings(compose(asked), tmp_path, overrides=asked)).values
    assert "classes in" in caplog.text  # how many, and how many of them in one row alone
    assert values["test"]["accuracy"] > 0.1
    predictor = Predictor.open(tmp_path / "run" / "bundle")
    assert len(predictor.bundle.labels) > 0.9 * CLASSES
    asked = [{"said": line.rpartition(",")[0]} for line in lines[:200]]
    answers = [answered["answer"] for answered in predictor.predict(asked)]
    assert sum(answer == f"class {row}" for row, answer in enumerate(answers)) > 20
