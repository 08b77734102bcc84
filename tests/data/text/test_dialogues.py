"""Dialogues in files of all kinds, and the parts that they are split into."""

import gzip
import json
import random
import zipfile

import pytest

from saiki.data.skipped import LeftOut
from saiki.data.text.dialogues import dialogues, read_dialogues
from saiki.errors import InputError
from test_fuzz import cut, flipped, nested, repeated, revalued, torn

TALKS = [("Hi!", "Hello there.", "How are you?"), ("今日は。", "元気ですか？"), ("Only one.",)]


def many(count=200):
    return [[f"hello number {i}", f"{i} is my number too", "fine"] for i in range(count)]


def jsonl(path, them):
    path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in them), "utf-8")
    return path


def table(path, them, header=()):
    rows = [header] if header else []
    rows += [(f"d{i}", j, text) for i, turns in enumerate(them) for j, text in enumerate(turns)]
    random.Random(0).shuffle(rows[bool(header) :])
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), "utf-8")
    return path


def as_messages(turns):
    return {"messages": [[{"text": part, "sender": "a"}] for part in turns]}


def test_lines_of_json_hold_lists_of_turns_under_many_names(tmp_path):
    forms = [list, lambda turns: {"turns": list(turns)}, as_messages]
    forms.append(lambda turns: {"id": 3, "utterances": [{"speaker": 1, "text": t} for t in turns]})
    for form in forms:
        assert read_dialogues(jsonl(tmp_path / "a.jsonl", map(form, TALKS))) == TALKS


def test_messages_of_one_person_in_a_row_are_one_turn(tmp_path):
    turns = {"messages": [[{"text": "a"}, {"text": " b  c"}], [{"text": "d"}, {"text": ""}], []]}
    assert read_dialogues(jsonl(tmp_path / "a.jsonl", [turns])) == [("a b c", "d")]


def test_one_json_holds_all_dialogues(tmp_path):
    path = tmp_path / "a.json"
    for whole in (
        [list(turns) for turns in TALKS],
        {f"id-{i}": as_messages(turns) for i, turns in enumerate(TALKS)},
    ):
        path.write_text(json.dumps(whole))
        assert read_dialogues(path) == TALKS
    path.write_text(json.dumps(TALKS[0]))
    assert read_dialogues(path) == TALKS[:1]


@pytest.mark.parametrize("header", [(), ("dialogue_id", "turn", "text")])
def test_rows_of_a_table_are_turns_in_the_order_of_their_numbers(tmp_path, header):
    assert read_dialogues(table(tmp_path / "a.tsv", TALKS, header)) == TALKS


def test_text_is_of_dailydialog_or_has_a_turn_a_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("".join(" __eou__ ".join(turns) + " __eou__\n" for turns in TALKS))
    assert read_dialogues(path) == TALKS
    path.write_text("\n\n\n".join("\n".join(turns) for turns in TALKS))
    assert read_dialogues(path) == TALKS


def test_an_archive_of_dailydialog_is_read_without_its_lists_of_emotions(tmp_path):
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        archive.writestr("train/dialogues_train.txt", "a __eou__ b __eou__\n")
        archive.writestr("train/dialogues_emotion_train.txt", "0 0\n")
    assert read_dialogues(tmp_path / "train.zip") == [("a", "b")]


def test_a_folder_and_packed_files_are_read(tmp_path):
    data = jsonl(tmp_path / "b.jsonl", TALKS[:1]).read_bytes()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(data))
    (tmp_path / "README.md").write_text("no dialogue")
    assert read_dialogues(tmp_path) == [TALKS[0]] * 2


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.jsonl", '["a", "b"]\n{"a"', r"^line 2 of .*a.jsonl cannot be read as JSON: "),
        ("a.jsonl", '["a", "b"]\n\n7', r"^line 3 of .* is no dialogue: it must be a list of turns"),
        ("a.jsonl", '["a", 7]', r"^line 1 of .* has the turn '7'; a turn must be a text"),
        ("a.jsonl", '["a", [["b"]]]', r"has the turn"),
        ("a.json", '{"x": {"y": 1}}', r"^dialogue 1 of .*a.json is no dialogue"),
        ("a.json", "3", "must hold a list of dialogues"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.jsonl", "\n \n", "holds no dialogue$"),
        ("a.tsv", "d\t1\n", "has 2 columns; a table of dialogues has three"),
        ("a.tsv", "d\tone\thello\n", r"has the turn 'one' in dialogue 'd'; turns are numbered"),
        ("a.tsv", "d\t1\thello\nd\t1\tyou\n", "has turn '1' of dialogue 'd' twice"),
        ("a.tsv", "d\tnan\thello\n", "twice"),
        ("a.tsv", "x\ty\tz\tw\n", "none called dialogue and turn and text"),
        ("a.tsv", "", "is empty"),
        ("a.doc", "hello", "its name must end with .jsonl"),
        ("a.zip", "hello", "cannot be read: "),
        ("a.txt", "\udcff", "is not UTF-8 in line 1"),
    ],
)
def test_what_is_no_dialogue_is_told_in_a_sentence(tmp_path, name, text, sentence):
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=sentence) as refused:
        read_dialogues(path)
    assert "\n" not in str(refused.value)


