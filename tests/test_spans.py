"""Where a subject stands in a prompt, and where a phrasing's blank is."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.case import Case
from workbench.datasets.suites import read_records
from workbench.methods.tracing.facts import read_facts
from workbench.spans import fill, find_subject


@pytest.mark.parametrize(
    ("prompt", "subject", "place"),
    [
        ("Ann met Anna", "Ann", (0, 3)),
        ("Anna and Ann’s Annabel", "Ann", (9, 12)),
        ("Ann_b Ann.", "Ann", (6, 9)),
        ("Anna met Anna", "Ann", (9, 12)),  # only fragments: the last
        ("Rome, Rome", "Rome", (6, 10)),
        ("東京は日本の首都", "日本", (3, 5)),  # words without spaces between them are whole
        ("Ann", "Ann", (0, 3)),
        ("Ann met Bob", " Ann ", (0, 3)),
    ],
)
def test_whole_words_come_before_fragments_and_the_last_of_several(
    prompt: str, subject: str, place: tuple[int, int]
) -> None:
    found = find_subject(prompt, subject)
    assert found is not None
    assert (found.start, found.stop) == place


@pytest.mark.parametrize(
    ("prompt", "subject", "written"),
    [
        ("Where is O’Neill from", "O'Neill", "O’Neill"),
        ("Where is O'Neill from", "O’Neill", "O'Neill"),
        ("The Eiffel\u00a0Tower is", "Eiffel Tower", "Eiffel\u00a0Tower"),
        ("The o\ufb03ce of Ann", "office", "o\ufb03ce"),
        ("The \u1112\u1161\u11ab river", "\ud55c", "\u1112\u1161\u11ab"),
        ("Jean\u2011Luc is", "Jean-Luc", "Jean\u2011Luc"),
        ("Sa\u0303o Paulo or S\u00e3o Paulo", "Sa\u0303o Paulo", "Sa\u0303o Paulo"),  # the same form first
    ],
)
def test_the_same_letters_in_another_form_are_found_as_they_are_written(
    prompt: str, subject: str, written: str
) -> None:
    found = find_subject(prompt, subject)
    assert found is not None
    assert prompt[found.start : found.stop] == written
    assert found.other_form == (written != subject)


@pytest.mark.parametrize(("prompt", "subject"), [("Sa\u0303o", "Sa"), ("m²", "m2"), ("Ann", "ann"), ("Ann", " ")])
def test_what_only_looks_alike_is_not_found(prompt: str, subject: str) -> None:
    assert find_subject(prompt, subject) is None


@given(before=st.text(max_size=5), subject=st.text(min_size=1, max_size=5), after=st.text(max_size=5))
def test_what_is_found_is_the_subject_in_some_form(before: str, subject: str, after: str) -> None:
    prompt = before + subject + after
    found = find_subject(prompt, subject)
    if found is not None:
        written = prompt[found.start : found.stop]
        assert found.other_form == (written != subject.strip())
        if not found.other_form:
            assert unicodedata.normalize("NFC", written) == unicodedata.normalize("NFC", subject.strip())
    else:  # what stands beside it makes another letter of its first or last one
        assert not subject.strip() or not prompt.isascii()


def test_a_blank_is_where_the_subject_is() -> None:
    assert fill("{} met Bob", "Ann") == ("Ann met Bob", None)
    assert fill("{}, and not Ann, said", "Ann") == ("Ann, and not Ann, said", 0)
    assert find_subject("Ann, and not Ann, said", "Ann", 0).start == 0  # type: ignore[union-attr]
    assert find_subject("Ann, and not Ann, said", "Ann", 1) is None
    assert fill("He said", "Ann") == ("He said", None)


def test_the_place_of_a_case_s_subject_moves_with_what_is_put_before_it() -> None:
    case = Case(prompt="Ann or Ann", subject=" Ann", subject_at=0)
    assert case.subject == "Ann"
    moved = case.after("Well. ")
    assert (moved.prompt, moved.subject_at) == ("Well. Ann or Ann", 6)
    assert case.asking("Bob").subject_at is None
    assert "subject_at" not in Case(prompt="Ann").model_dump()


def test_records_and_facts_say_where_their_blank_was(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_text(
        '{"requested_rewrite": {"prompt": "{}, unlike Ann, lives in", "subject": "Ann", '
        '"target_new": {"str": "Oslo"}, "target_true": {"str": "Rome"}}, '
        '"paraphrase_prompts": ["Anna lives in", "Ann\'s home is"]}\n'
        '{"prompt": "{}, unlike Ann, lives in", "subject": "Ann", "target": "Oslo"}\n'
    )
    for record in read_records(file):
        assert (record.case.prompt, record.case.subject_at) == ("Ann, unlike Ann, lives in", 0)
    inside = [fact.subject for fact in read_records(file)[0].suite.facts if fact.role == "paraphrase"]
    assert inside == [None, "Ann"]  # Anna is somebody else
    file.write_text('{"template": "{}, unlike Ann, lives in", "subject": "Ann", "attribute": "Oslo"}')
    assert read_facts(file)[0].subject_at == 0
