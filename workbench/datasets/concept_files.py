"""Labelled texts from the user's own file: CSV, TSV or JSON lines with ``text`` and ``label``.

A column ``split`` (train, test, held-out) is respected; without one, texts are divided here, by ``group`` where
there is such a column. ``docs/erasure.md`` describes the files.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

from workbench.datasets.concepts import TEST_SHARE, ConceptData, Example, Split, distinct
from workbench.datasets.json_files import numbered_lines
from workbench.errors import InputError
from workbench.reading import BadJson, parse, quoted, read_text, shortened

HELD_OUT_GROUPS = 5
"""One group in so many is kept out altogether."""

LEAST_TO_FIT = 10
"""Examples of a class below which a probe learns nothing that could be told from chance."""

LEAST_TO_TEST = 5

SHOWN = 5
"""Bad rows named in an error."""

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")


def read_concept(path: Path, seed: int = 0) -> ConceptData:
    """Read and check a file; ``seed`` divides texts that come without ``split``.

    Raises `InputError` with one sentence for a file that cannot be read, lacks a column, has bad rows, fewer than
    two labels, or too few examples of one.
    """
    read = list(_read(path))
    rows = [row for _, row in read if isinstance(row, dict)]
    if not read:
        raise InputError(f"{path} holds no examples; it takes a text and a label in each row")
    columns = dict.fromkeys(name for row in rows for name in row)
    for column in ("text", "label"):
        if rows and column not in columns:
            raise InputError(
                f"{path} has no column {column!r} but {shortened(', '.join(columns), 200)}; name the two text and label"
            )
    _refuse(path, [(number, why) for number, row in read if (why := _wrong(row))])
    examples = distinct([_example(row) for row in rows])
    if not any(row.get("split") for row in rows):
        examples = tuple(split_up(examples, seed))
    labels = tuple(sorted({example.label for example in examples}))
    data = ConceptData(name=path.stem, title=path.stem, classes=labels, examples=examples)
    check_enough(data)
    return data


RawRow = dict[str, Any] | str
"""A row by its columns, or what keeps it from being read."""


def _read(path: Path) -> Iterator[tuple[int, RawRow]]:
    """Each row with its number, the first line of the file being 1."""
    suffix = path.suffix.lower()
    if suffix not in (*_DELIMITERS, *_JSON_LINES):
        raise InputError(f"{path} is not a file of examples; it takes .csv, .tsv or .jsonl")
    text = read_text(path)
    yield from _json_lines(text) if suffix in _JSON_LINES else _table(path, text, _DELIMITERS[suffix])


def _table(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, RawRow]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    heading: list[str] = []
    try:
        for fields in reader:
            if not heading:
                heading = [name.strip() for name in fields]
                _refuse_twice(path, heading)
            elif fields and len(fields) != len(heading):
                yield reader.line_num, f"{len(fields)} fields where the heading has {len(heading)}"
            elif fields:
                yield reader.line_num, dict(zip(heading, fields, strict=True))
    except csv.Error as error:
        yield reader.line_num, str(error)


def _refuse_twice(path: Path, heading: Sequence[str]) -> None:
    """Raise `InputError` where two columns have one name: only one of them could be meant."""
    twice = [name for name, count in Counter(heading).items() if name and count > 1]
    if twice:
        raise InputError(f"{path} has {Counter(heading)[twice[0]]} columns {quoted(twice[0])}; leave one of them")


def _json_lines(text: str) -> Iterator[tuple[int, RawRow]]:
    for number, line in numbered_lines(text):  # not `read_values`, as every bad row is to be named
        try:
            row = parse(line)
        except BadJson as error:
            yield number, f"no JSON, {error.why}"
            continue
        yield number, row if isinstance(row, dict) else "no JSON object"


def _wrong(row: RawRow) -> str | None:
    """What is wrong with a row, if anything."""
    if isinstance(row, str):
        return row
    text, label, split = row.get("text"), row.get("label"), row.get("split")
    if not isinstance(text, str) or not text.strip():
        return "no text"
    if label is None or isinstance(label, (dict, list)) or not str(label).strip():
        return "no label"
    if split and split not in get_args(Split):
        return f"split {quoted(split)}, which is none of {', '.join(get_args(Split))}"
    return None


def _example(row: dict[str, Any]) -> Example:
    split = cast(Split, row.get("split") or "train")
    return Example(row["text"].strip(), str(row["label"]).strip(), str(row.get("group") or ""), split)


def _refuse(path: Path, found: Sequence[tuple[int, str]]) -> None:
    """Raise `InputError` that names the bad rows, if there are any."""
    if found:
        listed = "; ".join(f"row {number}: {why}" for number, why in found[:SHOWN])
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise InputError(f"{path} has rows that cannot be used ({listed}{more}); mend them or take them out")


# --- Splitting what comes without splits ---


def split_up(examples: Sequence[Example], seed: int = 0) -> list[Example]:
    """Put examples into splits: a group in five is held out, and a quarter of the others' texts are for testing.

    Every class is divided alike as far as groups allow. Nothing is held out where there are fewer than two groups.
    """
    from sklearn.model_selection import StratifiedGroupKFold, train_test_split  # 0.9 s, for own files only

    labels, groups = [example.label for example in examples], [example.group for example in examples]
    inside = list(range(len(examples)))
    splits: dict[int, Split] = {}
    n_groups, rarest = len(set(groups)), min(Counter(labels).values())
    if n_groups > 1 and rarest > 1:
        folds = StratifiedGroupKFold(min(HELD_OUT_GROUPS, n_groups, rarest), shuffle=True, random_state=seed)
        kept, held_out = next(iter(folds.split(labels, labels, groups)))
        inside = [int(i) for i in kept]
        splits = {int(i): "held-out" for i in held_out}
    counts = Counter(labels[i] for i in inside)
    stratify = [labels[i] for i in inside] if min(counts.values()) > 1 and len(inside) > 4 * len(counts) else None
    train, test = train_test_split(inside, test_size=TEST_SHARE, random_state=seed, stratify=stratify)
    splits |= dict.fromkeys(train, "train") | dict.fromkeys(test, "test")
    return [replace(example, split=splits[i]) for i, example in enumerate(examples)]


def check_enough(data: ConceptData, mend: str = "give more texts of that class") -> None:
    """Raise `InputError` where there are too few classes, or too few examples of one for a probe; ``mend`` ends it."""
    if len(data.classes) < 2:
        raise InputError(
            f"all {len(data.examples)} examples of {data.name} have the label {quoted(data.classes[0])}; give two "
            "labels or more to tell apart"
        )
    for split, least, use in (("train", LEAST_TO_FIT, "fit"), ("test", LEAST_TO_TEST, "test")):
        counts = Counter(example.label for example in data.examples if example.split == split)
        for label in data.classes:
            if counts[label] < least:
                raise InputError(
                    f"{data.name} has {counts[label]} examples of {quoted(label)} to {use} a probe with, and it takes "
                    f"{least}; {mend}"
                )
