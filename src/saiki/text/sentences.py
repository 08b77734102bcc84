"""A text cut into its sentences, by rules."""

import re

_ABBREVIATION = re.compile(
    "Mrs?|Ms|Dr|Prof|Rev|Hon|St|Mt|Messrs|Mme|Mlle|Jr|Sr|Capt|Col|Gen|Gov|Lieut|Lt|Maj|Sgt|vs|cf|"
    "etc"
)
_NUMBERED = re.compile("Nos?|Vols?|Ch|Chap|Figs?|Art|pp?")
"""Abbreviations where a digit follows, and words or ends of sentences elsewhere."""
_OPENING, _CLOSING = re.escape("\"'“‘«([{「『（《"), re.escape("\"'”’»)]}」』）》")
_END = re.compile(
    rf"(?<![.!?…؟।])[.!?…؟।]++[{_CLOSING}]*+\s++|(?<![。！？])[。！？]++[{_CLOSING}]*+\s*+"
)
_OPENED = re.compile(rf"[{_OPENING}]*")
_LAST_WORD = re.compile(r"(?<!\w)(\w{1,6})\.\s*\Z")


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, each without white space around it.

    A sentence ends

    - at ``. ! ? …``, and quotes and brackets that close, before white space, unless a small letter
      comes next, or a full stop ends an abbreviation such as ``Mr.``, or ``No.`` before a number,
      or an initial such as ``J.``;
    - at ``。！？``; if something closes right after it, as 」 does, unless hiragana or a comma
      comes next, with which the sentence around the quotation goes on.

    No rule can know whether a name goes on with the sentence after a quotation, as in ``"Why?" Ann
    asked.``, which is cut; nor whether an abbreviation ends one.

    >>> split_sentences('Mr. J. Hall paid No. 9. "Why?" asked Ann. "No." He left.')
    ['Mr. J. Hall paid No. 9.', '"Why?" asked Ann.', '"No."', 'He left.']
    """
    sentences, start = list[str](), 0
    for match in _END.finditer(text):
        if _is_end(text, start, match):
            sentences.append(text[start : match.end()].strip())
            start = match.end()
    sentences.append(text[start:].strip())
    return [sentence for sentence in sentences if sentence]


def _is_end(text: str, start: int, match: re.Match[str]) -> bool:
    opened = _OPENED.match(text, match.end())
    assert opened is not None  # as it also matches nothing
    following = text[opened.end() : opened.end() + 1]
    mark = match.group().rstrip()
    if mark[0] in "。！？":
        return mark[-1] in "。！？" or not ("ぁ" <= following <= "ゟ" or following in "、，")
    if following.islower():
        return False
    word = _LAST_WORD.search(text[max(start, match.start() - 8) : match.end()])
    return word is None or not _is_abbreviated(word[1], following)


def _is_abbreviated(word: str, following: str) -> bool:
    """``I`` is a word, and a number of a chapter, more often than an initial."""
    if _NUMBERED.fullmatch(word):
        return following.isdigit()
    initial = len(word) == 1 and word.isupper() and word != "I"
    return initial or _ABBREVIATION.fullmatch(word) is not None
