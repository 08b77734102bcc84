"""Pairs of texts out of files of all kinds, set apart without overlap; batches of like lengths."""

import gzip

import pytest

from saiki.data.text.pairs import FEWEST, MOST, Corpus, Pairs, corpus, header, read_pairs
from saiki.errors import InputError

THREE = [("a", "あ"), ("b b", "い"), ("c", "う")]


def rows(pairs):
    return list(zip(pairs.source, pairs.target, strict=True))


def made(folder, **texts):
    """Files of a folder; ``train_en`` is named train.en."""
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("_", ".")).write_bytes(
            text if isinstance(text, bytes) else text.encode()
        )
    return folder


def refused(path, *args, **kwargs):
    with pytest.raises(InputError) as caught:
        read_pairs(path, *args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Tables.

TABLES = {
    "tabs": ("x.tsv", "a\tあ\nb b\tい\nc\tう\n"),
    "a header": ("x.csv", "Source,Target\na,あ\nb b,い\nc,う\n"),
    "a header of languages": ("x.tsv", "en\tja\na\tあ\nb b\tい\nc\tう\n"),
    "a header the other way round": ("x.tsv", "JA\tEN\nあ\ta\nい\tb b\nう\tc\n"),
}


@pytest.mark.parametrize(("name", "text"), TABLES.values(), ids=TABLES)
def test_a_table_of_two_columns(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text.encode())
    assert rows(read_pairs(path, "en", "ja")) == THREE


def test_a_first_row_of_other_words_is_a_pair(tmp_path):
    (tmp_path / "x.tsv").write_text("English\tenglisch\nsource\ttarget\n")
    pairs = read_pairs(tmp_path / "x.tsv", "en", "de")
    assert rows(pairs) == [("English", "englisch"), ("source", "target")]
    assert pairs.notes == ()


def test_a_header_is_told(tmp_path):
    table = "English,Japanese\n" + "".join(f"word {i},語{i}\n" for i in range(30))
    (tmp_path / "x.csv").write_text(table, "utf-8")
    read = corpus(tmp_path / "x.csv", "ja", "en", 0)
    assert sum(map(len, read)) == 30
    assert all(text.startswith("語") for part in read for text in part.source)
    assert read.notes.startswith(
        "the first row of x.csv, 'English' and 'Japanese', taken for a header, which says that "
        "the target comes first; a share of "
    )


WRONG = {
    "three columns": ("x.txt", "a\tb\tc\n", "3 columns in line 1 instead of 2"),
    "a header alone": ("x.tsv", "src\ttrg\n", "holds no pair of texts$"),
    "empty sides": ("x.tsv", "a\t\n\tb\n", "holds no pair of texts$"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "text", "reason"), WRONG.values(), ids=WRONG)
def test_a_wrong_table_is_told_by_its_line(tmp_path, name, text, reason):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=reason):
        read_pairs(tmp_path / name)
    assert str(tmp_path / name) in refused(tmp_path / name)


def test_pairs_with_an_empty_side_are_left_out_and_counted(tmp_path):
    (tmp_path / "x.tsv").write_text("a\tb\nc\t \n\td\ne\tf\ne\tf\n")
    pairs = read_pairs(tmp_path / "x.tsv")
    assert rows(pairs) == [("a", "b"), ("e", "f"), ("e", "f")]
    assert pairs.left_out == 2


# Parallel files.


def test_parallel_files_by_either_name_prefix_or_folder(tmp_path):
    folder = made(tmp_path / "d", talks_de="a\nb\n", talks_fr="x\r\ny")
    for path in (folder, folder / "talks", folder / "talks.de", folder / "talks.fr"):
        assert rows(read_pairs(path, "de", "fr")) == [("a", "x"), ("b", "y")]
        assert rows(read_pairs(path, "fr", "de")) == [("x", "a"), ("y", "b")]


def test_packed_parallel_files(tmp_path):
    (tmp_path / "t.de.gz").write_bytes(gzip.compress(b"a\nb\n"))
    (tmp_path / "t.fr").write_bytes(b"x\ny\n")
    for path in (tmp_path, tmp_path / "t", tmp_path / "t.de.gz"):
        assert rows(read_pairs(path, "de", "fr")) == [("a", "x"), ("b", "y")]


