"""Resident memory of a search over a table, as the table grows; prints a table for docs/benchmarks.md.

    python tools/benchmark/memory.py --rows 20000 60000 100000 --weights /tmp/weights --out /tmp/memory [OVERRIDE ...]

Makes tables of so many rows, one image to ten rows (32 px PNG, all different), a text and two numbers that are
different in every row, and 20 classes; then runs the command line on each: frozen EfficientNet-lite0 (weights from
emoji/make_weights.py) on images, hashed n-grams on texts, two trials with what the search may choose from. Memory is
what all processes of the run hold together, from /proc five times a second, a page that several share counted once:
pages of its own (anonymous), and those with mapped files. Linux only.
"""

from __future__ import annotations

import argparse
import csv
import io
import subprocess
import sys
import time
from pathlib import Path
from typing import TextIO

import numpy as np
from PIL import Image

CLASSES = 20
ROWS_AN_IMAGE = 10
WORDS = 5000


def make(folder: Path, rows: int, seed: int = 0) -> Path:
    """A table of `rows` rows and its images; an image tells its class, a text and a number hint at it."""
    rng = np.random.default_rng(seed)
    (folder / "img").mkdir(parents=True, exist_ok=True)
    path = folder / "table.csv"
    grounds = rng.integers(0, 256, (CLASSES, 4, 4, 3))
    classes = rng.integers(0, CLASSES, -(-rows // ROWS_AN_IMAGE))
    for at, label in enumerate(classes):
        pixels = np.clip(np.kron(grounds[label], np.ones((8, 8, 1))) + rng.normal(0, 40, (32, 32, 3)), 0, 255)
        stream = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG", compress_level=1)
        (folder / "img" / f"{at}.png").write_bytes(stream.getvalue())
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["picture", "words", "width", "height", "label"])
        for row in range(rows):
            image = row // ROWS_AN_IMAGE
            label = classes[image]
            words = " ".join(f"w{word}" for word in (*rng.integers(0, WORDS, 7), WORDS + label))
            width, height = rng.normal(label, 5), rng.normal()
            writer.writerow([f"img/{image}.png", f"{words} n{row}", f"{width:.6f}", f"{height:.6f}", f"class {label}"])
    return path


def watched(command: list[str], timeline: TextIO | None = None) -> tuple[float, float, float]:
    """Run it; seconds, and the most gigabytes of anonymous and of all resident memory its processes ever held.

    A timeline gets a line a sample: seconds, both together, and both of each process.
    """
    began = time.monotonic()
    process = subprocess.Popen(command)
    own = resident = 0.0
    while process.poll() is None:
        held = [_held(pid) for pid in _family(process.pid)]
        owned, held_in_all = sum(h[0] for h in held), sum(h[1] for h in held)
        own, resident = max(own, owned), max(resident, held_in_all)
        if timeline is not None:
            each = " ".join(f"{one / 1e6:.2f}/{all_ / 1e6:.2f}" for one, all_ in held)
            timeline.write(f"{time.monotonic() - began:.1f} {owned / 1e6:.2f}/{held_in_all / 1e6:.2f} {each}\n")
            timeline.flush()
        time.sleep(0.2)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return time.monotonic() - began, own / 1e6, resident / 1e6


def _family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):  # gone meanwhile
            continue
        parents.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found


def _held(pid: int) -> tuple[float, float]:
    """Anonymous and proportional resident memory of a process in kB: pages that n processes map count 1/n for each."""
    try:
        lines = (Path("/proc") / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:  # gone meanwhile
        return 0.0, 0.0
    sizes = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith(("Pss:", "Pss_Anon:"))}
    return float(sizes.get("Pss_Anon", 0)), float(sizes.get("Pss", 0))


def main() -> None:
    """Make, run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 60_000, 100_000])
    parser.add_argument("--timeline", type=Path, help="write down what is held when, GB of its own/resident")
    parser.add_argument("overrides", nargs="*", help="further overrides for automm")
    asked = parser.parse_args()
    weights, out = asked.weights.resolve(), asked.out.resolve()
    timeline = None if asked.timeline is None else asked.timeline.open("w", encoding="utf-8")
    found, lines = [], ["| rows | images | seconds | GB of its own | GB resident |", "|---|---|---|---|---|"]
    for rows in asked.rows:
        folder = out / str(rows)
        table = folder / "table.csv"
        table = table if table.exists() else make(folder, rows)
        seconds, own, resident = watched([
            sys.executable, "-m", "automm", "+task=classification", f"data.train={table}", "data.target=label",
            "encoder/text=ngrams", "encoder.image.model=tf_efficientnet_lite0",
            "encoder.image.options.timm.image_size=32",
            f"encoder.image.weights=file:{weights / 'effnet' / 'model.safetensors'}", "search.trials=2",
            f"cache_dir={out / 'cache'}", f"run.dir={folder / f'run-{time.time_ns()}'}", *asked.overrides,
        ], timeline)  # fmt: skip
        found.append((rows, resident))
        lines.append(f"| {rows:,} | {-(-rows // ROWS_AN_IMAGE):,} | {seconds:.0f} | {own:.2f} | {resident:.2f} |")
        print("\n".join(lines), flush=True)  # after every table, for the next one may take long
    if len(found) > 1:
        (few, least), (many, most) = found[0], found[-1]
        grown = (most - least) / (many - few)
        million = least + grown * (1_000_000 - few)
        print(f"\n{grown * 1e6:.1f} kB a row more; 1,000,000 rows at that rate: {million:.1f} GB")


if __name__ == "__main__":
    main()
