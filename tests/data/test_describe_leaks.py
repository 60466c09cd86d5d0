"""What is found in a table that looks like a leak."""

import pytest
from tables_to_describe import COLOURS, ROWS, by_kind, found, plain, png, scene


def test_rows_that_differ_in_case_and_spaces_alone_are_in_two_files(write):
    test = plain(100, 20)
    test[4] = {**plain()[9], "picture": "img/104.png"}
    test[4]["title"] = "A  Thing  number 9!"
    files = {"train": write("t.jsonl", plain()), "test": write("w.jsonl", test)}
    (files["train"].parent / "img/104.png").write_bytes(png(9))
    finding = by_kind(found(files))["shared rows"]
    assert finding.count == 1
    assert "1 of 20 rows of test are in train too" in finding.sentence
    assert "(row 5)" in finding.sentence


def test_a_picture_under_another_name_is_in_two_files(write):
    files = {"train": write("t.jsonl", plain()), "test": write("w.jsonl", plain(100, 20))}
    (files["train"].parent / "img/107.png").write_bytes(png(3))
    finding = by_kind(found(files))["shared cells"]
    assert "1 picture(s) of 'picture' in test (row 8) is in train too" in finding.sentence


def test_a_group_on_both_sides(write):
    files = {"train": write("t.jsonl", plain()), "valid": write("v.jsonl", plain(ROWS - 1, 20))}
    assert "1 values of 'who' have rows in train and in valid, such as person 29" in (
        by_kind(found(files, group="who"))["shared groups"].sentence
    )


def test_copies_that_a_drawn_split_would_not_see(write):
    table = plain()
    table.append({**table[3], "title": table[3]["title"].upper(), "picture": "img/200.png"})
    path = write("t.jsonl", table)
    (path.parent / "img/200.png").write_bytes(png(3))
    copies = [f.sentence for f in found(path).findings if f.kind == "disguised copies"]
    assert len(copies) == 2
    assert "1 picture(s) of 'picture' stand under several names (row 4, 61)" in copies[0]
    assert "1 set(s) of rows are alike" in copies[1]
    assert not found(path, group="who").findings  # one person's rows stay together


FILMS = ["drama", "comedy", "crime", "war", "music"]