def test_a_line_without_text_keeps_the_others_in_step(tmp_path):
    made(tmp_path, t_de="a\n\nc\n", t_fr="x\ny\nz\n")
    pairs = read_pairs(tmp_path / "t", "de", "fr")
    assert rows(pairs) == [("a", "x"), ("c", "z")]
    assert pairs.left_out == 1


def test_parallel_files_that_do_not_fit_are_told(tmp_path):
    made(tmp_path, t_de="a\nb\n", t_fr="x\ny\nz\n", u_de="a\n")
    assert "t.de has 2 lines and " in refused(tmp_path / "t", "de", "fr")
    assert "t.fr 3; line by line" in refused(tmp_path / "t", "de", "fr")
    assert "u.fr does not exist" in refused(tmp_path / "u", "de", "fr")
    assert "u.fr does not exist" in refused(tmp_path / "u.de", "de", "fr")
    assert refused(tmp_path / "v", "de", "fr").endswith("v does not exist")


def test_a_folder_without_pairs_says_what_it_holds(tmp_path):
    assert "it holds nothing" in refused(made(tmp_path / "a"), "de", "fr")
    folder = made(tmp_path / "b", train_de="a", train_fr="b")
    assert "must hold the files train.ja and train.en" in refused(folder, "ja", "en")
    assert refused(folder, "ja", "en").endswith("it holds train.de, train.fr")


# A corpus.


def test_parts_come_from_their_files(tmp_path):
    parts = {"train": "a\nb\na\na\n", "dev": "c\na\n", "test": "d\n"}
    texts = {f"{name}_{end}": text for name, text in parts.items() for end in ("ja", "en")}
    made(tmp_path, **texts)
    train, development, test = read = corpus(tmp_path, "ja", "en", 0)
    assert rows(train) == [("a", "a"), ("b", "b"), ("a", "a"), ("a", "a")]
    assert development.source == ["c", "a"]
    assert test.source == ["d"]
    assert read.notes == (
        "1 of 2 sources to develop are learned from too; "
        "2 pairs to learn from occur again, and are kept"
    )


def test_parts_may_be_tables_of_other_names(tmp_path):
    made(tmp_path, train_tsv="a\tx\n", valid_csv="b,y\n")
    read = corpus(tmp_path, "ja", "en", 0)
    assert [rows(part) for part in read] == [[("a", "x")], [("b", "y")], []]
    assert read.notes == ""


def test_a_dataset_without_a_test_part(tmp_path, monkeypatch):
    made(tmp_path / "small_parallel_enja", train_en="a\n", train_ja="x\n", dev_en="b", dev_ja="y")
    monkeypatch.setenv("SAIKI_DATA", str(tmp_path))
    assert [rows(part) for part in corpus(None, "ja", "en", 0)] == [[("x", "a")], [("y", "b")], []]


def test_what_does_not_exist_is_told(tmp_path):
    with pytest.raises(InputError, match=r"/nowhere does not exist$"):
        corpus(tmp_path / "nowhere", "ja", "en", 0)


@pytest.mark.parametrize("count", [2, 3, 9, 11, 200])
def test_shares_have_no_source_in_common_and_lose_nothing(tmp_path, count):
    pairs = [(f"s{i % count}", f"t{i}") for i in range(3 * count)]
    (tmp_path / "x.tsv").write_text("".join(f"{x}\t{y}\n" for x, y in pairs))
    read = corpus(tmp_path / "x.tsv", "a", "b", 0)
    sources = [set(part.source) for part in read]
    assert sorted(pair for part in read for pair in rows(part)) == sorted(pairs)
    assert sum(map(len, sources)) == count == len(set().union(*sources))
    held = max(1, round(count / 20))
    assert [len(part) for part in sources[1:]] == [held, round(count / 20)]
    assert rows(read.train) == [pair for pair in pairs if pair in set(rows(read.train))]
    what = "develop and test" if len(read.test) else "develop"
    assert read.notes == f"a share of the sources set apart to {what}, and not learned from"


def test_shares_follow_from_the_seed(tmp_path):
    (tmp_path / "x.tsv").write_text("".join(f"{i}\t{i}\n" for i in range(200)))
    first, same, other = (corpus(tmp_path / "x.tsv", "a", "b", seed) for seed in (1, 1, 2))
    assert first == same
    assert first.development != other.development


