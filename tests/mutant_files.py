"""The files that are damaged, one kind for each reader, and what reads them."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from safetensors.torch import save

from screens.history import load_history
from screens.sessions import recent_sessions
from tests.mutant_sessions import print_all, recorded, replaying, steps
from tests.mutants import (
    Tally,
    dumped,
    in_time,
    judge,
    mutate_bytes,
    mutate_document,
    mutate_json,
    mutate_lines,
    mutate_table,
    mutate_tensors,
)
from tests.test_edits import state_edit, weight_edit
from tests.tiny import save_tiny, tiny_loaded
from workbench import paths
from workbench.cli.question_plans import _text_of
from workbench.datasets.concept_files import read_concept
from workbench.datasets.questions import read_questions
from workbench.datasets.suites import read_records, read_suite
from workbench.editing.patches import load_patch, save_patch
from workbench.methods.tracing.facts import read_facts
from workbench.models.store.catalog import list_models
from workbench.models.store.checkpoint import check_tokenizer_files, read_config, stored_tensors
from workbench.models.store.describe import describe_folder
from workbench.session import load_session

Mutate = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Kind:
    """Files of one kind: good ones by name, how they are damaged, who reads them, its share of all mutants."""

    name: str
    good: Callable[[], dict[str, bytes]]
    mutate: Mutate
    read: Callable[[Path], Any]
    share: int


def _lines(*values: Any) -> bytes:
    return b"\n".join(json.dumps(value).encode() for value in values)


FACTS = _lines(
    {"prompt": "The capital of France is", "subject": "France", "target": "Paris"},
    {"template": "The mother tongue of {} is", "subject": "Marie", "attribute": "French", "known_id": 4},
)
SHORT = {"id": "a", "prompt": "The capital of Australia is", "subject": "Australia", "target": " Canberra"}
PUBLISHED = {
    "case_id": 7,
    "requested_rewrite": {
        "prompt": "The mother tongue of {} is",
        "subject": "Danielle",
        "target_new": {"str": "English"},
        "target_true": {"str": "French"},
    },
    "paraphrase_prompts": ["Danielle, a native"],
    "neighborhood_prompts": ["The mother tongue of Léon is"],
    "generation_prompts": ["Danielle writes"],
}
FLAT = {
    "prompt": "The capital of Japan is",
    "subject": "Japan",
    "target_new": "Kyoto",
    "ground_truth": "Tokyo",
    "rephrase_prompt": "Japan's capital is",
    "locality_prompt": "The capital of France is",
    "locality_ground_truth": "Paris",
}
FULL = {
    "id": "1",
    "case": {"prompt": "The capital of Narnia is", "subject": "Narnia", "target": " Cair"},
    "suite": {"name": "n", "facts": [{"role": "rewrite", "prompt": "The capital of Narnia is", "target": " Cair"}]},
}
SUITE = {
    "name": "mine",
    "facts": [
        {"role": "rewrite", "prompt": "The capital of Australia is", "target": "Canberra", "against": "Sydney"},
        {"role": "unrelated", "prompt": "Two and two is", "subject": None, "target": "four"},
    ],
    "generation_prompts": ["Australia"],
}
QUESTIONS = _lines(
    {"id": "1", "task": "sums", "question": "What is 3 + 4?", "choices": ["7", "8"], "answer": "7"},
    {"id": "2", "task": "sums", "question": "What is 3 + 5?"},
)
ROWS = [("yes" if n % 2 else "no", f"text number {n}", "train" if n < 30 else "test") for n in range(44)]


def _table(delimiter: str) -> bytes:
    return "\n".join(delimiter.join(row) for row in [("label", "text", "split"), *ROWS]).encode()


def mutate_tabbed(content: bytes, dice: random.Random) -> bytes:
    """A table with tabs for commas."""
    return mutate_table(content.replace(b"\t", b","), dice).replace(b",", b"\t")


@cache
def _model() -> Any:
    return tiny_loaded("llama")


@cache
def _patches() -> dict[str, bytes]:
    model, found = _model(), {}
    every = [weight_edit(model, "aaaaaaaa"), state_edit(model, "bbbbbbbb"), weight_edit(model, "cccccccc", layer=0)]
    with tempfile.TemporaryDirectory() as folder:
        for number, edits in enumerate((every[:1], every[1:2], every)):
            path = Path(folder) / f"{number}.safetensors"
            save_patch(path, model.info.fingerprint, edits)
            found[str(number)] = path.read_bytes()
    return found


def apply_patch(path: Path) -> None:
    """Read a patch and put it on the model: what is accepted must be there without a fault, and nothing outside."""
    model = _model()
    edits = load_patch(path, model)
    try:
        for edit in edits:
            model.edits.add(edit)
            assert all(part.isfinite().all() for part in model.hf.state_dict().values()), "weights are not finite"
            for change in edit.changes:
                assert 0 <= change.layer < model.info.layers, "a layer that is not there was accepted"
    finally:
        model.edits.restore([])
    assert all(len(edit.info.id) == 8 and edit.info.id.isalnum() for edit in edits), "an id that is no id was accepted"


@cache
def _folder_files() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        save_tiny("llama", Path(folder))
        small = {"a.weight": _model().hf.state_dict()["model.norm.weight"].clone()}
        names = {"weight_map": {"a.weight": "model-1.safetensors"}, "metadata": {"total_size": 64}}
        return {
            "config.json": (Path(folder) / "config.json").read_bytes(),
            "tokenizer_config.json": (Path(folder) / "tokenizer_config.json").read_bytes(),
            "model.safetensors": save(small, {"format": "pt"}),
            "model.safetensors.index.json": json.dumps(names).encode(),
            "README.md": b"---\nlicense: mit\n---\n",
        }


def mutate_folder_file(content: bytes, dice: random.Random) -> bytes:
    """Whatever it is."""
    if content.startswith(b"---"):
        return mutate_bytes(content, dice)
    return mutate_document(content, dice) if content[:1] == b"{" else mutate_tensors(content, dice)


def read_model(path: Path) -> None:
    """The folder of a model, of which one file is mutated (its suffix is the name of that file)."""
    name = path.name.split("-", 1)[1]
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "m"
        folder.mkdir()
        for other, content in _folder_files().items():
            if other != "model.safetensors.index.json" or name == other:
                (folder / other).write_bytes(content)
        (folder / "model-1.safetensors").write_bytes(_folder_files()["model.safetensors"])
        (folder / "tokenizer.json").write_bytes(b"{}")
        (folder / name).write_bytes(path.read_bytes())
        describe_folder("m", folder, "added").model_dump_json()
        read_config(folder)
        stored_tensors(folder)
        check_tokenizer_files(folder)


def read_marker(path: Path) -> None:
    """A marker among the models: whatever it is, the list is there and has the catalogue in it."""
    folder = paths.models_folder() / "added"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "workbench.json").write_bytes(path.read_bytes())
    assert list_models()[0].name


def read_session(path: Path) -> Any:
    """A session, also as one of a list."""
    assert len(recent_sessions(path.parent)) == 1
    return load_session(path)


def _sessions() -> dict[str, bytes]:
    several = {
        "story": recorded("lens", "rome", "queue", "suite", "bisect", "lens"),
        "tom": recorded("cot", "cot more"),
    }
    return {name: recorded(name) for name in steps()} | several


def mutate_session(content: bytes, dice: random.Random) -> bytes:
    """Mostly inside a result, as the rest is small."""
    if dice.random() < 0.2:
        return mutate_document(content, dice)
    session = json.loads(content)
    step = dice.choice(session["steps"])
    part = "result" if dice.random() < 0.8 else "request"
    step[part] = mutate_json(step[part], dice)
    return dumped(session)


def one(name: str, content: bytes) -> Callable[[], dict[str, bytes]]:
    """The one good file of a kind."""
    return lambda: {name: content}


KINDS = (
    Kind("session", _sessions, mutate_session, read_session, 50),
    Kind("patch", _patches, mutate_tensors, apply_patch, 18),
    Kind("model", _folder_files, mutate_folder_file, read_model, 6),
    Kind(
        "records",
        lambda: {"json": dumped([SHORT, PUBLISHED]), "jsonl": _lines(SHORT, PUBLISHED, FLAT, FULL)},
        lambda content, dice: (mutate_document if content[:1] == b"[" else mutate_lines)(content, dice),
        read_records,
        6,
    ),
    Kind("suite", lambda: {"json": dumped(SUITE), "full": dumped(FULL)}, mutate_document, read_suite, 5),
    Kind("facts", one("jsonl", FACTS), mutate_lines, read_facts, 4),
    Kind("questions", one("jsonl", QUESTIONS), mutate_lines, read_questions, 4),
    Kind("concept .csv", one("x.csv", _table(",")), mutate_table, read_concept, 1),
    Kind("concept .tsv", one("x.tsv", _table("\t")), mutate_tabbed, read_concept, 1),
    Kind(
        "concept .jsonl",
        one("x.jsonl", _lines(*({"label": label, "text": text, "split": split} for label, text, split in ROWS))),
        mutate_lines,
        read_concept,
        1,
    ),
    Kind(
        "marker",
        one("json", b'{"format": "lm-workbench-model", "reference": "/nowhere"}'),
        mutate_document,
        read_marker,
        1,
    ),
    Kind(
        "history", one("jsonl", _lines({"prompt": "a"}, {"prompt": "b", "target": "c"})), mutate_lines, load_history, 1
    ),
    Kind("reasoning", one("txt", b"First this. Then that."), mutate_bytes, _text_of, 1),
)


def mutants(kind: Kind, seeds: Iterable[int], folder: Path) -> Iterable[tuple[int, Path]]:
    """Each seed's mutant as a file, one at a time."""
    good = kind.good()
    for seed in seeds:
        dice = random.Random(f"{kind.name} {seed}")
        name = dice.choice(sorted(good))
        path = folder / f"mutant-{name if '.' in name else 'of.json'}"
        path.write_bytes(kind.mutate(good[name], dice))
        yield seed, path
        path.unlink()


