"""Sentences as rows, and which of their words are hidden: every row by hand, shares by counting."""

import numpy as np
import pytest

from saiki.data.text.masking import Masking, TokenRows, choose, kept_apart
from saiki.text import END, FIRST, MASK, PAD, UNKNOWN

ROWS = [[7, 8, END], [END], [9, UNKNOWN, 7, 7, END]]


def words(rows, columns, vocabulary=50, seed=0):
    return np.random.default_rng(seed).integers(FIRST, vocabulary, (rows, columns))


def random(seed=1):
    return np.random.default_rng(seed)


def test_rows_come_back_as_they_were_with_padding_beyond_their_ends():
    sentences = TokenRows.of(iter(ROWS))
    assert len(sentences) == 3
    assert sentences.lengths.tolist() == [3, 1, 5]
    assert [row.tolist() for row in sentences.rows()] == ROWS
    table, lengths = sentences.padded([2, 0, 2])
    assert lengths.tolist() == [5, 3, 5]
    assert table.tolist() == [ROWS[2], [*ROWS[0], PAD, PAD], ROWS[2]]
    assert sentences.padded([1])[0].tolist() == [[END]]


def test_rows_that_are_elsewhere_too_are_left_out():
    mine, others = TokenRows.of([*ROWS, ROWS[0]]), TokenRows.of([[7, 8], ROWS[0], [7, 7, END]])
    assert [row.tolist() for row in mine.without(others).rows()] == [ROWS[1], ROWS[2]]
    assert len(mine.without(TokenRows.of([]))) == 4
    assert len(TokenRows.of([]).without(mine)) == 0


@pytest.mark.parametrize(
    ("count", "section", "held"),
    [(100_000, 100, 4_000), (20_000, 100, 1_000), (1_000, 50, 50), (60, 3, 3), (11, 1, 1)],
)
def test_whole_sections_are_kept_apart_evenly_spread(count, section, held):
    apart = kept_apart(count, 0.05, 4_000)
    assert len(apart) == count
    assert apart.sum() == held
    begins = np.flatnonzero(np.diff(apart.astype(int), prepend=0) == 1)
    assert (begins % section == 0).all()
    assert all(apart[begin : begin + section].all() for begin in begins)
    gaps = np.diff(begins)
    assert len(set(gaps.tolist())) <= 1
    assert begins[0] > 0


def test_too_few_sentences_are_all_learned_from():
    assert not kept_apart(9, 0.05, 4_000).any()
    assert len(kept_apart(0, 0.05, 4_000)) == 0


@pytest.mark.parametrize("share", [0.05, 0.15, 0.6])
def test_each_word_is_chosen_with_that_probability(share):
    tokens = words(400, 300)
    chosen = choose(tokens, share, random())
    error = np.sqrt(share * (1 - share) / tokens.size)
    assert abs(chosen.mean() - share) < 4 * error
    by_column = chosen.mean(0)
    assert abs(by_column - share).max() < 5 * np.sqrt(share * (1 - share) / 400)


def test_nothing_special_is_ever_chosen():
    tokens = np.arange(FIRST + 1)[None].repeat(200, 0)
    chosen = choose(tokens, 1.0, random())
    assert chosen[:, :FIRST].sum() == 0
    assert chosen[:, FIRST].all()


def test_one_word_of_each_row_is_chosen_at_least_any_of_them_and_none_where_there_is_none():
    chosen = choose(words(3_000, 5), 0.0, random())
    assert (chosen.sum(1) == 1).all()
    assert abs(chosen.mean(0) - 0.2).max() < 4 * np.sqrt(0.2 * 0.8 / 3_000)
    row = np.array([[END, PAD, PAD], [UNKNOWN, END, PAD]])
    assert not choose(row, 1.0, random()).any()


def test_what_is_chosen_is_hidden_replaced_or_kept_by_their_shares_and_the_rest_stays():
    vocabulary = 20
    tokens = words(400, 500, vocabulary)
    chosen = choose(tokens, 0.5, random())
    shown = Masking(replaced=0.2, kept=0.3).hide(tokens, chosen, vocabulary, random(2))
    assert (shown[~chosen] == tokens[~chosen]).all()
    n = chosen.sum()
    # a word that is drawn may be the very one that was there
    same = 0.3 + 0.2 / (vocabulary - FIRST)
    masked, stays = (shown[chosen] == MASK).mean(), (shown == tokens)[chosen].mean()
    assert abs(masked - 0.5) < 4 * np.sqrt(0.25 / n)
    assert abs(stays - same) < 4 * np.sqrt(same * (1 - same) / n)
    other = shown[chosen & (shown != tokens) & (shown != MASK)]
    counts = np.bincount(other, minlength=vocabulary)
    assert counts[:FIRST].sum() == 0
    mean = counts.sum() / (vocabulary - FIRST)
    assert abs(counts[FIRST:] - mean).max() < 5 * np.sqrt(mean)


@pytest.mark.parametrize(
    ("masking", "wanted"),
    [
        (Masking(replaced=0.0, kept=0.0), "masked"),
        (Masking(replaced=0.0, kept=1.0), "kept"),
        (Masking(replaced=1.0, kept=0.0), "replaced"),
    ],
)
def test_a_share_of_one_is_all(masking, wanted):
    tokens = words(30, 30)
    chosen = choose(tokens, 0.5, random())
    shown = masking.hide(tokens, chosen, 50, random())[chosen]
    assert (shown == MASK).all() == (wanted == "masked")
    assert (shown == tokens[chosen]).all() == (wanted == "kept")
    assert (shown >= FIRST).all() == (wanted != "masked")
