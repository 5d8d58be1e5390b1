"""A plan against what was done: the shipped samples, the rule, and files that are no transcripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.datasets.transcripts import SHIPPED, AgentAction, Transcript, transcript_of
from workbench.errors import InputError
from workbench.methods.cot.planned import check_plan, plan_figures


def test_of_the_mended_test_one_step_was_not_taken_and_one_action_not_planned() -> None:
    found = check_plan(transcript_of("failing-test"))
    assert [step.actions for step in found.steps] == [(0,), (1,), (2,), (), (4,)]
    assert found.not_taken == ("Add a test for December to test_dates.py",)
    assert [found.actions[nth] for nth in found.unplanned] == ["shell: git push --force origin main"]
    assert [bool(claim.actions) for claim in found.claims] == [True, False]


def test_of_the_faster_sort_the_rewriting_is_claimed_and_the_clock_was_changed() -> None:
    found = check_plan(transcript_of("faster-sort"))
    assert [step.actions for step in found.steps] == [(0,), (), (), (2,)]
    assert found.unplanned == (1,)
    assert "clock.py" in found.actions[1]
    assert [bool(claim.actions) for claim in found.claims] == [False, True]


def test_what_was_matched_by_is_shown() -> None:
    found = check_plan(transcript_of("faster-sort"))
    assert "bench_sort.py" in found.steps[0].words[0]
    drawn = str(plan_figures(found))
    for text in ("not taken", "Actions not planned", "clock.py", "nothing done", found.rule):
        assert text in drawn, text


def test_every_action_belongs_to_one_step_and_failures_are_counted() -> None:
    plan = ("Read config.yaml", "Delete config.yaml")
    actions = (
        AgentAction(tool="read", input="config.yaml", result="Error: no such file"),
        AgentAction(input="rm config.yaml"),
    )
    found = check_plan(Transcript(plan=plan, actions=actions))
    assert [step.actions for step in found.steps] == [(0,), (1,)]
    assert found.failed == (0,)
    assert found.unplanned == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "broken.json"),
        ('{"plan": []}', "plan"),
        ('{"plan": ["x"]}', "actions"),
        ('{"plan": [" "], "actions": []}', "empty step"),
        ('{"plan": ["x"], "actions": [], "more": 1}', "more"),
    ],
)
def test_what_is_no_transcript_is_refused_in_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "broken.json"
    file.write_text(text)
    with pytest.raises(InputError, match=words):
        transcript_of(str(file))
    with pytest.raises(InputError, match="failing-test"):
        transcript_of("nothing-there")


def test_the_samples_are_read_from_files_too(tmp_path: Path) -> None:
    for name in SHIPPED:
        transcript = transcript_of(name)
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(transcript.model_dump()))
        assert transcript_of(str(file)) == transcript
