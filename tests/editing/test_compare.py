"""Editors compared on one case: their scores, what they leave after, and how they stand beside each other."""

from __future__ import annotations

import pytest

from tests.methods.test_rome import CASE, suite
from tests.test_edits import digest, weight_edit
from tests.tiny import tiny_loaded
from workbench.case import Case
from workbench.editing import compare
from workbench.editing.compare import CompareRequest, CompareResult, Rival
from workbench.editing.edit import Chosen
from workbench.editing.editors import editor, editors
from workbench.editing.editors.rome.rome import RomeSettings
from workbench.editing.figures import compare_figures, facts_standing
from workbench.editing.operations import QueueRequest
from workbench.editing.operations import run as change_queue
from workbench.editing.patches import kept_edit
from workbench.editing.queue import QueuedEdit
from workbench.editing.standings import BEST, WORST, Standing, compared, standings_figures
from workbench.editing.suite.regression import run_suite
from workbench.editing.suite.scores import RoleScore
from workbench.errors import Cancelled, InputError, NumericalError
from workbench.protocol import silent

FAST = (
    Chosen(editor="rome", settings=RomeSettings(layer=1, prefixes=1, steps=2)),
    {"editor": "ft-m", "settings": {"layer": 1, "steps": 2}},
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LM_WORKBENCH_HOME", str(tmp_path))
    return tmp_path


def request(**given):
    return CompareRequest(**{"case": CASE, "editors": FAST, "suite": suite(), **given})


def test_each_editor_is_tested_by_itself_and_taken_back():
    loaded = tiny_loaded("llama")
    loaded.edits.add(weight_edit(loaded, "a"))
    original, before = digest(loaded), loaded.edits.state
    result = compare.run(loaded, request(), silent)
    assert [rival.editor for rival in result.rivals] == ["rome", "ft-m"]
    assert digest(loaded) == original
    assert loaded.edits.state == result.queue == before
    for rival in result.rivals:
        assert rival.edit is not None
        with loaded.edits.added(kept_edit(loaded, rival.edit.id)):
            plain = run_suite(loaded, suite(), generate=False)
        assert (rival.scores, rival.perplexity) == (plain.scores, plain.perplexity)
        assert rival.failing == sum(map(plain.is_failure, plain.outcomes))
        assert rival.seconds is not None
    assert result.rivals[1].bytes == 4 * 16 * 40  # a whole matrix in float32


def test_a_row_can_be_put_into_the_queue_again_by_its_id():
    loaded = tiny_loaded("llama")
    rival = compare.run(loaded, request(), silent).rivals[0]
    entries = (QueuedEdit(info=rival.edit, on=True),)
    found = change_queue(loaded, QueueRequest(action="restore", entries=entries), silent)
    assert loaded.edits.active == (rival.edit.id,)
    assert found.queue.can_undo
    assert run_suite(loaded, suite(), generate=False).scores == rival.scores


def test_what_one_editor_cannot_do_is_said_in_its_row_and_the_others_go_on(monkeypatch):
    loaded = tiny_loaded("llama")
    without_subject = CASE.model_copy(update={"subject": None})
    result = compare.run(loaded, request(case=without_subject), silent)
    assert result.rivals[0].why == "an edit needs a subject; name the words of the prompt that the fact is about"
    assert result.rivals[0].edit is None
    assert result.rivals[1].edit is not None
    check = next(check for check in result.checks if check.name == "not made")
    assert check.level == "warn"
    monkeypatch.setattr(compare, "run_suite", lambda *_, **__: (_ for _ in ()).throw(NumericalError("it is NaN")))
    broken = compare.run(loaded, request(), silent)
    assert [rival.why for rival in broken.rivals] == ["it is NaN", "it is NaN"]


def test_all_editors_of_facts_are_asked_where_none_is_named():
    asked = CompareRequest(case=CASE).editors
    assert [chosen.editor for chosen in asked] == [each.name for each in editors("fact")]
    assert CompareRequest(case=CASE, editors="ft-m, rome").editors[0].settings == editor("ft-m").settings()
    once = request()
    assert CompareRequest.model_validate_json(once.model_dump_json()) == once


def test_a_case_that_no_shipped_suite_is_about_is_tested_by_its_rewrite_alone():
    result = compare.run(tiny_loaded("llama"), request(suite=None), silent)
    (fact,) = result.suite.facts
    assert (fact.role, fact.prompt, fact.target, fact.against) == ("rewrite", CASE.prompt, ",", ".")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"editors": ("rome", "rome")}, "an editor is named twice"),
        ({"editors": ("leace",)}, "LEACE acts on a concept and rewrites no fact; leave leace out"),
        ({"case": Case(prompt="The capital of Australia is", subject="Australia")}, "give a target"),
    ],
)
def test_a_request_that_makes_no_sense_is_one_sentence(given, sentence):
    with pytest.raises(InputError, match=sentence):
        compare.run(tiny_loaded("llama"), request(**given), silent)