async def tallied(kind: Kind, seeds: Iterable[int], folder: Path) -> Tally:
    """What becomes of a kind's mutants. Sessions that are accepted are printed and replayed too."""
    tally, replay, open_replay = Tally(), None, None
    try:
        for seed, path in mutants(kind, seeds, folder):
            found = judge(tally, seed, lambda path=path: kind.read(path))
            if kind.name != "session" or found is None:
                continue
            try:
                if replay is None:
                    open_replay = replaying()
                    replay = await open_replay.__aenter__()
                with in_time():
                    print_all(found)
                    await replay.show(found)
            except Exception as error:  # noqa: BLE001 - that is what is looked for
                tally.accepted -= 1
                tally.harm(seed, error)
                if open_replay is not None:
                    await _end(open_replay)
                    replay = open_replay = None
    finally:
        if open_replay is not None:
            await _end(open_replay)
    return tally


async def _end(open_replay: Any) -> None:
    """What broke it is counted already."""
    with suppress(Exception):
        await open_replay.__aexit__(None, None, None)


def main(total: int, names: list[str], first: int = 0) -> None:
    """Print a table of what becomes of so many mutants over all kinds."""
    print(f"{'':<16}{'mutants':>8}{'accepted':>10}{'refused':>9}{'harmful':>9}{'seconds':>9}")  # noqa: T201
    sums = Tally()
    with tempfile.TemporaryDirectory() as work:
        os.environ[paths.HOME_VARIABLE] = work
        folder = Path(work) / "mutants"
        folder.mkdir()
        for kind in KINDS:
            if names and kind.name not in names:
                continue
            began = time.perf_counter()
            count = total * kind.share // sum(each.share for each in KINDS if not names or each.name in names)
            tally = asyncio.run(tallied(kind, range(first, first + count), folder))
            numbers = f"{tally.total:>8}{tally.accepted:>10}{tally.refused:>9}{tally.harmful:>9}"
            print(f"{kind.name:<16}{numbers}{time.perf_counter() - began:>9.1f}", flush=True)  # noqa: T201
            for what, example in sorted((tally.examples or {}).items()):
                print(f"    {what}: {example}")  # noqa: T201
            sums.accepted += tally.accepted
            sums.refused += tally.refused
            sums.harmful += tally.harmful
    print(f"{'all':<16}{sums.total:>8}{sums.accepted:>10}{sums.refused:>9}{sums.harmful:>9}")  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000, sys.argv[2:])
