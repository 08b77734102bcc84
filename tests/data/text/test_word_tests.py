"""Files of analogies and of similar words are read as they are published, or told in a sentence."""

import pytest

from saiki.data.text.word_tests import Analogies, Pairs, read_analogies, read_pairs, read_tests
from saiki.errors import InputError


def put(folder, text, name="t.txt"):
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


QUESTIONS = """//Copyright 2013
: capitals
Athens Greece Bern Switzerland

Oslo Norway\tTokyo  Japan
: gram1-adjective-to-adverb
calm calmly 赤い 赤く
"""


def test_questions_are_read_by_section(tmp_path):
    wanted = Analogies(
        {
            "capitals": (
                ("Athens", "Greece", "Bern", "Switzerland"),
                ("Oslo", "Norway", "Tokyo", "Japan"),
            ),
            "gram1-adjective-to-adverb": (("calm", "calmly", "赤い", "赤く"),),
        }
    )
    assert read_analogies(put(tmp_path, QUESTIONS)) == wanted
    assert len(wanted) == 3
    put(tmp_path, QUESTIONS, "a/b/questions-words.txt")
    assert read_analogies(tmp_path / "a") == wanted


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a b c d\n", r"has no section before line 1; a line ': NAME' must begin one$"),
        (": x\na b c d\na b c\n", "has 3 words in line 3; a question is four words"),
        (": x\n: y\n", "holds no questions"),
        ("", "holds no questions"),
        (b": x\na b c \xff\n", "is not UTF-8 in line 2"),
    ],
)
def test_what_is_no_question_is_refused(tmp_path, text, sentence):
    path = put(tmp_path, text)
    with pytest.raises(InputError, match=rf"^{path} {sentence}"):
        read_analogies(path)


def test_a_folder_need_not_hold_both_kinds(tmp_path):
    assert read_tests(tmp_path) == (Analogies({}), [])
    put(tmp_path, "cat\tdog\t7.5\ncup\tsea\t0\n", "a/b.tsv")
    assert read_tests(tmp_path) == (Analogies({}), [Pairs("b", TWO)])
    put(tmp_path, QUESTIONS, "questions-words.txt")
    assert list(map(len, read_tests(tmp_path))) == [3, 1]


def test_a_folder_without_a_test_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no questions-words\.txt$"):
        read_analogies(tmp_path)


TWO = (("cat", "dog", 7.5), ("cup", "sea", 0.0))


@pytest.mark.parametrize(
    ("name", "text", "column"),
    [
        ("t.tsv", "# WordSim\n# Word 1\tWord 2\tHuman (mean)\ncat\tdog\t7.50\ncup\tsea\t0\n", ""),
        ("t.csv", "word1,word2,mean,sub1\r\ncat,dog,7.5,8\r\ncup,sea,0,1\r\n", ""),
        ("t.txt", "a\tb\tPOS\tSimLex999\ncat\tdog\tN\t7.5\ncup\tsea\tN\t0\n", "SimLex999"),
        ("t.csv", "a,b,1,mean\ncat,dog,3,7.5\ncup,sea,3,0\n", "mean"),
        ("t.txt", "cat dog 7.5\ncup  sea 0\n", ""),
    ],
)
def test_pairs_are_read_from_tables_as_they_are_published(tmp_path, name, text, column):
    assert read_pairs(put(tmp_path, text, name), column) == Pairs("t", TWO)


@pytest.mark.parametrize(
    ("name", "text", "column", "sentence"),
    [
        ("t.tsv", "a\tb\t1\ncat\tdog\n", "", "has 2 columns in line 2 instead of 3"),
        ("t.tsv", "a\tb\t1\ncat\t\t3\n", "", "has no two words and a score in line 2"),
        ("t.tsv", "a\tb\t1\ncat\tdog\tx\n", "", "has 'x' in line 2, where a score must stand$"),
        ("t.tsv", "a\tb\t1\ncat\tdog\tnan\n", "", "has 'nan' in line 2"),
        ("t.txt", "a\tb\tPOS\tscore\nc\td\tN\t7\n", "", "has 'N' in line 2, .*; name the column of "
         "scores: POS, score$"),
        ("t.csv", "a,b,c\nd,e,1\n", "mean", "has no column 'mean'; it has 'a', 'b', 'c'$"),
        ("t.csv", "a,b,c\n", "", "holds no pairs of words$"),
    ],
)  # fmt: skip
def test_what_is_no_table_of_pairs_is_refused(tmp_path, name, text, column, sentence):
    path = put(tmp_path, text, name)
    with pytest.raises(InputError, match=rf"^{path} {sentence}"):
        read_pairs(path, column)


def test_all_tables_of_a_folder_are_read_by_name(tmp_path):
    put(tmp_path, "cat,dog,7.5\ncup,sea,0\n", "score_verb.csv")
    put(tmp_path, "cat\tdog\t7.5\ncup\tsea\t0\n", "b/wordsim353.tsv")
    put(tmp_path, QUESTIONS, "questions-words.txt")
    assert read_tests(tmp_path)[1] == [Pairs("wordsim353", TWO), Pairs("score_verb", TWO)]
