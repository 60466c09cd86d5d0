import json

import pytest
from tables_to_describe import png


@pytest.fixture
def write(tmp_path):
    def write(name, table):
        (tmp_path / "img").mkdir(exist_ok=True)
        for row in table:
            name_of_file = row.get("picture", "")
            if name_of_file.startswith("img/") and not (tmp_path / name_of_file).exists():
                (tmp_path / name_of_file).write_bytes(png(int(name_of_file[4:-4])))
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in table))
        return tmp_path / name

    return write