def test_parts_are_whole_dialogues_by_what_is_said_in_them(tmp_path):
    path = tmp_path / "a.jsonl"
    parts = dialogues(jsonl(path, many()))
    assert [len(part) for part in parts] == [180, 10, 10]
    assert sorted(map(list, (d for part in parts for d in part))) == sorted(many())
    # others beside them, another order, or other punctuation change nothing
    more = [*many(400)[::-1], ["alone"], *many(3)]
    more = [[turn + "." for turn in turns] for turns in more]
    others = dialogues(jsonl(path, more))
    for part, those in zip(parts, others, strict=True):
        assert {tuple(turn + "." for turn in turns) for turns in part} <= {*those}
    assert "1 dialogues without a reply left out; 3 dialogues that occur again left out" in (
        others.notes
    )


def test_parts_of_a_folder_stay_as_they_are_and_near_duplicates_are_told(tmp_path):
    them = many(50)
    long = ["this is a turn of many characters", "and this is another long turn", "ok"]
    jsonl(tmp_path / "train.jsonl", [*them[:30], long])
    jsonl(tmp_path / "valid.jsonl", [*them[30:40], [turn.upper() + "!" for turn in long]])
    table(tmp_path / "test.tsv", them[40:])
    parts = dialogues(tmp_path)
    assert [len(part) for part in parts] == [31, 11, 10]
    assert parts.test == tuple(map(tuple, them[40:]))
    assert parts.notes == (
        "1 of the dialogues of development are near-duplicates of some that are learned from"
    )
    assert parts.in_words().startswith("31 dialogues with 62 replies to learn from, 11 ")


def test_copies_are_near_duplicates_however_short_their_turns(tmp_path):
    them = many(50)
    japanese = ["今日は天気がいいですね", "はい散歩に行きましょうか", "ええ"]
    jsonl(tmp_path / "train.jsonl", [*them[:30], ["hi", "hello"], japanese])
    jsonl(tmp_path / "dev.jsonl", [*them[30:40], ["Hi!", "Hello."], [*japanese[:2], "いや"]])
    jsonl(tmp_path / "test.jsonl", [*them[40:], ["hi", "hello you"]])
    assert dialogues(tmp_path).notes.startswith("2 of the dialogues of development are near-dupl")


def test_what_is_about_dialogues_is_none(tmp_path):
    jsonl(tmp_path / "talks.jsonl", many(50))
    (tmp_path / "README.txt").write_text("What is here.\nTalks.\n")
    (tmp_path / "LICENSE.txt").write_text("MIT\n\nAll may use it.\n")
    assert read_dialogues(tmp_path) == [*map(tuple, many(50))]
    (tmp_path / "talks.jsonl").rename(tmp_path / "dev.jsonl")
    jsonl(tmp_path / "test.jsonl", many(5))
    with pytest.raises(InputError, match=r"holds dev\.jsonl and test\.jsonl, and nothing named"):
        dialogues(tmp_path)


def test_too_few_dialogues_are_told(tmp_path):
    with pytest.raises(InputError, match="too few dialogues: none of its 2 is left for"):
        dialogues(jsonl(tmp_path / "a.jsonl", TALKS))
    with pytest.raises(InputError, match="no dialogue of two turns or more"):
        dialogues(jsonl(tmp_path / "a.jsonl", TALKS[2:]))
    with pytest.raises(InputError, match="does not exist"):
        dialogues(tmp_path / "nothing.jsonl")


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.tsv", "a.csv", "a.txt", "a.zip"])
def test_a_damaged_file_is_a_sentence_at_most(tmp_path, name):
    path, them, dice = tmp_path / name, many(12), random.Random(name)
    if name == "a.json":
        path.write_text(json.dumps({str(i): as_messages(turns) for i, turns in enumerate(them)}))
    elif name == "a.txt":
        path.write_text("\n\n".join("\n".join(turns) for turns in them))
    elif name == "a.zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("t.txt", "".join(" __eou__ ".join(turns) + "\n" for turns in them))
    else:
        jsonl(path, map(as_messages, them)) if name == "a.jsonl" else table(path, them)
    whole, ways = path.read_bytes(), [flipped, cut, torn, repeated]
    if name == "a.json":
        ways += [revalued, revalued, nested]
    refused = 0
    for _ in range(170):
        path.write_bytes(dice.choice(ways)(whole, dice))
        sentence = None
        try:
            assert read_dialogues(path)
        except InputError as error:
            sentence = str(error)
        if sentence is not None:
            refused += 1
            assert "\n" not in sentence
            assert len(sentence) < 500
    assert refused


def test_files_of_a_folder_that_cannot_be_read_are_left_out_and_named(tmp_path):
    jsonl(tmp_path / "a.jsonl", [["Hello.", "Hello."]])
    (tmp_path / "b.json").write_text("[[1, 2")
    left_out = LeftOut(strict=False)
    assert read_dialogues(tmp_path, left_out) == [("Hello.", "Hello.")]
    assert [each.name for each in left_out.files] == ["b.json"]
    with pytest.raises(InputError, match=r"b\.json"):
        read_dialogues(tmp_path)
