"""Tables of texts and labels: columns and parts that are found, named, or missing."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from saiki.data.text.labelled import Table
from saiki.errors import InputError

TEXTS = [(f"sentence number {i}", "good" if i % 3 else "bad") for i in range(30)]
PARTS = ("train", "dev")
JAPANESE = [("部屋が広い", "良"), ("部屋が狭い", "悪"), ("朝食が旨い", "良"), ("湯が温い", "悪")]


def write(folder, rows, name="t.tsv", encoding="utf-8", delimiter="\t"):
    text = "".join(delimiter.join(map(str, row)) + "\n" for row in rows)
    path = Path(folder, name)
    path.write_bytes(text.encode(encoding))
    return path


def read(path, seed=0, **knobs):
    return Table(**knobs).read(path, seed)


def pairs(parts):
    return {
        (text, label)
        for part in (parts.train, parts.development, parts.test)
        for text, label in zip(part.texts, part.labels, strict=True)
    }


@pytest.mark.parametrize(
    ("rows", "knobs"),
    [
        (TEXTS, {}),
        ([(label, text) for text, label in TEXTS], {}),
        ([("Label", "Text"), *((label, text) for text, label in TEXTS)], {}),
        ([("y", "x"), *((label, text) for text, label in TEXTS)],
         {"text_column": "x", "label_column": "y"}),
        ([(label, text) for text, label in TEXTS], {"text_column": "2", "label_column": "1"}),
        ([(f"id{i}", label, i / 7, text) for i, (text, label) in enumerate(TEXTS)], {}),
        ([("id", "number", "text", "class"), *((i, i % 2, *row) for i, row in enumerate(TEXTS))],
         {}),
    ],
)  # fmt: skip
def test_columns_are_found_or_named(tmp_path, rows, knobs):
    parts = read(write(tmp_path, rows), **knobs)
    assert pairs(parts) == {*TEXTS}
    assert parts.classes == ("bad", "good")


def test_parts_that_a_table_names_are_kept(tmp_path):
    names = ["train"] * 20 + ["dev"] * 10
    rows = [(*row, part) for row, part in zip(TEXTS, names, strict=True)]
    two = read(write(tmp_path, rows))
    assert (len(two.train), len(two.test), two.has_test) == (20, 10, False)
    assert two.test.texts == [text for text, _ in TEXTS[20:]]
    rows[25:] = [(*row[:2], "Test") for row in rows[25:]]
    three = read(write(tmp_path, rows))
    assert three.has_test
    assert (len(three.train), len(three.development), len(three.test)) == (20, 5, 5)
    assert three.in_words() == (
        "20 texts to learn from (bad 7, good 13), 5 to develop, 5 to test; parts in column 3, "
        "texts in column 1, labels in column 2"
    )


def test_rows_of_no_part_are_left_out_and_told(tmp_path):
    names = ["train"] * 20 + ["dev"] * 7 + ["holdout", "unlabeled", ""]
    rows = [(*row, part) for row, part in zip(TEXTS, names, strict=True)]
    for path, named in (
        (write(tmp_path, rows), {"split_column": "3"}),
        (write(tmp_path, [("text", "label", "Split"), *rows], "headed.tsv"), {}),
    ):
        parts = read(path, **named)
        assert (len(parts.train), len(parts.test)) == (20, 7)
        assert parts.notes.endswith("; 3 rows of no part left out")
    assert "of no part" not in read(write(tmp_path, rows[:27])).notes


def test_a_column_that_is_only_called_as_if_it_told_parts_is_left_alone(tmp_path):
    rows = [("text", "label", "part"), *((*row, f"chapter {i}") for i, row in enumerate(TEXTS))]
    parts = read(write(tmp_path, rows))
    assert pairs(parts) == {*TEXTS}
    assert "a fifth of each class set apart" in parts.notes
    with pytest.raises(InputError, match=r"column 3 of .* must call some rows train"):
        read(write(tmp_path, rows), split_column="part")


@pytest.mark.parametrize("count", ["1e400", "NaN", "-Infinity", "0"])
def test_votes_that_no_number_counts_leave_the_label(tmp_path, count):
    rows = [(text, "good", f'{{"good": {count}}}', part) for text, _ in TEXTS[:2] for part in PARTS]
    rows += [(text, "bad", '{"bad": 2}', part) for text, _ in TEXTS[2:4] for part in PARTS]
    parts = read(write(tmp_path, rows))
    assert parts.train.targets(parts.classes, True).tolist() == [[0, 1]] * 2 + [[1, 0]] * 2


def test_votes_are_targets_where_they_are_wanted(tmp_path):
    votes = ['{"good": 2, "bad": 1}', '{"bad": 3}', '{"good": 1, "odd": 5}', "{}"]
    rows = [(*row, vote) for row, vote in zip(JAPANESE, votes, strict=True)]
    rows = [(text, {"良": "good", "悪": "bad"}[label], vote) for text, label, vote in rows]
    parts = read(write(tmp_path, [(*row, "train") for row in rows] + [(*r, "dev") for r in rows]))
    voted = parts.train.targets(parts.classes, True)
    np.testing.assert_allclose(voted, [[1 / 3, 2 / 3], [1, 0], [0, 1], [1, 0]], rtol=1e-6)
    assert parts.train.targets(parts.classes, False).tolist() == [[0, 1], [1, 0]] * 2


def test_a_fifth_of_each_class_is_set_apart_and_no_text_is_in_both(tmp_path):
    path = write(tmp_path, TEXTS + TEXTS[:7])
    parts = read(path)
    assert Counter(dict(zip(parts.test.texts, parts.test.labels, strict=True)).values()) == {
        "bad": 2, "good": 4
    }  # fmt: skip
    assert not {*parts.train.texts} & {*parts.test.texts}
    assert pairs(parts) == {*TEXTS}
    assert read(path).test.texts == parts.test.texts
    assert read(path, seed=1).test.texts != parts.test.texts
    assert "a fifth of each class set apart" in parts.notes


def test_folds_part_what_is_learned_from_and_never_touch_what_is_set_apart(tmp_path):
    rows = [(*row, "dev" if i % 5 == 0 else "train") for i, row in enumerate(TEXTS)]
    path = write(tmp_path, rows)
    whole = read(path)
    tested = list[str]()
    for fold in range(1, 6):
        parts = read(path, seed=fold, fold=fold)
        assert {*parts.train.texts, *parts.test.texts} == {*whole.train.texts}
        assert not {*parts.train.texts} & {*parts.test.texts}
        tested += parts.test.texts
    assert sorted(tested) == sorted(whole.train.texts)


def test_classes_that_are_numbers_are_in_their_order(tmp_path):
    rows = [(f"text {i}", [-1, 10, 2][i % 3]) for i in range(12)]
    assert read(write(tmp_path, rows)).classes == ("-1", "2", "10")


def test_rows_without_a_text_or_a_label_are_left_out_and_told(tmp_path):
    rows = [("text", "label"), *TEXTS, ("", "good"), ("nothing", "")]
    parts = read(write(tmp_path, rows))
    assert pairs(parts) == {*TEXTS}
    assert "2 rows without a text or a label left out" in parts.notes


@pytest.mark.parametrize(
    ("rows", "knobs", "message"),
    [
        ([("text", "label")], {}, "holds no rows below its header"),
        ([("text", "label"), ("a", "")], {}, "holds no text with a label"),
        ([(f"a text {i}", i) for i in range(9)], {}, "has no column of labels, whose values occur"),
        ([(f"a text {i}", "x") for i in range(9)], {},
         "have the label 'x', in column 2; it takes two classes at least"),
        ([*TEXTS, ("seldom", "odd")], {}, "the class 'odd' has one text only in .*--text-column"),
        ([("text", "label"), *TEXTS], {"label_column": "lable"},
         r"has no column 'lable'; it has 'text', 'label'; did you mean label\?"),
        (TEXTS, {"text_column": "3"}, "has no column '3'; it has 'sentence number 0', "),
        ([(*row, "dev") for row in TEXTS], {"split_column": "3"},
         "column 3 of .* must call some rows train, and others dev or test; it says 'dev'"),
        ([("same", "a")] * 3 + [("other", "b")] * 3, {}, "of each class .* are all the same"),
        ([(*row, "train") for row in TEXTS] + [("c", "z", "dev"), ("d", "z", "dev")], {},
         "the class 'z' of .* has no text to learn from"),
    ],
)  # fmt: skip
def test_tables_of_no_use_are_refused(tmp_path, rows, knobs, message):
    with pytest.raises(InputError, match=message):
        read(write(tmp_path, rows), **knobs)
