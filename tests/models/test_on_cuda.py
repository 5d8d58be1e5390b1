"""On a GPU every method finds what it finds on the CPU, and what is undone is undone to the bit. Elsewhere skipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.contrast_sets import write_contrast
from tests.editing.test_mend import NAMES, a_record
from tests.methods.cot_models import roomy
from tests.models.asked import CASE, EDITORS, METHODS
from workbench import registry
from workbench.case import Case
from workbench.checking import differences
from workbench.editing import edit
from workbench.editing.edit import EditRequest
from workbench.loading import LoadedModel, load
from workbench.protocol import silent
from workbench.scripting import ask, request

DEVICE = "cuda"

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

RECORDS = tuple(a_record(place) for place in range(len(NAMES)))
SUITE = RECORDS[0].suite
ASKED: dict[str, dict[str, Any]] = {"case": Case(prompt="What is the capital?"), "choices": "Sydney; Rome is; Paris"}
WRITTEN = "Tom has 3 apples. He buys 4 more. The answer is 7."

REQUESTS: dict[str, dict[str, Any]] = {
    **{kind: {"case": CASE, **fields} for kind, fields in METHODS.items()},
    "lens-fit": {"tokens": 200, "confirmed": True},
    "trace-facts": {
        "facts": [{"prompt": CASE.prompt, "subject": "Australia", "target": ","}],
        "samples": 2,
        "confirmed": True,
    },
    "paste": {"case": CASE, "source": METHODS["patch"]["source"], "cells": ("1:5>1:5",)},
    "cot": {"question": "What is the capital?", "choices": ("Paris", "Rome is"), "reasoning": WRITTEN},
    "resample": {**ASKED, "rollouts": 2, "sampling": {"temperature": 0.9, "tokens": 6}},
    "suppress": {**ASKED, "reasoning": WRITTEN},
    "receivers": {**ASKED, "reasoning": f"{WRITTEN} Rome is large. It is Paris. {WRITTEN}"},
    "stability": {"case": CASE},
    "diagnose": {"case": CASE},
    "suite": {"suite": SUITE},
    "edit-facts": {"editor": "memit", "settings": EDITORS["memit"], "records": RECORDS[:4], "batch": 2},
    "measure": {"facts": 4, "records": 1, "layers": (1,), "samples": 2, "prefixes": 1},
    "compare": {"case": CASE, "editors": ("ft-m", "in-context"), "suite": SUITE},
    "fix": {"case": CASE, "tries": ("ft-m",), "failure": "recall", "suite": SUITE},
}

MORE_EDITORS: dict[str, dict[str, Any]] = {
    "ft-l": {"layer": 1, "steps": 2},
    "in-context": {},
    "steer-answer": {"layer": 1},
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_WORKBENCH_HOME", str(tmp_path))


def both() -> tuple[LoadedModel, LoadedModel]:
    """The same tiny model, with room for a reasoning, on the GPU and on the CPU."""
    return roomy("llama", device=DEVICE), roomy("llama")


def apart(found: Any, expected: Any) -> list[str]:
    """Where two results differ by more than the order of sums explains."""
    pairs = differences(timeless(expected), timeless(found), "")
    return [f"{drift}" for size, drift in pairs if size > 2e-3]


def timeless(value: Any) -> Any:
    """Without what differs from run to run: how long it took, and what is said of that."""
    if isinstance(value, dict):
        return {key: timeless(each) for key, each in value.items() if key not in ("seconds", "checks")}
    return [timeless(each) for each in value] if isinstance(value, list) else value


def answered(model: LoadedModel, kind: str, fields: dict[str, Any]) -> Any:
    return json.loads(ask(model, request(kind, **fields)).model_dump_json())


@needs_gpu
@pytest.mark.parametrize("kind", REQUESTS)
def test_a_method_finds_on_a_gpu_what_it_finds_on_the_cpu(kind: str) -> None:
    there, here = both()
    assert apart(answered(there, kind, REQUESTS[kind]), answered(here, kind, REQUESTS[kind])) == []


def test_every_method_is_tried_or_its_absence_is_meant() -> None:
    swept = {"cot-questions", "cot-hints", "cot-states", "fix-cases"}  # of cot and fix, many times
    elsewhere = {"edit", "queue", "bisect", "train-editor", "steer-sweep"}  # below
    assert set(REQUESTS) | swept | elsewhere == set(registry.METHODS)


@needs_gpu
@pytest.mark.parametrize("editor", [*EDITORS, *MORE_EDITORS])
def test_an_edit_on_a_gpu_is_that_of_the_cpu_and_is_undone_to_the_bit(editor: str) -> None:
    there, here = both()
    before = [weight.clone() for weight in there.hf.parameters()]
    asked = EditRequest(editor=editor, case=CASE, settings=(EDITORS | MORE_EDITORS)[editor], suite=SUITE)
    found, expected = (json.loads(edit.run(model, asked, silent).model_dump_json()) for model in (there, here))
    assert apart(found, expected) == []
    there.edits.undo()
    assert all(torch.equal(one, other) for one, other in zip(before, there.hf.parameters(), strict=True))


@needs_gpu
def test_mend_is_trained_on_a_gpu_and_its_edit_is_undone_to_the_bit() -> None:
    there, _ = both()
    trained = answered(there, "train-editor", {"records": RECORDS, "steps": 4, "batch": 2, "rank": 4, "every": 2})
    assert trained["history"]
    before = [weight.clone() for weight in there.hf.parameters()]
    edit.run(there, EditRequest(editor="mend", case=CASE, suite=SUITE), silent)
    assert not all(torch.equal(one, other) for one, other in zip(before, there.hf.parameters(), strict=True))
    there.edits.undo()
    assert all(torch.equal(one, other) for one, other in zip(before, there.hf.parameters(), strict=True))


@needs_gpu
def test_steering_is_swept_on_a_gpu(tmp_path: Path) -> None:
    contrast = str(write_contrast(tmp_path))
    fields = {"contrast": contrast, "layers": "1", "strengths": "-1,1", "tokens": 4}
    there, here = both()
    assert apart(answered(there, "steer-sweep", fields), answered(here, "steer-sweep", fields)) == []


@needs_gpu
def test_a_model_is_loaded_onto_the_gpu_where_there_is_one(tmp_path: Path) -> None:
    model = roomy("llama")
    model.hf.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    assert load(str(tmp_path)).info.device.startswith(DEVICE)
