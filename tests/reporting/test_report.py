"""The report of a session: readable without the program, complete, and with nothing of a stranger's texts obeyed."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.poison import raw_in
from tests.reporting.nasty import NASTY, ROOT, Page, in_markdown, nasty_session
from workbench import paths
from workbench.case import Case
from workbench.editing.edit import EditResult
from workbench.editing.fix import FixRequest, FixResult
from workbench.editing.fix_candidates import FixCandidate
from workbench.editing.operations import QueueRequest, QueueResult
from workbench.editing.queue import QueuedEdit, QueueState
from workbench.editing.suite.regression import SuiteRequest
from workbench.figures import Lines, Table, said
from workbench.methods.diagnose.diagnosis import DiagnoseRequest, DiagnoseResult
from workbench.methods.diagnose.rules import FindingSentence
from workbench.methods.generation.continuation import ContinueRequest
from workbench.protocol import Request, Result
from workbench.reporting.listing import verdict_of
from workbench.reporting.making import Source, report_of
from workbench.reporting.model_card import model_card_section
from workbench.reporting.pages import html_page, markdown_page
from workbench.reporting.report import Report
from workbench.session import Session, Step, StepError, load_session

SESSIONS = sorted(path.stem for path in (ROOT / "sessions").glob("*.json"))
SOURCE = Source(Path("mine.json"), "ab" * 32)


@functools.cache
def sample(name: str) -> Session:
    return load_session(ROOT / "sessions" / f"{name}.json")


@functools.cache
def page_of(name: str) -> tuple[str, Page]:
    """The HTML page of a shipped session, and what a reader makes of it."""
    text = html_page(report_of(sample(name), SOURCE))
    return text, Page(text)


def read(session: Session, **of: str) -> str:
    """The text of the HTML page, on one line."""
    return one_line(Page(html_page(report_of(session, SOURCE, **of))))


def one_line(page: Page) -> str:
    return " ".join(page.text.split())


@pytest.mark.parametrize("name", SESSIONS)
def test_a_page_stands_by_itself(name: str) -> None:
    text, page = page_of(name)
    assert page.open == []
    assert not {"script", "link", "iframe", "object", "img", "base", "form"} & set(page.tags)
    links = [value for _, attribute, value in page.attributes if attribute in ("href", "src", "xlink:href")]
    anchors = {value for _, attribute, value in page.attributes if attribute == "id"}
    assert links
    assert {link.removeprefix("#") for link in links} <= anchors
    assert len(anchors) == sum(attribute == "id" for _, attribute, _ in page.attributes)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import", text)
    assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


@pytest.mark.parametrize("name", SESSIONS)
def test_it_has_the_model_the_case_every_step_and_how_to_replay(name: str) -> None:
    session, text = sample(name), one_line(page_of(name)[1])
    assert session.model is not None
    for fact in (session.model.name, session.model.fingerprint, *session.environment.values()):
        assert fact in text
    for step in session.steps:
        assert f"Step {step.id} ·" in text
        assert f"{step.started:%Y-%m-%d %H:%M:%S} UTC · {step.seconds:.1f} s" in text
        for check in step.result.checks if step.result else ():
            assert " ".join(check.text.split()) in text
    assert "workbench replay mine.json" in text
    assert SOURCE.sha256 in text
    assert "This is not a proof of cause." in text


def test_the_hero_case_is_told_in_plain_language_with_what_was_measured() -> None:
    text = one_line(page_of("canberra")[1])
    for sentence in (
        "The language model smollm2-135m was given the text “The capital of Australia is”.",
        "Unchanged, it went on with “Sydney” (probability 0.36, where 1 is certain).",
        "What was wanted is “Canberra” (probability 0.34).",
        "The model was changed by 1 edit; at the end it is on.",
        "With the last one it goes on with “Canberra” (probability 0.99).",
        "Of 154 answers that a regression suite checked, 3 are now wrong because of the edit.",
    ):
        assert sentence in text


def test_an_edit_has_its_settings_its_suite_before_and_after_its_hash_and_its_state(own_home: Path) -> None:
    session = sample("canberra")
    (made,) = (step.result for step in session.steps if isinstance(step.result, EditResult))
    assert made.edit
    assert made.suite
    assert session.model
    text = read(session)
    assert f"Edit {made.edit.id} · {made.edit.title}" in text
    assert "ROME (rome)" in text
    (edit,) = (s for s in report_of(session, SOURCE).sections if s.anchor.startswith(f"edit-{made.edit.id}"))
    table = next(block for block in edit.blocks if isinstance(block, Table))
    assert ("state at the end", "on") in [tuple(cell.text for cell in row) for row in table.rows]
    assert "not kept on the computer that wrote this report" in text
    assert f"(was {made.suite.perplexity_before:.3g})" in text
    assert "all edits are off for a comparison" in text
    assert "The last change of the queue could be undone." in text
    assert "attribute, as-is: The official language of Australia is → English; says “the” 0.54" in text
    kept = paths.cache_folder() / "edits" / session.model.fingerprint / f"{made.edit.id}.safetensors"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"a patch")
    assert f"SHA-256 {hashlib.sha256(b'a patch').hexdigest()}" in read(session)


def test_every_warning_is_in_one_table_and_unfinished_steps_are_named() -> None:
    session = sample("canberra")
    request = ContinueRequest(case=Case(prompt="x"))
    failed = Step(
        id=98, started=datetime.now(UTC), seconds=0, status="failed", request=request,
        error=StepError(kind="InputError", message="it was too long; shorten it"),
    )  # fmt: skip
    stopped = Step(id=99, started=datetime.now(UTC), seconds=0, status="cancelled", request=request)
    report = report_of(session.model_copy(update={"steps": (*session.steps, failed, stopped)}), SOURCE)
    (section,) = (section for section in report.sections if section.anchor == "warnings")
    text = Page(html_page(Report(title="", sections=(section,)))).text
    warnings = [c for step in session.steps if step.result for c in step.result.checks if c.level == "warn"]
    assert warnings
    for check in warnings:
        assert check.text in text
    assert "Step 98 failed: it was too long; shorten it" in text
    assert "Step 99 was stopped before its end" in text


def diagnosed_and_fixed() -> Session:
    """A diagnosis and fixes; a suite was asked with another start, and no edit was on."""
    bare, suite = Case(prompt="The capital of Australia is"), sample("canberra").steps
    case = bare.model_copy(update={"subject": "Australia", "target": "Canberra", "foil": "Sydney"})
    sentence = FindingSentence(text="“Canberra” has 0.341 against 0.362", value=-0.02, step=2, method="stability")
    finding = DiagnoseResult(
        case=case, failure="prompt", title="prompt: it changes with the start", sentences=(sentence,), advice="prepend"
    )
    made = next(step.result for step in suite if isinstance(step.result, EditResult))
    assert made.suite is not None
    fixes = FixResult(
        case=case, candidates=(FixCandidate(name="rome", title="ROME"),), recommended=0, reason="ROME does it"
    )
    asked: list[tuple[Request, Result]] = [
        (DiagnoseRequest(case=bare), finding),
        (SuiteRequest(suite=made.suite.suite), made.suite),
        (FixRequest(case=case), fixes),
    ]
    steps = tuple(
        Step(id=number, started=datetime.now(UTC), seconds=1, status="done", request=request, result=result)
        for number, (request, result) in enumerate(asked, 7)
    )
    return Session(steps=steps)


def test_the_sentences_of_a_diagnosis_and_the_fix_that_is_recommended_are_the_finding() -> None:
    session = diagnosed_and_fixed()
    report = report_of(session, SOURCE)
    (section,) = (section for section in report.sections if section.anchor == "finding")
    (told,) = section.blocks
    assert isinstance(told, Lines)
    assert [each.text for each in told.lines] == [
        "prompt: it changes with the start (step 7)",
        "“Canberra” has 0.341 against 0.362 (step 2)",
        "to try: prepend (step 7)",
        "fixes: ROME does it (step 9)",
    ]
    text = read(session)
    assert "A diagnosis (step 7) came to: prompt: it changes with the start." in text
    assert "Fixes were tried and taken back, 1 in all (step 9): ROME does it." in text
    assert "What was wanted is “Canberra”." in text
    assert "It was also asked" not in text  # it is the same prompt, with what was proposed
    assert verdict_of(session) == "prompt: it changes with the start"


def test_of_what_fails_without_an_edit_no_edit_is_to_blame() -> None:
    text = read(diagnosed_and_fixed())
    assert "No regression suite was run with an edit on." in text
    assert "spoiled" not in text


def test_an_edit_that_a_fix_made_has_its_scores_and_what_speaks_against_it() -> None:
    session = diagnosed_and_fixed()
    *before, last = session.steps
    assert isinstance(last.result, FixResult)
    made = next(step.result for step in sample("canberra").steps if isinstance(step.result, EditResult))
    assert made.edit
    assert made.suite
    tried = FixCandidate(
        name="rome", title="ROME", edit=made.edit, scores=made.suite.scores, against=("perplexity grows by 2 %",),
        perplexity=24.0, perplexity_before=23.0,
    )  # fmt: skip
    fixes = last.model_copy(update={"result": last.result.model_copy(update={"candidates": (tried,)})})
    put = QueueRequest(action="restore", entries=(QueuedEdit(info=made.edit, on=True),))
    queued = QueueResult(queue=QueueState(entries=put.entries), done="restored: 1 edit")
    step = Step(id=10, started=datetime.now(UTC), seconds=0, status="done", request=put, result=queued)
    session = session.model_copy(update={"steps": (*before, fixes, step)})
    text = read(session)
    assert "The model was changed by 1 edit; at the end it is on." in text
    assert "ROME was chosen of what step 9 tried. Against it: perplexity grows by 2 %." in text
    (edit,) = (s for s in report_of(session, SOURCE).sections if s.anchor == f"edit-{made.edit.id}-9")
    about, scores, perplexity = edit.blocks
    assert isinstance(about, Table)
    assert ("speaks against it", "perplexity grows by 2 %") in [tuple(cell.text for cell in row) for row in about.rows]
    assert isinstance(scores, Table)
    assert len(scores.rows) >= len(made.suite.scores)
    assert perplexity == said("perplexity of held-out text: 24 (was 23)")[0]
    assert "No regression suite was run" not in text
    assert "ROME tried beside others: perplexity grows by 2 %" in text
    assert made.edit.id in markdown_page(model_card_section(session, SOURCE))


def test_a_prompt_that_a_fix_proposed_is_told_with_what_the_model_said_then() -> None:
    session = diagnosed_and_fixed()
    *before, last = session.steps
    asked = next(step for step in sample("australia").steps if step.request.kind == "lens")
    assert asked.case is not None
    tried = FixCandidate(name="prompt", title="separator prepended", case=asked.case)
    assert isinstance(last.result, FixResult)
    fixes = last.model_copy(update={"result": last.result.model_copy(update={"candidates": (tried,)})})
    session = session.model_copy(update={"steps": (*before, fixes, asked.model_copy(update={"id": 10}))})
    told = "Of the fixes of step 9 another prompt was used, in step 10: separator prepended. It went on with “Sydney”"
    assert read(session).count(told) == 2  # in plain language, and among the interventions


def test_a_long_prompt_is_cut_between_words_in_the_title() -> None:
    steps = (sample("australia").steps[0],)
    case = Case(prompt="word " * 40)
    cut = steps[0].model_copy(update={"request": ContinueRequest(case=case), "result": None})
    assert report_of(Session(steps=(cut,))).title == f"Why “{'word ' * 15}…” is continued as it is"


def test_who_reviewed_and_decided_can_be_given_or_filled_in() -> None:
    assert "Reviewed by A. Reviewer" in read(sample("tom"), reviewer="A. Reviewer").replace("byA", "by A")
    _, page = page_of("tom")
    assert ("dd", "contenteditable", "true") in page.attributes


def test_titles_and_notes_of_a_person_are_told() -> None:
    session = sample("tom")
    first, *rest = session.steps
    steps = (first.model_copy(update={"title": "The one that matters", "note": "Look at sentence 4."}), *rest)
    text = read(session.model_copy(update={"title": "Apples", "note": "For the review.", "steps": steps}))
    for told in ("Apples", "For the review.", "Chain of thought · The one that matters", "Look at sentence 4."):
        assert told in text


def test_a_session_without_anything_has_a_report() -> None:
    text = read(Session())
    assert "Nothing was computed." in text
    assert "unknown: no model was loaded" in text


@pytest.mark.parametrize("name", SESSIONS)
def test_no_text_of_a_stranger_is_markup_in_html(name: str) -> None:
    _, own = page_of(name)
    text = html_page(report_of(nasty_session(name), Source(Path(f"a{NASTY.replace('/', '')}.json"), "ab")))
    page = Page(text)
    assert set(page.tags) <= set(own.tags) | {"details", "summary"}
    assert {(tag, name) for tag, name, _ in page.attributes} <= {(tag, name) for tag, name, _ in own.attributes} | {
        *(("th", "class"), ("td", "class"), ("p", "class")),
    }
    assert all(value.startswith("#") for _, name, value in page.attributes if name == "href")
    assert NASTY[:25] in page.text
    assert not raw_in(text)


@pytest.mark.parametrize("name", SESSIONS)
@pytest.mark.parametrize("make", [report_of, model_card_section])
def test_no_text_of_a_stranger_is_markup_in_markdown(name: str, make: Callable[[Session, Source], Report]) -> None:
    own = in_markdown(markdown_page(make(sample(name), SOURCE)))
    text = markdown_page(make(nasty_session(name), Source(Path(f"a{NASTY.replace('/', '')}.json"), "ab")))
    page = in_markdown(text)
    assert set(page.tags) <= set(own.tags) | {"details", "summary"}
    assert not [value for _, name, value in page.attributes if name in ("href", "src")]
    for heading in ("h1", "h2", "h3"):
        assert page.tags.count(heading) == own.tags.count(heading)
    assert NASTY[:25] in page.text
    assert not raw_in(text)


def test_the_section_for_a_model_card_has_failure_change_regressions_and_limits() -> None:
    page = in_markdown(markdown_page(model_card_section(sample("canberra"), SOURCE)))
    for part in ("Known failure", "6532a8be", "rome", "3 are spoiled", "Limits", SOURCE.sha256, "not a proof of cause"):
        assert part in page.text


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A session of fifty steps."""
    session = sample("australia")
    steps = [step.model_copy(update={"id": 10 * n + step.id}) for n in range(5) for step in session.steps]
    path = tmp_path / "long.json"
    path.write_text(session.model_copy(update={"steps": tuple(steps)}).model_dump_json(), encoding="utf-8")
    return path


def test_fifty_steps_are_reported_without_torch(long: Path, tmp_path: Path) -> None:
    program = """
        import sys
        from workbench.cli.main import main
        try:
            main()
        finally:
            heavy = {"torch", "transformers", "nnsight", "numpy", "textual"} & set(sys.modules)
            assert not heavy, heavy
    """
    out = tmp_path / "long.html"
    program = "\n".join(line[8:] for line in program.splitlines())
    arguments = ["report", str(long), "-o", str(out)]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert str(out) in done.stderr
    text = out.read_text(encoding="utf-8")
    assert "Step 50 ·" in text
    assert hashlib.sha256(long.read_bytes()).hexdigest() in text


def test_as_json_it_is_read_again() -> None:
    report = report_of(sample("eiffel"), SOURCE)
    assert Report.model_validate(json.loads(report.model_dump_json())) == report


def test_a_long_command_is_folded_and_a_short_one_is_not() -> None:
    session = diagnosed_and_fixed()  # the second step asks a whole suite
    details = re.findall(r"<summary>([^<]*)</summary><pre><code>workbench ([a-z]+)", html_page(report_of(session)))
    assert details == [("The command, which is long", "run")]
