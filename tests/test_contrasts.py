"""The shipped contrast sets are what they say, and the user's own files are read or refused in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.contrast_sets import PAIRS, write_contrast
from workbench.datasets.contrasts import contrast_of, read_contrast, shipped_contrast, shipped_contrasts
from workbench.errors import InputError


def test_the_shipped_sets_are_the_five() -> None:
    assert shipped_contrasts() == ("brevity", "formality", "refusal", "sentiment", "truthfulness")


@pytest.mark.parametrize("name", shipped_contrasts())
def test_a_shipped_set_is_read_like_a_file_of_ones_own(name: str, tmp_path: Path) -> None:
    found = shipped_contrast(name)
    assert found.name == name
    assert (len(found.pairs), len(found.held_out)) == (24, 16)
    file = tmp_path / f"{name}.json"
    file.write_text(found.model_dump_json(), encoding="utf-8")
    assert read_contrast(file) == found == contrast_of(str(file))
    assert contrast_of(f" {name} ") == found
    texts = {text for pair in found.pairs for text in (pair.prompt, pair.positive, pair.negative) if text}
    assert not texts & {held.prompt for held in found.held_out}
    assert len({held.prompt for held in found.held_out}) == 16


def test_a_file_is_named_after_itself_and_its_digest_is_of_its_content(tmp_path: Path) -> None:
    found = read_contrast(write_contrast(tmp_path))
    assert (found.name, found.held_out[0].prompt) == ("words", "The largest city")
    assert found.digest == read_contrast(write_contrast(tmp_path)).digest
    assert found.digest != read_contrast(write_contrast(tmp_path, pairs=PAIRS[:4])).digest


SAME = {"prompt": "What is", "positive": " the  answer", "negative": "the answer "}


@pytest.mark.parametrize(
    ("kind", "changed", "said"),
    [
        ("words", {"pairs": [*PAIRS[:2], SAME, *PAIRS]}, "pair 3 is twice the same text, 'the answer'; write two"),
        ("words", {"pairs": [*PAIRS, {"positive": " ", "negative": "a"}]}, "pair 6 has an empty text"),
        ("words", {"pairs": PAIRS[:3]}, "it has 3 pairs; give 4 or more"),
        ("words", {"held_out": ["a", "b"]}, "it has 2 held-out prompts; give 4 or more"),
        ("words", {"held_out": ["a", "b", "c", "What is"]}, "held-out prompt 4 is in pair 5 too; hold out another"),
        ("words", {"held_out": ["a", "b", "c", "Tom has 3 apples"]}, "held-out prompt 4 is in pair 3 too"),
        ("words", {"held_out": ["a", "b", "c", ""]}, "held-out prompt 4 is empty"),
        ("completions", {"held_out": ["a", "b", "c", "d"]}, "held-out prompt 1 lacks its completions"),
        ("words", {"measure": {"kind": "words", "name": "x"}}, "wrong at measure"),
        ("words", {"measure": {"kind": "phrases", "name": "x"}}, "wrong at measure"),
        ("words", {"measure": {"kind": "mood", "name": "x"}}, "wrong at measure.kind"),
        ("words", {"pairs": "many"}, "wrong at pairs"),
        ("words", {"colour": 1}, "wrong at colour"),
    ],
)
def test_a_set_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, kind: str, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        read_contrast(write_contrast(tmp_path, kind, **changed))
    message = str(caught.value)
    assert said in message
    assert "\n" not in message


def test_a_completion_that_is_twice_the_same_is_refused(tmp_path: Path) -> None:
    held = [{"prompt": text, "positive": "x", "negative": "x "} for text in "abcd"]
    with pytest.raises(InputError, match="held-out prompt 1 has twice the same completion"):
        read_contrast(write_contrast(tmp_path, "completions", held_out=held))


@pytest.mark.parametrize(("text", "said"), [("[1]", "no JSON object"), ("{", "not complete JSON"), ("", "JSON")])
def test_what_is_no_set_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "set.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_contrast(file)


def test_a_name_that_is_none_and_no_name_are_told_the_choices() -> None:
    for name in ("politeness", None, " "):
        with pytest.raises(InputError, match="brevity, formality, refusal, sentiment, truthfulness"):
            contrast_of(name)
    with pytest.raises(InputError, match="cannot be read"):
        contrast_of("./nowhere.json")