def test_a_cancelled_comparison_keeps_the_rows_that_are_done():
    loaded = tiny_loaded("llama")
    original = digest(loaded)
    partials = []

    def stop_at_the_second(done, total, partial=None, *, stage=""):
        partials.append(partial)
        if stage.startswith("Fine-tuning"):
            raise Cancelled

    with pytest.raises(Cancelled):
        compare.run(loaded, request(), stop_at_the_second)
    assert isinstance(partials[-1], CompareResult)
    assert [rival.editor for rival in partials[-1].rivals] == ["rome"]
    assert digest(loaded) == original
    assert loaded.edits.entries == ()


# --- Side by side ---


def score(role, value, before=0.2, **more):
    given = {"role": role, "prepend": "as-is", "facts": 10, "score": value, "score_before": before, **more}
    return RoleScore(**{"magnitude": None, "magnitude_before": None, "exact": 0, "exact_before": 0, **given})


ROWS = (
    Standing(
        title="One",
        scores=(score("rewrite", 1.0, intervals={"score": (0.95, 1.0)}), score("paraphrase", 0.5, free=0.4)),
        perplexity=25.0,
        perplexity_before=24.0,
        seconds=9.3,
        bytes=4_608,
    ),
    Standing(title="Two", scores=(score("rewrite", 0.9), score("paraphrase", 0.5, free=0.1)), perplexity=24.5),
    Standing(title="Three", why="it needs a subject"),
)


def test_the_best_and_the_worst_of_a_column_are_marked_and_the_unedited_model_stands_first():
    columns = {column.heading: column for column in compared(ROWS, "as-is")}
    assert [cell.text for cell in columns["efficacy"].cells] == [f"100.0{BEST} 95–100", f"90.0{WORST}", "–"]
    assert columns["efficacy"].unedited.text == "20.0"
    assert [cell.text for cell in columns["generalization"].cells] == ["50.0", "50.0", "–"]  # none is better
    assert [cell.text for cell in columns["free"].cells] == [f"40.0{BEST}", f"10.0{WORST}", "–"]
    assert [cell.text for cell in columns["perplexity"].cells] == [f"25.00{WORST}", f"24.50{BEST}", "–"]
    assert columns["perplexity"].unedited.text == "24.00"
    assert [cell.text for cell in columns["size"].cells] == ["4.61 kB", "–", "–"]
    assert "portability" not in columns
    table, lines = standings_figures("Side by side", ROWS)
    assert [row[0].text for row in table.rows] == ["unedited", "One", "Two", "Three"]
    assert lines.lines[-1].text == "Three: it needs a subject"


def test_where_nothing_was_made_there_is_no_table():
    (lines,) = standings_figures("Side by side", ROWS[2:])
    assert [line.text for line in lines.lines] == ["Three: it needs a subject"]
    result = CompareResult(suite=suite(), rivals=(Rival(editor="x", title="X", why="no"),), queue={})
    assert compare_figures(result)
    assert facts_standing("X", None, "no").why == "no"