def test_shares_are_bounded(tmp_path):
    (tmp_path / "x.tsv").write_text("".join(f"{i}\t{i}\n" for i in range(30_000)))
    assert [len(part) for part in corpus(tmp_path / "x.tsv", "a", "b", 0)][1:] == [MOST, MOST]


def test_a_share_to_develop_alone_where_a_test_part_is_there(tmp_path):
    made(tmp_path, train_tsv="".join(f"{i}\t{i}\n" for i in range(100)), test_tsv="a\tb\n")
    read = corpus(tmp_path, "ja", "en", 0)
    assert [len(part) for part in read] == [95, 5, 1]
    assert read.notes == "a share of the sources set apart to develop, and not learned from"


def test_one_source_alone_cannot_be_shared(tmp_path):
    (tmp_path / "x.tsv").write_text("a\tb\na\tc\n")
    with pytest.raises(InputError, match=r"all pairs have the source 'a'; .* two different ones"):
        corpus(tmp_path / "x.tsv", "a", "b", 0)


def test_empty_sides_of_all_parts_are_told(tmp_path):
    made(tmp_path, train_tsv="a\tb\nc\t\n", dev_tsv="d\te\n\tf\n", test_tsv="g\th\n\ti\n")
    assert corpus(tmp_path, "ja", "en", 0).notes == "3 pairs with an empty side left out"


def test_long_pairs_are_left_out_of_what_is_learned_from_and_counted():
    train = Pairs(["a b", "a b c", "a", "a b"], ["x", "y", "z z z", "u v"])
    long = Pairs(["a b c d"], ["x"])
    read = Corpus(train, long, long, "a word").within(2, str.split, str.split)
    assert rows(read.train) == [("a b", "x"), ("a b", "u v")]
    assert (read.development, read.test) == (long, long)
    assert read.notes == "a word; 2 pairs of more than 2 tokens left out"
    assert read.within(2, str.split, str.split) is read
    with pytest.raises(InputError, match="all pairs to learn from have more than 0 tokens"):
        read.within(0, str.split, str.split)


NUMBERS = [(str(n), "〇一二三四五六七八九"[n]) for n in range(10)]
WORDS = [("pen", "ペン"), ("to run", "走る"), ("Tokyo", "東京"), ("CD", "ＣＤ"), ("ten", "１０")]
WORDS += [("a cat", "ねこ"), ("is", "です")]
DATES = [(f"{n} mars 2024", f"2024-03-{n:02}") for n in range(1, 9)]


@pytest.mark.parametrize(
    ("first", "rows"),
    [
        (("number", "漢数字"), NUMBERS),
        (("数", "漢数字"), NUMBERS),
        (("English", "Japanese"), WORDS),
        (("ENGLISH", "japanese"), WORDS[:1]),
        (("英語", "日本語"), WORDS),
        (("Englisch", "Deutsch"), WORDS),
        (("en", "ja"), WORDS[:2]),
        (("Source", "Target"), []),
        (("sentence", "translation"), WORDS),
        (("date", "iso"), DATES),
    ],
)
def test_a_header_is_found(first, rows):
    assert header([first, *rows], "en", "ja") == (True, False)


@pytest.mark.parametrize(
    ("first", "rows"),
    [
        *((rows[0], rows[1:]) for rows in (NUMBERS, WORDS, DATES)),
        *((pair, [p for p in WORDS if p != pair]) for pair in WORDS),
        (("10", "十"), NUMBERS),
        (("English", "英語"), WORDS),
        (("Japanese", "日本語"), WORDS),
        (("Polish", "磨く"), WORDS),
        (("number", "数"), WORDS),
        (("one", "一"), NUMBERS[: FEWEST - 1]),
        (("!", "？"), WORDS),
        (("", ""), WORDS),
    ],
)
def test_a_first_pair_stays(first, rows):
    assert header([first, *rows], "en", "ja") == (False, False)


def test_languages_in_the_other_order_are_noticed():
    assert header([("Japanese", "English"), *WORDS], "en", "ja") == (True, True)
    assert header([("日本語", "英語"), *WORDS], "en", "ja") == (True, True)
    assert header([("French", "English"), *WORDS], "en", "ja") == (True, False)
    assert header([], "en", "ja") == (False, False)
