"""Check a finished run of the VQA task: `python tools/check_run.py RUN_DIR`. Exit status 1 names what does not hold."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from automm.choices import for_modalities
from automm.config import compose, to_settings

FILES = ("config.yaml", "study.db", "log.jsonl", "report.html", "result.json", "bundle/manifest.json")
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "seconds": ("search", "refit", "baselines", "total"),
    "data": ("rows", "skipped"),
    "trials": ("total", "completed", "pruned", "failed"),
    "best": ("candidate", "overrides", "valid"),
    "test": ("accuracy", "accuracy/relational", "accuracy/non_relational"),
    "baselines": ("majority", "image_only", "text_only", "defaults"),
    "explained": ("split", "rows", "metric", "whole"),
    "removed": ("image", "text"),
    "importance": ("image", "text"),
    "calibration": ("temperature", "ece_before", "ece_after"),
}
SCALARS = {"schema": int, "task": str, "seed": int, "stopped_by": str, "bundle": str, "versions": dict, "cpu": dict}


def main() -> int:
    """Print every complaint; 0 when there is none."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    found = list(complaints(Path(sys.argv[1])))
    for complaint in found:
        print(complaint, file=sys.stderr)
    if not found:
        print(f"{sys.argv[1]} is whole: files, result.json, bundle, predictions, the winner's command")
    return 1 if found else 0


def complaints(run: Path) -> Iterator[str]:
    """Everything about a run that is not as it should be."""
    missing = [name for name in FILES if not (run / name).is_file() or not (run / name).stat().st_size]
    yield from (f"{run / name} is missing or empty" for name in missing)
    if missing:
        return
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    yield from _keys(result)
    yield from _figures(result)
    yield from _report(run / "report.html")
    yield from _winner(result)
    yield from _study(run, result)
    yield from _predictions(run / "bundle")


def _keys(result: Mapping[str, Any]) -> Iterator[str]:
    for key, kind in SCALARS.items():
        if not isinstance(result.get(key), kind):
            yield f"result.json: {key} is {result.get(key)!r}, not a {kind.__name__}"
    for section, keys in SECTIONS.items():
        yield from (f"result.json: no {section}.{key}" for key in keys if key not in result.get(section, {}))
    if result.get("schema") != 1:
        yield f"result.json: schema {result.get('schema')}, not 1"


def _figures(result: Mapping[str, Any]) -> Iterator[str]:
    shares = {"test": result.get("test", {}), **result.get("baselines", {})}
    for name, values in shares.items():
        for metric, value in values.items():
            if metric.startswith("accuracy") and not 0 <= value <= 1:
                yield f"result.json: {name} {metric} is {value}, no share"
        if "accuracy" not in values:
            yield f"result.json: {name} has no accuracy"
    trials = result.get("trials", {})
    if trials.get("total") != sum(count for state, count in trials.items() if state != "total"):
        yield f"result.json: the trials do not add up: {trials}"
    seconds = result.get("seconds", {})
    if seconds and seconds["total"] < seconds["search"]:
        yield f"result.json: less time in total than in the search: {seconds}"


def _report(path: Path) -> Iterator[str]:
    page = path.read_text(encoding="utf-8")
    if "Plotly.newPlot" not in page or "data:image/" not in page:
        yield f"{path} shows no figures or no images"
    if re.search(r'<(script|img|link)[^>]*(src|href)="https?:', page):
        yield f"{path} is not self-contained"


def _winner(result: Mapping[str, Any]) -> Iterator[str]:
    words = list(result["best"]["overrides"])
    if not any(word.startswith("+task=") for word in words):
        words.insert(0, f"+task={result['task']}")
    again = for_modalities(to_settings(compose(words), Path.cwd()).space, ("image", "text"))
    if again.defaults() != result["best"]["candidate"]:
        yield f"best.overrides make another candidate: {again.defaults()}"


def _study(run: Path, result: Mapping[str, Any]) -> Iterator[str]:
    done = _automm("study", str(run), "--json")
    if done.returncode:
        yield f"automm study fails: {done.stderr.strip()}"
        return
    rows = json.loads(done.stdout)
    if len(rows) != result["trials"]["total"]:
        yield f"automm study lists {len(rows)} trials, result.json counts {result['trials']['total']}"
    wanted = {"number", "state", "candidate", "values", "reason"}
    yield from (
        f"automm study: trial {row.get('number')} lacks {wanted - row.keys()}" for row in rows if wanted - row.keys()
    )


def _predictions(bundle: Path) -> Iterator[str]:
    golden = bundle / "golden"
    rows = json.loads((golden / "rows.json").read_text(encoding="utf-8"))["rows"]
    plain = [{n: str(golden / v["file"]) if isinstance(v, dict) else v for n, v in row.items()} for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "rows.jsonl", Path(folder) / "answers.jsonl"
        asked.write_text("".join(json.dumps(row) + "\n" for row in plain), encoding="utf-8")
        done = _automm("predict", str(bundle), str(asked), "--out", str(answered))
        if done.returncode:
            yield f"automm predict fails: {done.stderr.strip()}"
            return
        answers = [json.loads(line) for line in answered.read_text(encoding="utf-8").splitlines()]
    if len(answers) != len(plain) or not all(isinstance(answer.get("answer"), str) for answer in answers):
        yield f"automm predict answers {len(plain)} rows with {answers}"


def _automm(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "automm", *words], capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
