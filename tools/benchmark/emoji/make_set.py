"""The emoji set: what two vendors draw to train on, other emoji by the same vendors and by two others to test on.

    python tools/benchmark/emoji/make_set.py --out /tmp/emoji

Needs npm, which fetches the packages emoji-datasource-{google,twitter,apple,facebook} 16.0.0 (Google's Noto,
Apache-2.0; Twitter's Twemoji, CC-BY 4.0; the drawings of Apple and Facebook are theirs, for measuring only). Writes
train.csv, same_vendors.csv, other_vendors.csv and the images they name. A seeded draw shares the emoji out, or a table
you have does (`--known FILE.csv`): those of its column `unified` are trained on and the rest tested on. Both drawings
of one are on one side.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np

VERSION = "16.0.0"
TRAINED, OTHERS = ("google", "twitter"), ("apple", "facebook")
SHARE = 0.7  # of the emoji that are trained on
COLUMNS = ("image", "name", "subcategory", "unified", "vendor")


def make(out: Path, seed: int, known: Path | None = None) -> None:
    """Fetch, draw or read off what is trained on, and write."""
    if shutil.which("npm") is None:
        raise SystemExit("npm, which fetches the drawings, is not on PATH. Next: install Node.js.")
    out.mkdir(parents=True, exist_ok=True)
    emoji: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for vendor in (*TRAINED, *OTHERS):
            found = _fetched(vendor, Path(folder), out / "img" / vendor)
            emoji = emoji or found
    emoji = sorted((e for e in emoji if all(e[f"has_img_{v}"] for v in TRAINED)), key=lambda e: str(e["unified"]))
    if known is None:
        order = np.random.default_rng(seed).permutation(len(emoji))
        cut = round(SHARE * len(emoji))
    else:
        with known.open(newline="", encoding="utf-8") as stream:
            listed = {row["unified"] for row in csv.DictReader(stream)}
        if strange := listed - {each["unified"] for each in emoji}:
            raise SystemExit(f"{known} names {len(strange)} emoji that {VERSION} lacks: {min(strange)}, ...")
        order = np.argsort([each["unified"] not in listed for each in emoji], kind="stable")
        cut = sum(each["unified"] in listed for each in emoji)
    parts = {
        "train": (order[:cut], TRAINED),
        "same_vendors": (order[cut:], TRAINED),
        "other_vendors": (order[cut:], OTHERS),
    }
    classes = {emoji[at]["subcategory"] for at in order[:cut]}
    for name, (numbers, vendors) in parts.items():
        rows = [
            {**_row(emoji[at]), "image": f"img/{vendor}/{emoji[at]['image']}", "vendor": vendor}
            for at in sorted(numbers)
            for vendor in vendors
            if emoji[at][f"has_img_{vendor}"] and emoji[at]["subcategory"] in classes
        ]
        with (out / f"{name}.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        print(f"{name}: {len(rows)} rows, {len({row['subcategory'] for row in rows})} subcategories")


def _row(emoji: dict[str, object]) -> dict[str, object]:
    return {key: emoji[key] for key in ("name", "subcategory", "unified")}


def _fetched(vendor: str, folder: Path, images: Path) -> list[dict[str, object]]:
    """The package's list of emoji; its 64-pixel drawings are unpacked into `images`."""
    package = f"emoji-datasource-{vendor}@{VERSION}"
    subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    images.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / f"emoji-datasource-{vendor}-{VERSION}.tgz") as archive:
        emoji: list[dict[str, object]] = []
        for member in archive:
            path = Path(member.name)
            stream = archive.extractfile(member)
            if stream is not None and path.name == "emoji.json":
                emoji = json.load(stream)
            elif stream is not None and path.parent == Path("package/img", vendor, "64"):
                (images / path.name).write_bytes(stream.read())
    return emoji


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--seed", type=int, default=0, help="of the draw")
    how.add_argument("--known", type=Path, help="a CSV whose emoji are trained on, in place of a draw")
    asked = parser.parse_args()
    make(asked.out, asked.seed, asked.known)
