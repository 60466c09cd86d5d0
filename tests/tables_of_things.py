"""Tables of pictures, words and colours, written to files and read by `TableSource`."""

import json

import pytest
from PIL import Image

from automm.data.sources.table import TableSource
from automm.errors import DataError

COLOURS = ["red", "green", "blue", "white"]


def rows(n=40, first=0):
    """Two rows share each picture."""
    return [
        {"picture": f"img/{first + i // 2}.png", "title": f"thing number {first + i}", "colour": COLOURS[i // 2 % 4],
         "who": f"person {first + i // 4}"}
        for i in range(n)
    ]  # fmt: skip


def pictures(folder, table):
    (folder / "img").mkdir(parents=True, exist_ok=True)
    for name in {row["picture"] for row in table if row["picture"]}:
        Image.new("RGB", (6, 5), (len(name), 0, 0)).save(folder / name)


def write_csv(path, table, delimiter=","):
    lines = [delimiter.join(table[0])] + [delimiter.join(map(str, row.values())) for row in table]
    path.write_text("\n".join(lines) + "\n")


def write_jsonl(path, table):
    path.write_text("\n".join(json.dumps(row) for row in table) + "\n\n")


def load(file, **options):
    asked = {"train": str(file), "target": "colour", "drop": ["who"], "folds": 1, **options}
    return TableSource(**asked).load(0, file.parent)


def failure(file, **options):
    with pytest.raises(DataError) as caught:
        load(file, **options)
    return str(caught.value)
