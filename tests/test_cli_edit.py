"""`workbench edit` on the command line: one edit, records from a file, patches, and the bad input of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.test_cli import PROMPT, Run, tiny, workbench
from workbench.case import Case
from workbench.cli import edit_plans as editing
from workbench.cli.waiting import WaitingEngine
from workbench.editing.compare import CompareResult
from workbench.editing.edit import EditRequest, EditResult
from workbench.editing.editors.rome.rome import RomeSettings
from workbench.editing.fix_cases import FixCasesRequest, FixCasesResult
from workbench.editing.records import FactsEditResult
from workbench.errors import InputError
from workbench.events import LoadRequest
from workbench.methods.lens.logit_lens import LensResult
from workbench.methods.tracing.causal_trace import TraceRequest, TraceResult
from workbench.session import Step, load_session
from workbench.settings import filled

__all__ = ["tiny", "workbench"]  # fixtures

EDIT = ["edit", PROMPT, "--subject", "Australia", "--target", ",", "--foil", "."]
FAST = ["--prefixes", "1", "--layer", "1"]


def suite_file(folder: Path) -> Path:
    fact = {"role": "rewrite", "prompt": PROMPT, "subject": "Australia", "target": ",", "against": "."}
    path = folder / "suite.json"
    path.write_text(json.dumps({"name": "mine", "facts": [fact]}))
    return path


def record_file(folder: Path, number: int = 2) -> Path:
    record = {
        "prompt": PROMPT,
        "subject": "Australia",
        "target_new": ",",
        "ground_truth": ".",
        "rephrase_prompt": f"They say: {PROMPT}",
        "locality_prompt": "The capital of France is",
        "locality_ground_truth": "?",
    }
    path = folder / "records.jsonl"
    path.write_text("".join(json.dumps({**record, "case_id": n}) + "\n" for n in range(number)))
    return path


def test_every_option_of_edit_reaches_the_request(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    options = ["--layer", "2", "--variant", "original", "--prefixes", "1", "--seed", "5", "--steps", "3", "--no-test"]
    outcome = workbench(*EDIT, *options, "--editor", "rome", "--suite", suite_file(tmp_path), "--model", tiny, "--json")
    assert outcome.code == 0, outcome.err
    step = Step.model_validate_json(outcome.out)
    assert isinstance(step.request, EditRequest)
    request, settings = step.request, step.request.settings
    assert isinstance(settings, RomeSettings)
    assert request.editor == "rome"
    assert (settings.layer, settings.variant, settings.prefixes, settings.seed) == (2, "original", 1, 5)
    assert settings.steps == 3
    assert request.case == Case(prompt=PROMPT, subject="Australia", target=",", foil=".")
    assert not request.test
    assert request.suite is not None
    assert request.suite.name == "mine"


def test_without_json_edit_prints_what_is_said_now_and_the_suite(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    outcome = workbench(*EDIT, *FAST, "--suite", suite_file(tmp_path), "--model", tiny)
    assert outcome.code == 0, outcome.err
    assert "Australia → ," in outcome.out
    assert "Regression suite · mine" in outcome.out
    assert "statistics" in outcome.out


def test_a_saved_patch_is_applied_in_a_new_run(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    patch = tmp_path / "patch.safetensors"
    made = workbench(*EDIT, *FAST, "--no-test", "--save", patch, "--model", tiny, "--json")
    assert made.code == 0, made.err
    assert f"a patch of 1 edit was saved to {patch}" in made.err
    edited = Step.model_validate_json(made.out).result
    assert isinstance(edited, EditResult)
    assert edited.edit is not None

    applied = workbench(
        "edit", PROMPT, "--foil", ".", "--apply", patch, "--model", tiny, "--json", "--session", tmp_path / "s.json"
    )
    assert applied.code == 0, applied.err
    step = Step.model_validate_json(applied.out)
    assert step.edits == (edited.edit.id,)
    assert isinstance(step.result, LensResult)
    assert [kept.request.kind for kept in load_session(tmp_path / "s.json").steps] == ["queue", "lens"]

    continued = workbench("continue", PROMPT, "--apply", patch, "--model", tiny, "--json")
    assert Step.model_validate_json(continued.out).edits == (edited.edit.id,), continued.err


@pytest.mark.parametrize(("given", "missing"), [("--subject", "target"), ("--target", "subject")])
def test_what_an_edit_lacks_is_said_before_a_model_is_loaded(workbench: Run, given: str, missing: str) -> None:
    outcome = workbench("edit", PROMPT, given, "Australia", "--model", "no-model")
    assert outcome.code == 2
    assert f"an edit needs a {missing}" in " ".join(outcome.err.split())


def test_a_place_that_is_taken_is_refused_before_anything_is_computed(workbench: Run, tmp_path: Path) -> None:
    taken = tmp_path / "model.safetensors"
    taken.write_bytes(b"weights")
    outcome = workbench(*EDIT, "--save", taken, "--model", tmp_path / "no-model")
    assert outcome.code == 2
    assert "model.safetensors exists and is no patch" in " ".join(outcome.err.split())
    assert taken.read_bytes() == b"weights"


def test_a_patch_that_is_there_is_replaced_only_with_yes(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    asked = (*EDIT, *FAST, "--no-test", "--save", tmp_path / "patch", "--model", tiny)
    assert workbench(*asked).code == 0
    patch = tmp_path / "patch.safetensors"
    written = patch.stat().st_mtime_ns
    refused = workbench(*EDIT, "--save", tmp_path / "patch", "--model", tmp_path / "no-model")
    assert refused.code == 2
    assert "patch.safetensors exists and would be replaced" in " ".join(refused.err.split())
    assert "--yes" in refused.err
    assert patch.stat().st_mtime_ns == written
    assert workbench(*asked, "--yes").code == 0
    assert patch.stat().st_mtime_ns > written


def test_a_whole_model_is_saved_by_an_option_of_its_own(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    outcome = workbench(*EDIT, *FAST, "--no-test", "--save-model", tmp_path / "whole", "--model", tiny)
    assert outcome.code == 0, outcome.err
    assert f"the whole model with 1 edit was saved into {tmp_path / 'whole'}" in outcome.err
    assert (tmp_path / "whole" / "config.json").exists()
    again = workbench(*EDIT, "--save-model", tmp_path / "whole", "--model", tmp_path / "no-model")
    assert again.code == 2
    assert "is not empty" in " ".join(again.err.split())


def test_facts_of_a_file_are_written_in_the_same_edit(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    asked = (*EDIT, "--editor", "memit", "--layers", "1", "--prefixes", "0", "--steps", "2", "--model", tiny, "--json")
    france = {"prompt": "The capital of France is", "subject": "France", "target": ","}
    file = record_file(tmp_path, 2)  # which say the same as the prompt
    file.write_text(f"{file.read_text()}{json.dumps(france)}\n")
    outcome = workbench(*asked, "--with", file)
    assert outcome.code == 0, outcome.err
    step = Step.model_validate_json(outcome.out)
    assert isinstance(step.request, EditRequest)
    assert isinstance(step.result, EditResult)
    assert step.result.edit is not None
    assert step.result.edit.title == "L1 2 facts"
    assert [case.subject for case in step.request.cases] == ["Australia", "France"]
    assert step.result.suite is not None
    assert step.result.suite.suite.name == "2 facts"


def test_records_are_edited_one_by_one_and_scored(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    outcome = workbench("edit", "--facts", record_file(tmp_path, 3), "--limit", "2", *FAST, "--model", tiny, "--json")
    assert outcome.code == 0, outcome.err
    result = Step.model_validate_json(outcome.out).result
    assert isinstance(result, FactsEditResult)
    assert len(result.records) == 2
    assert {score.role for score in result.scores} == {"rewrite", "paraphrase", "neighborhood"}


def test_a_score_that_is_required_and_not_reached_is_exit_code_1(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    arguments = ["edit", "--facts", record_file(tmp_path, 1), *FAST, "--model", tiny]
    missed = workbench(*arguments, "--require-score", "101")
    assert missed.code == 1
    assert "the harmonic score is under 101" in missed.err
    assert workbench(*arguments, "--require-score", "0").code == 0


def test_records_are_edited_by_several_editors_and_compared_in_the_end(
    workbench: Run, tiny: Path, tmp_path: Path
) -> None:
    asked = ["edit", "--facts", record_file(tmp_path, 1), "--editors", "rome,ft-m", "--steps", "2", *FAST]
    outcome = workbench(*asked, "--model", tiny, "--json", "--session", tmp_path / "s.json")
    assert outcome.code == 0, outcome.err
    steps = [Step.model_validate_json(line) for line in outcome.out.splitlines()]
    assert [step.request.editor for step in steps] == ["rome", "ft-m"]  # type: ignore[attr-defined]
    assert [step.request.settings.steps for step in steps] == [2, 2]  # type: ignore[attr-defined]
    assert len(load_session(tmp_path / "s.json").steps) == 2

    drawn = workbench(*asked, "--model", tiny)
    assert drawn.code == 0, drawn.err
    compared = drawn.out[drawn.out.index("Editors compared · as-is") :]
    lines = [line.split()[0] for line in compared.splitlines() if line.strip()]
    assert {"unedited", "ROME", "Fine-tuning"} <= set(lines)
    assert "efficacy" in compared
    assert "▲ best ▼ worst" in compared


def test_an_editor_that_cannot_is_said_in_the_table_and_the_others_go_on(
    workbench: Run, tiny: Path, tmp_path: Path
) -> None:
    fields = json.loads(record_file(tmp_path, 1).read_text())
    record = {
        "id": "1",
        "case": {"prompt": fields["prompt"], "target": ","},
        "suite": {"name": "x", "facts": [{"role": "rewrite", "prompt": fields["prompt"], "target": ","}]},
    }
    (tmp_path / "no-subject.jsonl").write_text(json.dumps(record))
    asked = ["edit", "--facts", tmp_path / "no-subject.jsonl", "--editors", "rome,ft-m", "--layer", "1", "--steps", "2"]
    outcome = workbench(*asked, "--model", tiny)
    assert outcome.code == 0, outcome.err
    assert "ROME: no record could be edited; the first: an edit needs a subject" in " ".join(outcome.out.split())
    alone = workbench(*asked[:3], "--editor", "rome", "--model", tiny)
    assert alone.code == 2


def test_the_editors_there_are_are_listed(workbench: Run) -> None:
    outcome = workbench("editors", "list")
    assert outcome.code == 0
    assert "rome" in outcome.out
    assert "many at once" in outcome.out
    listed = json.loads(workbench("editors", "list", "--json").out)
    assert listed[0] == {"name": "rome", "title": "ROME", "of": "fact", "many": False}
    assert {"leace", "ft-l"} <= {each["name"] for each in listed}


def test_editors_are_compared_on_one_case(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    case = [PROMPT, "--target", ",", "--foil", ".", "--suite", suite_file(tmp_path)]
    asked = ["editors", "compare", *case, "--editors", "rome,ft-m", "--model", tiny]
    outcome = workbench(*asked, "--json")
    assert outcome.code == 0, outcome.err
    result = Step.model_validate_json(outcome.out).result
    assert isinstance(result, CompareResult)
    assert [(rival.editor, bool(rival.edit)) for rival in result.rivals] == [("rome", False), ("ft-m", True)]
    drawn = workbench(*asked)
    assert "Editors compared · mine · as-is" in drawn.out
    assert "ROME: an edit needs a subject" in " ".join(drawn.out.split())


def test_layers_to_sweep_are_ranges_and_lists(workbench: Run, tiny: Path) -> None:
    def swept(typed: str) -> tuple[int, ...]:
        return filled(EditRequest, {"sweep": typed}, settings={}).sweep

    assert swept("3-5") == (3, 4, 5)
    assert swept("8, 3-4,8") == (8, 3, 4)
    for wrong in ("a", "5-3", ",", "3-"):
        with pytest.raises(InputError):
            swept(wrong)
    outcome = workbench(*EDIT, "--prefixes", "1", "--no-test", "--sweep", "0-1", "--model", tiny, "--json")
    assert outcome.code == 0, outcome.err
    result = Step.model_validate_json(outcome.out).result
    assert isinstance(result, EditResult)
    assert [one.layer for one in result.sweep] == [0, 1]


def test_the_layer_comes_from_the_sessions_trace_of_the_same_prompt(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    session, case = tmp_path / "s.json", Case(prompt=PROMPT, subject="Australia", target=",")
    with WaitingEngine(LoadRequest(model=str(tiny)), session) as engine:
        step = engine.answer(TraceRequest(case=case, kinds=("states", "mlp"), samples=2))
    assert isinstance(step.result, TraceResult)
    grid, subject = step.result.grid("mlp"), step.result.encoded.subject
    assert grid is not None
    assert subject is not None
    column = [row[subject[1] - 1] for row in grid.values]
    best = max if step.result.clean > step.result.corrupted else min
    traced = column.index(best(column))

    def layer(session: Path, asked: EditRequest) -> int | None:
        settings = editing.with_traced_layer(asked, session).settings
        assert isinstance(settings, RomeSettings)
        return settings.layer

    asked = EditRequest(case=case, settings=RomeSettings(prefixes=1))
    assert layer(session, asked) == traced
    assert layer(session, EditRequest(case=case, settings=RomeSettings(layer=7))) == 7
    assert layer(session, asked.model_copy(update={"sweep": (0, 1)})) is None
    assert layer(session, asked.model_copy(update={"case": case.model_copy(update={"subject": "capital"})})) is None
    assert layer(tmp_path / "none.json", asked) is None
    options = ["--prefixes", "1", "--no-test", "--model", tiny, "--session", session, "--json"]
    outcome = workbench(*EDIT, *options)
    assert outcome.code == 0, outcome.err
    result = Step.model_validate_json(outcome.out).result
    assert isinstance(result, EditResult)
    assert result.edit is not None
    assert result.edit.layers == (traced,)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["edit", PROMPT, "--subject", "Australia"], "needs a target"),
        (["edit", PROMPT, "--target", ","], "needs a subject"),
        (["edit", PROMPT, "--subject", "Narnia", "--target", ","], "not in the prompt"),
        ([*EDIT, "--sweep", "x"], "does not name layers"),
        ([*EDIT, "--suite", "nowhere.json"], "nowhere.json"),
        ([*EDIT, "--apply", "nowhere.safetensors"], "there is no patch"),
        (["edit", "--facts", "nowhere.jsonl"], "nowhere.jsonl"),
        ([*EDIT, "--facts", "nowhere.jsonl"], "leave yours out"),
        ([*EDIT, "--layer", "x"], "layer: 'x' is not a whole number"),
        ([*EDIT, "--variant", "other"], "variant: 'other' is not one of"),
        ([*EDIT, "--prefix-tokens", "0"], "prefix-tokens: it must be at least 1, not"),
        (["edit", "--facts", "nowhere.jsonl", "--editors", "rome,rome"], "each once"),
        (["edit", "--facts", "nowhere.jsonl", "--editors", "rome,nobody"], "there is no editor 'nobody' of a fact"),
        (["edit", "--facts", "nowhere.jsonl", "--editors", "rome,ft-m", "--clamp", "1"], "nowhere.jsonl"),
        (
            ["edit", "--facts", "nowhere.jsonl", "--editors", "ft-m", "--clamp", "1"],
            "none of ft-m has a setting --clamp",
        ),
        (["edit", "--facts", "nowhere.jsonl", "--batch", "0"], "--batch must be at least 1, not 0"),
        ([*EDIT, "--batch", "2"], "name a file by --facts"),
        ([*EDIT, "--with", "nowhere.jsonl"], "ROME edits one fact at a time; leave --with out"),
        ([*EDIT, "--editor", "memit", "--with", "nowhere.jsonl"], "nowhere.jsonl"),
        (["editors", "compare", PROMPT, "--subject", "Australia"], "give a target"),
        (["editors", "compare", PROMPT, "--target", ",", "--editors", "nobody"], "there is no editor 'nobody'"),
        (["editors", "compare", "--target", ","], "the prompt is empty"),
        ([*EDIT, "--editor", "leace"], "there is no editor 'leace' of a fact; choose one of rome"),
    ],
)
def test_bad_input_is_a_sentence_and_exit_code_2(
    workbench: Run, tiny: Path, arguments: list[str], sentence: str
) -> None:
    outcome = workbench(*arguments, "--model", tiny)
    assert outcome.code == 2
    assert sentence in outcome.err
    assert "Traceback" not in outcome.err


def test_several_failures_are_fixed_together_and_their_steps_recorded(
    workbench: Run, tiny: Path, tmp_path: Path
) -> None:
    session = tmp_path / "s.json"
    asked = ["fix", "--cases", record_file(tmp_path, 3), "--limit", "2", "--tries", "prompt,in-context"]
    outcome = workbench(*asked, "--model", tiny, "--json", "--session", session)
    assert outcome.code == 0, outcome.err
    step = Step.model_validate_json(outcome.out)
    assert isinstance(step.request, FixCasesRequest)
    assert isinstance(step.result, FixCasesResult)
    assert step.result.cases == 2
    assert {each.name for each in step.result.candidates} == {"prompt", "in-context"}
    kinds = [each.request.kind for each in load_session(session).steps]
    assert kinds == ["suite", "edit-facts", "fix-cases"]
    assert "retrieval or retraining" not in step.result.reason


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cases", "none.jsonl"], "none.jsonl"),
        (["--cases", "records.jsonl", PROMPT], "--cases brings prompts"),
        (["--cases", "records.jsonl", "--limit", "0"], "--limit must be at least 1"),
        (["--cases", "records.jsonl", "--tries", "magic"], "there is no fix 'magic'"),
        ([PROMPT, "--limit", "2"], "--limit is for records"),
    ],
)
def test_a_wrong_way_to_name_failures_is_one_sentence(
    arguments: list[str], said: str, workbench: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    record_file(tmp_path)
    outcome = workbench("fix", *arguments, "--model", tiny)
    assert outcome.code == 2
    assert said in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
