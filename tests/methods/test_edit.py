"""Edits by any editor: whose settings and details are which, what files keep of them, and a new editor in one line."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import Field, ValidationError

from tests.methods.test_rome import CASE, suite
from tests.test_edits import digest
from tests.tiny import tiny_loaded
from workbench.case import Case
from workbench.datasets.suites import EditRecord, Suite
from workbench.editing import edit, editors, records
from workbench.editing.changes import StateChange
from workbench.editing.edit import EditRequest, EditResult
from workbench.editing.editor import Cases, Details, Editor, Made, Settings
from workbench.editing.editors import EDITORS, editor
from workbench.editing.editors.erasure.erasure import ErasureSettings, SteeringSettings
from workbench.editing.editors.rome.rome import RomeSettings
from workbench.editing.gates import gate
from workbench.editing.layers import LayerDetails
from workbench.editing.queue import Edit, EditInfo, edit_id
from workbench.editing.records import FactsEditRequest
from workbench.editing.rewriting import one_rewrite, without_foil
from workbench.errors import Cancelled, InputError
from workbench.figures import Figure, said
from workbench.lazy import torch
from workbench.protocol import Check, Progress, silent
from workbench.registry import method
from workbench.session import Step
from workbench.settings import settings_of

if TYPE_CHECKING:
    from workbench.loading import LoadedModel


@pytest.fixture(autouse=True)
def home(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_WORKBENCH_HOME", str(tmp_path))


# --- An editor that is declared here and nowhere else ---


class ToySettings(Settings):
    layer: Annotated[int | None, Field(ge=0, description="Where.")] = None
    push: Annotated[float, Field(description="How far.")] = 5.0


class ToyDetails(Details):
    pushed: float


def _toy_fits(model: LoadedModel, cases: Cases, settings: ToySettings) -> None:
    if (settings.layer or 0) >= model.info.layers:
        raise InputError(f"there is no layer {settings.layer}")


def _toy_make(model: LoadedModel, cases: Cases, settings: ToySettings, progress: Progress) -> Made:
    layer, d = settings.layer or 0, model.info.d_model
    checks = (Check(name="push", text="pushed"),)
    progress(0, 1, ToyDetails(pushed=0.0, checks=checks), stage="pushing")
    nothing = torch.zeros(d, 0)
    shift = settings.push * torch.nn.functional.one_hot(torch.tensor(0), d).float()
    info = EditInfo(id=edit_id(model, "toy", cases, settings), method="toy", title=f"L{layer} pushed", layers=(layer,))
    made = Edit(info, (StateChange(layer, nothing, nothing, torch.zeros(d), shift),))
    return Made(made, ToyDetails(pushed=settings.push, checks=checks), (gate("far", "far", settings.push > 9),))


def _toy_figures(details: ToyDetails) -> tuple[Figure, ...]:
    return said(f"pushed by {details.pushed}")


TOY = Editor("toy", "Toy", "fact", ToySettings, ToyDetails, one_rewrite, _toy_fits, _toy_make, _toy_figures)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EDITORS, "toy", f"{__name__}:TOY")


def asked(**given: Any) -> EditRequest:
    return EditRequest(**{"editor": "toy", "case": CASE, "settings": {}, "test": False, **given})


def test_others_are_written_in_the_same_edit_and_their_suites_are_run_with_it(
    toy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases_asked: list[Cases] = []
    monkeypatch.setitem(globals(), "TOY", replace(TOY, many=True, check=lambda cases, _: cases_asked.append(cases)))
    peru = CASE.model_copy(update={"subject": "France", "prompt": "The largest island of all is France"})
    records = tuple(EditRecord(id=case.prompt, case=case, suite=suite()) for case in (CASE, peru, peru))
    result = edit.run(tiny_loaded("llama"), asked(others=records, test=True), silent)
    assert cases_asked == [(without_foil(CASE), without_foil(peru))]
    assert result.suite is not None
    assert result.suite.suite == Suite(name="2 facts", facts=suite().facts)
    alone = edit.run(tiny_loaded("llama"), asked(others=records, suite=suite(), test=True), silent)
    assert alone.suite is not None
    assert alone.suite.suite == suite()


def test_an_editor_is_one_line_and_is_run_tested_swept_drawn_and_taken_back(toy: None) -> None:
    model = tiny_loaded("llama")
    original = digest(model)
    result = edit.run(model, asked(suite=suite(), test=True), silent)
    assert result.editor == "toy"
    assert result.details == ToyDetails(pushed=5.0, checks=(Check(name="push", text="pushed"),))
    assert [entry.info for entry in model.edits.entries] == [result.edit]
    assert result.before != result.after
    assert result.suite is not None
    assert [check.name for check in result.checks] == ["rewrite", "far", "push"]
    drawn = method("edit").figures(result)
    assert any("pushed by 5.0" in figure.model_dump_json() for figure in drawn)
    model.edits.undo()
    swept = edit.run(model, asked(sweep=(2, 0)), silent)
    assert [one.layer for one in swept.sweep] == [2, 0]
    assert swept.edit is not None
    assert swept.edit.layers == (max(swept.sweep, key=lambda one: one.target_probability).layer,)
    model.edits.undo()
    assert digest(model) == original


def test_records_are_edited_by_any_editor(toy: None) -> None:
    record = EditRecord(id="1", case=CASE, suite=suite())
    request = FactsEditRequest(editor="toy", settings=ToySettings(layer=1), records=(record,))
    (outcome,) = records.run(tiny_loaded("llama"), request, silent).records
    assert (outcome.title, outcome.layers) == ("L1 pushed", (1,))


def test_a_gate_that_warns_makes_an_edit_suspicious(toy: None) -> None:
    model = tiny_loaded("llama")
    assert edit.run(model, asked(), silent).sound
    suspicious = edit.run(model, asked(settings={"push": 9.5}), silent)
    assert not suspicious.sound
    assert "suspicious" in "".join(figure.model_dump_json() for figure in method("edit").figures(suspicious))


def test_what_an_editor_finds_on_the_way_is_a_result_without_an_edit(toy: None) -> None:
    partial: list[Any] = []

    def stopping(done: int, total: int, found: Any = None, *, stage: str = "") -> None:
        partial.append(found)
        raise Cancelled

    model = tiny_loaded("llama")
    with pytest.raises(Cancelled):
        edit.run(model, asked(), stopping)
    (result,) = partial
    assert isinstance(result, EditResult)
    assert (result.edit, result.details.checks, result.checks) == (None, result.checks, result.details.checks)
    assert model.edits.entries == ()
    assert method("edit").figures(result)


def test_settings_of_an_editor_are_checked_before_the_model_is_touched(toy: None) -> None:
    model = tiny_loaded("llama")
    for request, sentence in (
        (asked(case=None), "needs one case"),
        (asked(case=CASE.model_copy(update={"target": " "})), "needs a target"),
        (asked(settings={"layer": 3}), "no layer 3"),
        (asked(sweep=(0, 3)), "no layer 3"),
    ):
        with pytest.raises(InputError, match=sentence):
            edit.run(model, request, silent)
    assert model.edits.entries == ()


# --- The editors that there are ---


@pytest.mark.parametrize("name", EDITORS)
def test_every_editor_is_declared_by_its_name_with_settings_that_can_be_typed(name: str) -> None:
    found = editor(name)
    assert found.name == name
    assert settings_of(found.settings)
    assert issubclass(found.details, Details)
    defaults = EditRequest(editor=name, settings={})  # type: ignore[arg-type]
    assert defaults.settings == found.settings()
    assert EditRequest.model_validate_json(defaults.model_dump_json()) == defaults


@pytest.mark.parametrize("name", EDITORS)
def test_an_editor_that_can_be_swept_and_says_why_it_is_this_layer_can_be_told_that_it_was_the_best(name: str) -> None:
    found = editor(name)
    if "layer" in found.settings.model_fields and "layer_from" in found.details.model_fields:
        assert issubclass(found.details, LayerDetails)


def test_editors_are_offered_by_what_they_act_on() -> None:
    by_kind = {of: [each.name for each in editors.editors(of)] for of in ("fact", "concept", "behaviour")}  # type: ignore[arg-type]
    assert by_kind["fact"][0] == "rome"
    assert {"leace", "orth", "steer"} <= set(by_kind["concept"])
    assert by_kind["behaviour"] == ["contrast"]
    assert sorted(name for names in by_kind.values() for name in names) == sorted(EDITORS)


def test_settings_are_those_of_the_editor_and_of_no_other() -> None:
    assert isinstance(EditRequest(settings={"layer": 2}).settings, RomeSettings)  # type: ignore[arg-type]
    steering = EditRequest(editor="steer", settings={"strength": 2})  # type: ignore[arg-type]
    assert isinstance(steering.settings, SteeringSettings)
    for by, settings in (("leace", {"strength": 2}), ("leace", RomeSettings()), ("rome", ErasureSettings())):
        with pytest.raises(ValidationError):
            EditRequest(editor=by, settings=settings)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match=r"there is no editor 'spell'; choose one of rome, "):
        EditRequest(editor="spell", settings={})  # type: ignore[arg-type]


def test_a_prompt_that_an_editor_of_concepts_watches_is_not_taken_for_one_that_it_rewrites() -> None:
    case = Case(prompt="The doctor said that", target=",", foil=".")
    settings = ErasureSettings(concept="tense", limit=120, layers=(1,), above=False)
    result = edit.run(tiny_loaded("llama"), EditRequest(editor="leace", case=case, settings=settings), silent)
    assert result.encoded is not None
    assert [said.prepend for said in result.after] == [said.prepend for said in result.before] == ["as-is", "separator"]
    assert not {"rewrite", "suite"} & {check.name for check in result.checks}
    assert result.suite is None


def test_an_editor_without_one_layer_is_not_swept() -> None:
    settings = ErasureSettings(concept="tense", limit=120)
    request = EditRequest(editor="leace", settings=settings, sweep=(0, 1), test=False)
    with pytest.raises(InputError, match="LEACE has no one layer to try; leave the sweep out"):
        edit.run(tiny_loaded("llama"), request, silent)


@pytest.mark.parametrize(
    "request_",
    [
        EditRequest(case=CASE, settings=RomeSettings(layer=1, prefixes=1), suite=suite()),
        EditRequest(
            editor="steer",
            case=Case(prompt="The doctor said"),
            settings=SteeringSettings(concept="tense", limit=120, layers=(1,), above=False),
            test=False,
        ),
    ],
    ids=["rome", "steer"],
)
def test_what_was_asked_and_found_is_read_back_from_a_file(request_: EditRequest) -> None:
    result = edit.run(tiny_loaded("llama"), request_, silent)
    step = Step(started=datetime(2026, 1, 2, tzinfo=UTC), seconds=1, status="done", request=request_, result=result)
    read = Step.model_validate_json(step.model_dump_json())
    assert read.request == request_
    assert isinstance(read.result, EditResult)
    assert type(read.result.details) is editor(request_.editor).details
    assert read.result.model_dump() == result.model_dump()
    assert read.result.checks == result.checks
    assert method("edit").figures(read.result) == method("edit").figures(result)
