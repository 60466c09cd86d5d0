"""Markdown tables of finished runs: what each found and measured, and what every fusion reached in their searches.

For runs made by `automm +task=vqa seed=0 run.dir=runs/0` and the like:

    python tools/benchmark/runs_table.py runs/0 runs/1
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from automm.search.history import History
from automm.search.study import Study

METRICS = ("accuracy", "accuracy/non_relational", "accuracy/relational")


def found(runs: Sequence[Path]) -> str:
    """A line a run: its seed, minutes, winner, and test metrics of the winner and of its baselines."""
    lines = ["| seed | minutes | found | overall | non-relational | relational | defaults, relational | text only |"]
    lines.append("|---" * 8 + "|")
    for run in runs:
        result = json.loads((run / "result.json").read_text(encoding="utf-8"))
        test, baselines = result["test"], result["baselines"]
        cells = [
            result["seed"],
            f"{result['seconds']['total'] / 60:.1f}",
            result["best"]["candidate"]["fusion.name"],
            *(_percent(test, metric) for metric in METRICS),
            _percent(baselines.get("defaults", {}), "accuracy/relational"),
            _percent(baselines.get("text_only", {}), "accuracy"),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def fusions(runs: Sequence[Path]) -> str:
    """A line a fusion: trials, and the best validation accuracy any of them had after so many epochs."""
    reached: dict[str, dict[int, float]] = defaultdict(dict)
    trials: dict[str, int] = defaultdict(int)
    for run in runs:
        with Study.open(run / "study.db", readonly=True) as study:
            for trial in History.of(study).trials:
                fusion = str(trial.candidate["fusion.name"])
                trials[fusion] += 1
                for epoch, values in trial.reports:
                    reached[fusion][epoch] = max(values["accuracy"], reached[fusion].get(epoch, 0.0))
    measured = {epoch for curve in reached.values() for epoch in curve}
    epochs = sorted(epoch for epoch in measured if epoch in (1, 2, 4, 8, 16, max(measured)))
    lines = ["| fusion | trials | " + " | ".join(f"epoch {epoch}" for epoch in epochs) + " |"]
    lines.append("|---" * (2 + len(epochs)) + "|")
    for fusion in sorted(trials, key=lambda name: -max(reached[name].values(), default=0.0)):
        cells = [_percent(reached[fusion], epoch) for epoch in epochs]
        lines.append(f"| {fusion} | {trials[fusion]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _percent(values: dict[Any, float], name: Any) -> str:
    return f"{100 * values[name]:.1f}" if name in values else "–"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    runs = parser.parse_args().runs
    print(f"{found(runs)}\n\nBest validation accuracy by fusion, in percent:\n\n{fusions(runs)}")


if __name__ == "__main__":
    main()