def films(rows=120, separator=None):
    """Rows whose target lists labels; in which nothing is wrong."""
    table = plain(rows=rows)
    for at, row in enumerate(table):
        labels = [label for k, label in enumerate(FILMS) if (at * (2 * k + 3) + at * at // (k + 2)) % 7 < 2]
        row["genres"] = labels if separator is None else f" {separator} ".join(labels or FILMS[:1])
        row["title"] = f"film {at}"
    return table


@pytest.mark.parametrize("separator", [None, ",", "|"])
def test_a_target_that_lists_labels_is_treated_as_such(separator, write):
    table = films(separator=separator)
    shown = found(write("t.jsonl", table), "genres")
    assert shown.target.task == "multilabel"
    assert sorted(label for label, _ in shown.target.counts) == sorted(FILMS)
    assert (f"task.separator='{separator}'" in shown.target.reason) == (separator is not None)
    assert shown.findings == ()


@pytest.mark.parametrize("separator", [None, ";"])
def test_columns_that_give_labels_away(separator, write):
    table = films(separator=separator)
    for at, row in enumerate(table):
        labels = [label.strip() for label in row["genres"].split(separator)] if separator else row["genres"]
        row |= {"war_score": 10 * ("war" in labels) + at % 9, "said": f"film {at} on {' and '.join(labels)}"}
    shown = found(write("t.jsonl", table), "genres")
    findings = [f.sentence for f in shown.findings if f.kind == "gives the target away"]
    assert [f.partition(":")[0] for f in findings] == [
        "'war_score' alone predicts on rows left out which of them have 1 label(s) of the target (war)",
        "'said' alone predicts the target, for its text holds the name of the class in 100 % of the rows",
    ]


def test_labels_of_other_files_and_rows_that_contradict_each_other(write):
    table = films(separator=";")
    several = next(row for row in table[5:] if ";" in row["genres"])
    table.append({**several, "genres": "; ".join(reversed(several["genres"].split(" ; ")))})
    table.append({**table[4], "genres": "war" if table[4]["genres"] != "war" else "music"})
    test = films(130, separator=";")[125:]
    test[1]["genres"] = "war;western;silent"
    shown = by_kind(found({"train": write("t.jsonl", table), "test": write("w.jsonl", test)}, "genres"))
    assert shown["unseen classes"].count == 1
    assert "(silent, western)" in shown["unseen classes"].sentence
    assert "(row 5, 122)" in shown["contradictions"].sentence, "the order of labels does not matter"


def test_classes_with_commas_in_their_names_are_classes(write):
    table = plain()
    for at, row in enumerate(table):
        row["y"] = ["Food, Drink", "Travel", "Objects, Tools"][at % 3]
    assert found(write("t.jsonl", table)).target.task == "classification"


def test_the_own_splits_of_a_data_set_are_compared(tmp_path):
    import datasets

    def table(first, rows):
        features = datasets.Features({"picture": datasets.Image(), "y": datasets.ClassLabel(names=COLOURS)})
        cells = {
            "picture": [{"bytes": scene(first + i), "path": None} for i in range(rows)],
            "y": [i % 3 for i in range(rows)],
        }
        return datasets.Dataset.from_dict(cells, features=features)

    splits = {"test": table(38, 6), "validation": table(60, 5), "train": table(0, 40)}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    shown = found(tmp_path / "saved")
    assert shown.rows == {"train": 40, "valid": 5, "test": 6}
    assert list(shown.rows) == ["train", "valid", "test"]
    assert [f.sentence.partition(" are ")[0] for f in shown.findings] == ["2 of 6 rows of test"]
    table(200, 7).save_to_disk(tmp_path / "other")
    shown = found({"train": tmp_path / "saved", "test": tmp_path / "other"})
    assert shown.rows == {"train": 40, "valid": 5, "test": 7}
    assert shown.files["test"].endswith("other")
    assert shown.findings == ()


def test_rows_that_contradict_each_other(write):
    table = plain()
    table.append({**table[3], "y": "another"})
    assert "2 of 61 rows are alike in all inputs to a row of another class (row 4, 61)" in (
        by_kind(found(write("t.jsonl", table)))["contradictions"].sentence
    )


def test_rows_of_a_few_categories_are_no_copies_and_do_not_contradict_each_other(write):
    table = [{"colour": COLOURS[at % 3], "size": at % 4, "y": "abc"[at * at // 3 % 3]} for at in range(200)]
    files = {"train": write("t.jsonl", table), "test": write("w.jsonl", table[:50])}
    for shown in (found(files), found(files["train"])):
        assert not shown.findings
        assert shown.remarks[0].startswith("rows alike in all inputs are not told of")
    measured = [{**row, "size": at % 40 / 7} for at, row in enumerate(table)]
    files = {"train": write("t.jsonl", measured), "test": write("w.jsonl", measured[:50])}
    kinds = by_kind(found(files))
    assert kinds["shared rows"].count == 50
    assert "contradictions" in kinds
    assert not found(files, None).remarks


def test_classes_that_the_training_table_lacks(write):
    test = plain(100, 20)
    test[3]["y"] = test[4]["y"] = "violet"
    files = {"train": write("t.jsonl", plain()), "test": write("w.jsonl", test)}
    assert "2 of 20 rows of test have a class that no row of train has (violet)" in (
        by_kind(found(files))["unseen classes"].sentence
    )


GIVEAWAYS = {
    "a category that stands for the class": lambda row, at: {"hint": f"group {COLOURS.index(row['y'])}"},
    "a number that does": lambda row, at: {"hint": COLOURS.index(row["y"]) + (7 * at % 10) / 20},
    "a date that does": lambda row, at: {"hint": f"20{10 + COLOURS.index(row['y'])}-01-{1 + at % 28:02d}"},
    "a text that says its name": lambda row, at: {"hint": f"no. {at}: this is {row['y'].upper()}, says everybody"},
}


@pytest.mark.parametrize("case", GIVEAWAYS)
def test_a_column_that_gives_the_class_away(case, write):
    table = [{**row, **GIVEAWAYS[case](row, at)} for at, row in enumerate(plain(rows=120))]
    findings = [f for f in found(write("t.jsonl", table)).findings if f.kind == "gives the target away"]
    assert len(findings) == 1
    assert findings[0].sentence.startswith("'hint' alone predicts the target")
    assert "data.drop=[hint]" in findings[0].sentence


def test_a_column_that_gives_a_number_away(write):
    table = plain(rows=400)
    for at, row in enumerate(table):
        row["price"] = (37 * at) % 400 / 3
        row |= {"in_cents": f"{100 * row['price']:.0f} ct", "noisy": row["price"] + (91 * at) % 50}
    findings = found(write("t.jsonl", table), "price").findings
    assert [f.sentence.partition(" ")[0] for f in findings] == ["'in_cents'"]


def test_a_good_predictor_is_no_giveaway(write):
    table = [{**row, "hint": COLOURS.index(row["y"]) if at % 10 else 5} for at, row in enumerate(plain(rows=200))]
    assert found(write("t.jsonl", table)).findings == ()


def test_rows_of_one_group_are_not_looked_up_from_each_other(write):
    """A name that always stands with one class tells nothing of other names."""
    table = plain(rows=240)
    for at, row in enumerate(table):
        row |= {"name": f"name no {at // 6}", "y": COLOURS[(at // 6) ** 2 % 7 % 3], "weight": at % 6}
    path = write("t.jsonl", table)
    assert [f.kind for f in found(path).findings] == ["gives the target away"]
    assert found(path, group="name").findings == ()
