"""Which tokens of two prompts belong together."""

from __future__ import annotations

import pytest

from workbench.errors import InputError
from workbench.methods.patching.alignment import aligned, typed_pairs


def test_prompts_of_one_length_are_aligned_token_by_token():
    assert aligned((5, 6, 7), (5, 9, 7)) == ((0, 0), (1, 1), (2, 2))


def test_others_are_aligned_by_their_longest_common_runs():
    assert aligned((1, 2, 3, 8, 9), (1, 2, 3, 4, 8, 9)) == ((0, 0), (1, 1), (2, 2), (3, 4), (4, 5))


def test_a_name_of_fewer_tokens_is_aligned_with_the_end_of_a_longer_one():
    assert aligned((1, 2, 50, 8, 9), (1, 2, 60, 61, 62, 8, 9)) == ((0, 0), (1, 1), (2, 4), (3, 5), (4, 6))


def test_pairs_by_hand_take_the_place_of_those_of_their_tokens():
    assert aligned((1, 2, 3), (1, 9, 3), [(0, 1)]) == ((0, 1), (2, 2))


def test_prompts_that_have_nothing_in_common_are_aligned_by_hand_or_refused():
    with pytest.raises(InputError, match="no token in common"):
        aligned((1, 2), (3, 4, 5))
    assert aligned((1, 2), (3, 4, 5), [(1, 2)]) == ((1, 2),)


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        ([(3, 0)], "there is no token 3 in the prompt: it has 3, counted from 0"),
        ([(0, 4)], "there is no token 4 in the source: it has 4, counted from 0"),
        ([(-1, 0)], "there is no token -1 in the prompt"),
        ([(0, 1), (0, 2)], "token 0 of the prompt is in two pairs"),
        ([(0, 1), (2, 1)], "token 1 of the source is in two pairs"),
    ],
)
def test_pairs_that_make_no_sense_are_refused(pairs, sentence):
    with pytest.raises(InputError, match=sentence):
        aligned((1, 2, 3), (1, 2, 3, 4), pairs)


def test_pairs_are_typed_with_a_colon():
    assert typed_pairs("3:4, 5:6 7:8") == ((3, 4), (5, 6), (7, 8))
    for text in ("3", "3:", "a:b", "3:4:5"):
        with pytest.raises(InputError, match="is no pair of tokens"):
            typed_pairs(text)
