"""The shipped concept sets are what they say, and the user's own files are read or refused in a sentence."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from workbench.datasets.concept_files import read_concept, split_up
from workbench.datasets.concepts import ConceptData, Example, render, shipped_concept, shipped_concepts
from workbench.errors import InputError

WORDS = ("river", "stone", "light", "garden", "window", "paper", "morning", "bridge", "winter", "letter")


def rows(count: int = 60, groups: int = 0) -> list[dict[str, str]]:
    """Examples of two classes, half each."""
    return [
        {
            "text": f"{WORDS[i % 10]} {WORDS[i // 10 % 10]} {i}",
            "label": "warm" if i % 2 else "cold",
            **({"group": f"g{i // 2 % groups}"} if groups else {}),
        }
        for i in range(count)
    ]


def write(folder: Path, name: str, given: list[dict[str, str]]) -> Path:
    path = folder / name
    if path.suffix == ".jsonl":
        text = "\n".join(json.dumps(row) for row in given)
    else:
        comma = "\t" if path.suffix == ".tsv" else ","
        text = "\n".join(comma.join(row) for row in [list(given[0]), *(list(row.values()) for row in given)])
    path.write_text(text + "\n", encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_concept(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- The shipped sets ---


def test_the_shipped_concepts_are_the_five() -> None:
    assert shipped_concepts() == ("language", "number", "pronoun-gender", "sentiment", "tense")


@pytest.mark.parametrize("name", shipped_concepts())
def test_a_shipped_set_has_four_thousand_texts_and_as_many_of_each_class_in_every_split(name: str) -> None:
    data = shipped_concept(name)
    assert len({example.text for example in data.examples}) == len(data.examples) >= 4000
    for split in ("train", "test", "held-out"):
        counts = Counter(example.label for example in data.of(split))
        assert set(counts) == set(data.classes)
        assert len(set(counts.values())) == 1
        assert min(counts.values()) >= 300


@pytest.mark.parametrize("name", shipped_concepts())
def test_the_held_out_texts_of_a_shipped_set_are_of_templates_of_their_own(name: str) -> None:
    data = shipped_concept(name)
    groups = {split: {example.group for example in data.of(split)} for split in ("train", "test", "held-out")}
    assert groups["train"] == groups["test"]
    assert not groups["train"] & groups["held-out"]
    assert len(groups["held-out"]) >= 8


@pytest.mark.parametrize("name", shipped_concepts())
def test_every_field_of_a_shipped_set_is_filled(name: str) -> None:
    for example in shipped_concept(name).examples:
        assert "{" not in example.text
        assert "}" not in example.text
        assert "  " not in example.text
        assert not example.text[0].islower()


@pytest.mark.parametrize("name", shipped_concepts())
def test_a_shipped_set_says_which_words_belong_to_a_class(name: str) -> None:
    data = shipped_concept(name)
    assert set(data.words) == set(data.classes)
    assert len(data.prompts) >= 6
    assert not set(data.words[data.classes[0]]) & set(data.words[data.classes[1]])


def test_the_two_classes_of_pronoun_gender_differ_in_pronouns_only() -> None:
    examples = shipped_concept("pronoun-gender").examples
    pronouns = {"she": "P", "he": "P", "her": "P", "him": "P", "his": "P", "herself": "P", "himself": "P"}
    for one, other in zip(examples[::2], examples[1::2], strict=True):
        plain = [
            "".join(pronouns.get(word.lower(), word) for word in __import__("re").split(r"(\W)", e.text))
            for e in (one, other)
        ]
        assert one.label != other.label
        assert one.split == other.split
        assert plain[0] == plain[1]


def test_a_set_is_rendered_alike_every_time() -> None:
    written = {
        "id": "size",
        "title": "Size",
        "classes": ["big", "small"],
        "pairs_per_template": 3,
        "templates": ["I saw a {animal}, which was {big}", "{Big} is the {animal}"],
        "held_out_templates": [{"big": "Some {animal} are {big}", "small": "Few {animal} are {big}"}],
        "prompts": [],
        "words": {},
        "by_class": {"big": {"big": ["huge", "large"], "small": ["tiny", "little"]}},
        "shared": {"animal": ["ox", "cat", "owl"]},
    }
    data = render(written)
    assert render(written) == data
    assert len(data.examples) == 18
    texts = {example.text for example in data.examples}
    assert {
        "I saw an ox, which was huge",
        "I saw an ox, which was tiny",
    } <= texts or "I saw a cat, which was huge" in texts
    assert not any("a ox" in text or "a owl" in text for text in texts)
    assert all(example.text.startswith("Some") == (example.label == "big") for example in data.of("held-out"))
    assert len(data.of("test")) == 4  # a quarter of three combinations, rounded up, of two templates and two classes


def test_a_concept_that_is_not_shipped_is_refused_with_those_that_are() -> None:
    with pytest.raises(InputError, match="tense"):
        shipped_concept("colour")


def test_a_limited_set_keeps_pairs_together() -> None:
    data = shipped_concept("tense").limited(200, seed=1)
    assert len(data.examples) == 200
    assert Counter(example.label for example in data.examples) == {"present": 100, "past": 100}
    assert data.limited(200, seed=1) == data
    assert data.digest != shipped_concept("tense").digest


# --- The user's files ---


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_a_file_of_each_kind_gives_the_same_examples(tmp_path: Path, suffix: str) -> None:
    data = read_concept(write(tmp_path, f"mine{suffix}", rows()))
    assert data.name == "mine"
    assert data.classes == ("cold", "warm")
    assert [(example.text, example.label) for example in data.examples] == [(r["text"], r["label"]) for r in rows()]


def test_texts_may_hold_commas_quotes_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "quoted.csv"
    body = "".join(f'"one, ""two""\nand {i}",{"a" if i % 2 else "b"}\n' for i in range(60))
    path.write_text("text,label\n" + body, encoding="utf-8")
    assert read_concept(path).examples[3].text == 'one, "two"\nand 3'


def test_a_column_of_splits_is_respected(tmp_path: Path) -> None:
    given = [{**row, "split": ("train", "train", "test", "held-out")[i // 2 % 4]} for i, row in enumerate(rows(80))]
    data = read_concept(write(tmp_path, "split.jsonl", given))
    assert [example.split for example in data.examples] == [row["split"] for row in given]


def test_texts_without_groups_are_divided_alike_and_nothing_is_held_out(tmp_path: Path) -> None:
    data = read_concept(write(tmp_path, "plain.csv", rows(80)))
    assert Counter((example.split, example.label) for example in data.examples) == {
        ("train", "cold"): 30,
        ("train", "warm"): 30,
        ("test", "cold"): 10,
        ("test", "warm"): 10,
    }
    assert read_concept(tmp_path / "plain.csv") == data
    assert read_concept(tmp_path / "plain.csv", seed=1) != data


def test_a_group_is_held_out_as_a_whole(tmp_path: Path) -> None:
    data = read_concept(write(tmp_path, "groups.jsonl", rows(120, groups=10)))
    held_out = {example.group for example in data.of("held-out")}
    assert len(held_out) == 2
    assert not held_out & {example.group for example in (*data.of("train"), *data.of("test"))}
    assert {example.label for example in data.of("held-out")} == {"cold", "warm"}


def test_an_example_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    assert len(read_concept(write(tmp_path, "twice.csv", rows() + rows())).examples) == 60


def test_splitting_needs_no_more_than_one_group_or_two_examples() -> None:
    few = [Example("a", "x", "g"), Example("b", "y", "g"), Example("c", "x", "g"), Example("d", "y", "g")]
    assert {example.split for example in split_up(few)} == {"train", "test"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.txt", "text,label\n", r"takes \.csv, \.tsv or \.jsonl"),
        ("x.csv", "", "holds no examples"),
        ("x.csv", "text,label\n", "holds no examples"),
        ("x.csv", "sentence,label\na,b\n", "no column 'text' but sentence, label"),
        ("x.tsv", "text\tclass\na\tb\n", "no column 'label' but text, class"),
        ("x.csv", "text,label\na,b\nc\nd,e,f\n", r"row 3: 1 fields where the heading has 2; row 4: 3 fields"),
        ("x.csv", 'text,label\n"a,b\n', "row 2: unexpected end of data"),
        ("x.jsonl", '{"text": "a", "label": "b"}\n{"text": \n[1]\n', "row 2: no JSON, .*; row 3: no JSON object"),
        ("x.jsonl", '{"text": "a", "label": "b"}\n{"text": "", "label": "b"}\n', "row 2: no text"),
        ("x.jsonl", '{"text": 5, "label": "b"}\n', "row 1: no text"),
        ("x.jsonl", '{"text": "a", "label": ""}\n[1]\n', "row 1: no label; row 2: no JSON object"),
        ("x.jsonl", "nothing\n", "row 1: no JSON"),
        ("x.csv", "text,label,text\na,b,c\n", "2 columns 'text'"),
        ("x.jsonl", '{"text": "a", "label": null}\n', "row 1: no label"),
        ("x.csv", "text,label,split\na,b,training\n", "row 2: split 'training', which is none of train, test"),
    ],
)
def test_a_bad_file_is_refused_in_a_sentence_with_its_rows(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_concept(path)
    assert str(path) in refusal(path)


def test_many_bad_rows_are_counted_and_not_all_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"text": "a", "label": ""}\n' * 12, encoding="utf-8")
    message = refusal(path)
    assert "row 5" in message
    assert "row 6" not in message
    assert "and 7 more" in message


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"text,label\na,b\n\xff\xfe,b\n")
    assert "not UTF-8 text from line 3 on" in refusal(tmp_path / "bytes.csv")


def test_one_class_is_refused(tmp_path: Path) -> None:
    assert "all 30 examples" in refusal(write(tmp_path, "one.csv", rows()[::2]))


def test_too_few_examples_of_a_class_are_refused_with_how_many_there_are(tmp_path: Path) -> None:
    few = rows(100)[::2] + rows(16)[1::2]
    message = refusal(write(tmp_path, "few.csv", few))
    assert "6 examples of 'warm' to fit a probe with" in message
    assert "10" in message


def test_labels_of_any_kind_become_text(tmp_path: Path) -> None:
    path = tmp_path / "numbers.jsonl"
    lines = (json.dumps({"text": f"text {i}", "label": i % 3}) for i in range(90))
    path.write_text("\n".join(lines), encoding="utf-8")
    data: ConceptData = read_concept(path)
    assert data.classes == ("0", "1", "2")
