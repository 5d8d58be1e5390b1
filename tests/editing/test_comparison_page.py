"""The script that makes the tables and the chart of docs/comparison.md."""

from __future__ import annotations

import runpy
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.editing.test_compare import score
from tests.methods.test_rome import CASE, suite
from workbench.datasets.suites import EditRecord
from workbench.editing.editor import Capacity
from workbench.editing.editors.memit.alphaedit import AlphaEditSettings
from workbench.editing.records import FactsEditRequest, FactsEditResult
from workbench.editing.sequence import SequencePoint
from workbench.session import Step, StepError

SCRIPT = runpy.run_path(str(Path(__file__).parent.parent.parent / "docs" / "make_comparison.py"))


def step(editor, efficacy, points=(), **more):
    scores = (
        score("rewrite", efficacy, intervals={"score": (efficacy - 0.05, efficacy)}),
        score("paraphrase", efficacy - 0.1, free=0.3, free_before=0.01),
        score("neighborhood", 0.7, 0.72),
    )
    result = FactsEditResult(
        scores=scores, harmonic={}, harmonic_before={}, perplexity_before=24.0, perplexity=24.1, points=points
    )
    request = FactsEditRequest(editor=editor, records=(EditRecord(id="1", case=CASE, suite=suite()),), **more)
    return Step(started=datetime(2026, 1, 2, tzinfo=UTC), seconds=1, status="done", request=request, result=result)


def failed(editor):
    return step(editor, 1.0).model_copy(
        update={"status": "failed", "result": None, "error": StepError(kind="InputError", message="it takes no batch")}
    )


def test_the_table_has_the_unedited_model_first_and_says_what_was_not_run():
    found = [step("rome", 1.0), step("ft-m", 0.9), failed("ft-l")]
    text = "\n".join(one.model_dump_json() for one in found)
    lines = SCRIPT["table"](list(SCRIPT["steps"](text)), "as-is").splitlines()
    assert lines[0] == "| editor | efficacy | generalization | specificity | free | perplexity |"
    assert lines[2] == "| unedited | 20.0 | 20.0 | 72.0 | 1.0 | 24.00 |"
    assert lines[3] == "| ROME | **100.0▲ 95–100** | **90.0▲** | 70.0 | 30.0 | 24.10 |"
    assert lines[4] == "| Fine-tuning | 90.0▼ 85–90 | 80.0▼ | 70.0 | 30.0 | 24.10 |"
    assert lines[-1] == "Fine-tuning within bounds: it takes no batch."


@pytest.mark.parametrize("sequence", [False, True])
def test_the_chart_is_svg_that_names_every_editor(sequence):
    points = tuple(
        SequencePoint(
            edits=edits, scores=(score("rewrite", 1 - edits / 1000),), harmonic={}, perplexity=24 + edits / 100
        )
        for edits in (100, 200)
    )
    found = [step(name, 0.95, points if sequence else (), sequence=sequence) for name in ("rome", "ft-m")]
    drawn = SCRIPT["chart"]([*found, failed("ft-l")], "as-is")
    texts = [each.text or "" for each in ElementTree.fromstring(drawn).iter() if each.tag.endswith("text")]
    assert "efficacy, %" in texts
    for title in ("ROME", "Fine-tuning"):
        assert any(title in text for text in texts)
    assert ("200 edits" in texts) is sequence
    assert not any("capacity" in text for text in texts)


def test_the_chart_of_batches_has_the_capacity_and_says_where_a_curve_turns_and_what_was_set():
    room = (Capacity(layer=4, free=590, used=59 * n) for n in (1, 5))
    scores = (score("rewrite", 0.9),)
    points = tuple(
        SequencePoint(edits=edits, scores=scores, harmonic={}, perplexity=perplexity, capacity=each)
        for edits, perplexity, each in zip((100, 200), (24.1, 27.0), room, strict=True)
    )
    found = [
        step("alphaedit", 0.9, points, batch=100, settings=AlphaEditSettings(energy=0.99, norm_anchor=True)),
        step("rome", 0.9, points[:1], sequence=True),
        step("memit", 0.9, tuple(point.model_copy(update={"capacity": None}) for point in points), batch=100),
    ]
    drawn = SCRIPT["chart"](found, "as-is")
    texts = [each.text or "" for each in ElementTree.fromstring(drawn).iter() if each.tag.endswith("text")]
    assert "capacity used, fullest layer, %" in texts
    assert "● AlphaEdit (norm-anchor, energy 0.99), batches of 100, turns at 200" in texts
    assert "■ MEMIT, batches of 100, turns at 200" in texts
    assert sum(text == "●" for text in texts) == 2 * 3  # efficacy, perplexity, capacity
    assert sum(text == "■" for text in texts) == 2 * 2
