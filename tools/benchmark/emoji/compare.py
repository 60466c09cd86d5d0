"""automm against its peers on the emoji set, in one run; writes its part of docs/benchmarks.md.

    python tools/benchmark/emoji/compare.py --out /tmp/compared --write docs/benchmarks.md

makes what is missing under `--out`: the set (make_set.py; `--known FILE.csv` is trained on in place of a draw), the
frozen weights (make_weights.py) and a virtual environment with AutoGluon, which takes 6 GB. `--set`, `--weights` and
`--autogluon PYTHON` name such as are there already; `--autogluon none` leaves it out.

Everybody gets the same frozen weights and the same rows, and is judged on two tests: other emoji by the vendors that
were trained on, and by two others. automm's test split is the first; the second is answered by its bundle. Differences
to the probe are paired by row; their interval is a bootstrap over emoji, for drawings of one are no independent rows.
At last a run of two trials finds all features kept, and is timed from its command to its first trial.

What is finished under `--out` is kept: the same command goes on where one was stopped. `--fresh` measures anew, with
the set, weights and environment that are there.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import marked
import prepare
from figures import TESTS, rows
from section import Measured, section

from automm.run_dir import write_json
from automm.runtime import Predictor

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[2]
_CODE = ("automm", "conf", "tools", "setup.cfg")  # what figures may depend on


def automm(data: Path, weights: Path, run: Path, seed: int, more: Sequence[str]) -> None:
    """One run of the command line, or the rest of one that was stopped, and what its bundle answers."""
    command = _command(data, weights, run, seed, more)
    prepare.run(command)  # a finished run is shown again, and one of other settings refused
    if (run / "answers.json").exists():
        return
    predictor = Predictor.open(run / "bundle")
    answers = {}
    for test in TESTS:
        asked = [{"image": str(data / row["image"]), "name": row["name"]} for row in rows(data, test)]
        answers[test] = [each["answer"] for each in predictor.predict(asked)]
    write_json(run / "answers.json", answers)


def first_trial(run: Path, command: Sequence[str]) -> None:
    """Seconds from the command to the first trial, with the features that earlier runs kept; measured whole or not."""
    if _timed(run, command):
        return
    shutil.rmtree(run, ignore_errors=True)
    began = time.time()
    prepare.run(command)
    write_json(run / "asked.json", list(command))
    write_json(run / "first_trial.json", since(began, run / "log.jsonl"))


def _timed(run: Path, command: Sequence[str]) -> bool:
    """Whether the figure that is there is of this command, by whichever Python."""
    figure, question = run / "first_trial.json", run / "asked.json"
    if not (figure.exists() and question.exists()):
        return False
    asked: list[str] = json.loads(question.read_text(encoding="utf-8"))
    return asked[1:] == list(command[1:])


def since(began: float, log: Path) -> dict[str, float]:
    """Seconds from `began`, a time since the epoch, until the log of a run has a trial launched, and one done."""
    found: dict[str, float] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        found.setdefault(event["event"], round(event["time"] - began, 2))
    return {"launched": found["launch"], "done": found["tell"]}


def _command(data: Path, weights: Path, run: Path, seed: int, more: Sequence[str]) -> list[str]:
    return [
        sys.executable, "-m", "automm", "+task=classification", f"data.train={data / 'train.csv'}",
        f"data.test={data / 'same_vendors.csv'}", "data.target=subcategory", "data.group=unified", "data.drop=[vendor]",
        f"encoder.text.weights=local-dir:{weights / 'minilm'}", "encoder.image.model=tf_efficientnet_lite0",
        f"encoder.image.weights=file:{weights / 'effnet' / 'model.safetensors'}", "search.timeout=300", f"seed={seed}",
        f"run.dir={run}", f"cache_dir={run.parent / 'cache'}", *more,
    ]  # fmt: skip


def peer(script: str, python: str, data: Path, weights: Path, out: Path) -> None:
    """What a peer answers, or has answered to the same question."""
    answers, question = out / "answers.json", out / "asked.json"
    files = {"script": _HERE / script, **{split: data / f"{split}.csv" for split in ("train", *TESTS)}}
    hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    asked = json.dumps({"files": hashes, "weights": str(weights)})
    if not answers.exists():
        out.mkdir(parents=True, exist_ok=True)
        question.write_text(asked, encoding="utf-8")
        prepare.run([python, _HERE / script, "--set", data, "--weights", weights, "--out", out])
    if not question.exists() or question.read_text(encoding="utf-8") != asked:
        raise SystemExit(
            f"{answers} is for other rows or other weights, or by another {script}. "
            "Next: name another --out, or say --fresh."
        )


def measure(asked: argparse.Namespace, data: Path, weights: Path, out: Path) -> None:
    """Every step that is not finished, one after another."""
    session(out, "probe", done=(out / "probe" / "answers.json").exists(), whole=True)
    peer("probe.py", sys.executable, data, weights, out / "probe")
    if asked.autogluon != "none":
        there = (out / "autogluon" / "answers.json").exists() or asked.autogluon != "auto"
        python = asked.autogluon if there else prepare.autogluon_python(out / "autogluon-venv")
        session(out, "autogluon", done=(out / "autogluon" / "answers.json").exists(), whole=True)
        peer("autogluon_peer.py", python, data, weights, out / "autogluon")
    for seed in asked.seeds:
        step = f"automm-{seed}"
        _cache(out, step)
        session(out, step, done=(out / step / "answers.json").exists())
        automm(data, weights, out / step, seed, asked.overrides)
    run = out / "first-trial"
    command = _command(data, weights, run, asked.seeds[0], [*asked.overrides, "search.trials=2"])
    session(out, "first-trial", done=_timed(run, command), whole=True)
    first_trial(run, command)


def session(out: Path, step: str, *, done: bool, whole: bool = False) -> None:
    """Write down the day and the commit of whoever works on a step; one that is done `whole` has none of earlier."""
    path = out / "measured.json"
    sessions = _known(path)
    if not done:
        now = [datetime.date.today().isoformat(), commit()]
        earlier = [] if whole else [each for each in sessions.get(step, []) if each != now]
        sessions[step] = [*earlier, now]
    write_json(path, sessions)


def _cache(out: Path, step: str) -> None:
    """Write down, before a run begins, whether it finds features kept."""
    if not (out / step).exists():
        kept = any(path.is_file() for path in (out / "cache").rglob("*"))
        write_json(out / "caches.json", _known(out / "caches.json") | {step: "kept" if kept else "empty"})


def _known(path: Path) -> dict[str, Any]:
    """What was written down by step."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def commit() -> str:
    """The commit that this file is of, and whether code was changed since."""
    if shutil.which("git") is None:
        return "unknown"
    git = ["git", "-C", str(_ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode:
        return "unknown"
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", *_CODE], check=False).returncode
    return head.stdout.strip() + " with changes" * bool(changed)


def parsed(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder of all that is made and measured")
    parser.add_argument("--set", type=Path, help="made where it is missing (default: known or draw, under --out)")
    parser.add_argument("--known", type=Path, help="a CSV whose emoji the set trains on, in place of a draw")
    parser.add_argument("--weights", type=Path, help="made where they are missing (default: weights, under --out)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--autogluon", default="auto", metavar="auto|none|PYTHON", help="its virtual environment: the Python of one"
    )
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the section between its markers in this page")
    parser.add_argument("--section", help="name of the markers (default: that of the set's folder)")
    parser.add_argument("--fresh", action="store_true", help="throw away what an earlier run measured under --out")
    parser.add_argument("overrides", nargs="*", help="further overrides for automm")
    return parser.parse_args(argv)


def main() -> None:
    """Make, measure, print and write."""
    asked = parsed()
    out = asked.out.resolve()
    folder = (asked.set or out / ("known" if asked.known else "draw")).resolve()
    name = asked.section or folder.name
    if asked.write:
        marked.check(asked.write, name)
    if asked.autogluon not in ("auto", "none") and shutil.which(asked.autogluon) is None:
        raise SystemExit(
            f"--autogluon {asked.autogluon} is no program. Next: name the Python of an environment, or auto."
        )
    if asked.fresh:
        # at first, so that whatever ends this amid it leaves no figure with a day of another
        for file in (out / "measured.json", out / "caches.json"):
            file.unlink(missing_ok=True)
        for path in (out / "probe", out / "autogluon", out / "first-trial", out / "cache", *out.glob("automm-*")):
            shutil.rmtree(path, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    data = prepare.emoji_set(folder, asked.known)
    weights = prepare.frozen_weights((asked.weights or out / "weights").resolve())
    measure(asked, data, weights, out)
    found = Measured.read(out, data, asked.seeds, autogluon=asked.autogluon != "none")
    text = section(found, name, shlex.join(["python", os.path.relpath(__file__, _ROOT), *sys.argv[1:]]))
    print(text)
    if asked.write:
        marked.write(asked.write, name, text)


if __name__ == "__main__":
    main()
