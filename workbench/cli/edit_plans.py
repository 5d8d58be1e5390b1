"""What `workbench edit` asks for, from its options: one edit with what is done before and after it, or many records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from workbench import settings as fields
from workbench.case import Case, Prepend
from workbench.cli.asking import Plan
from workbench.cli.options import Typed, only_of
from workbench.cli.output import remark
from workbench.datasets.contrasts import contrast_of
from workbench.datasets.suites import EditRecord, Suite, read_records, read_suite
from workbench.editing.advice import COMMON, MANY
from workbench.editing.control_vectors import check_vector_place
from workbench.editing.edit import EditRequest
from workbench.editing.editor import Settings
from workbench.editing.editors import editor, editors
from workbench.editing.editors.erasure.erasure import ErasureSettings, concept_of
from workbench.editing.editors.steering.steering import ContrastSettings
from workbench.editing.figures import facts_standing
from workbench.editing.layers import known_layer
from workbench.editing.operations import QueueRequest
from workbench.editing.patches import check_folder, check_free, check_place
from workbench.editing.records import FactsEditRequest, FactsEditResult
from workbench.editing.standings import standings_figures
from workbench.editing.steer_sweep import SteerSweepRequest
from workbench.editing.suite.regression import SuiteResult
from workbench.errors import InputError, NotConfirmed
from workbench.figures import Figure
from workbench.methods.lens.logit_lens import LensRequest
from workbench.methods.tracing.layer import traced_layer
from workbench.paths import patch_path, vector_path, written_path
from workbench.protocol import Request
from workbench.session import Step, load_session
from workbench.settings import filled


def edit_plan(
    case: Case,
    request: EditRequest | None,
    apply: Path | None,
    after: tuple[Request, ...],
    require_score: float | None,
) -> Plan:
    """Apply a patch, make the edit, do what comes ``after`` it.

    Without an edit the lens shows what the patch does, or the patch is all.
    """
    before: tuple[Request, ...] = ()
    if apply is not None:
        before = (QueueRequest(action="apply", path=str(apply)),)
    if request is not None:
        return Plan(
            request, before, after, lambda result: _reaches(result.suite, require_score), _missed(require_score)
        )
    shown = LensRequest(case=case, first=-1, positions=(-1,)) if case.prompt.strip() else None
    return Plan(shown or QueueRequest(), before, after)


def saving(
    patch: Path | None, folder: Path | None = None, yes: bool = False, vector: Path | None = None
) -> tuple[Request, ...]:
    """What saves a patch, the whole model or a control vector in the end. Raises `InputError` where it could not."""
    after: list[Request] = []
    if patch is not None:
        place = patch_path(str(patch))
        check_place(place)
        if not yes:
            with _by_yes():
                check_free(place)
        after.append(QueueRequest(action="save", path=str(patch), confirmed=yes))
    if folder is not None:
        check_folder(written_path(str(folder)))
        after.append(QueueRequest(action="save-model", path=str(folder)))
    if vector is not None:
        place = vector_path(str(vector))
        with _by_yes():
            check_vector_place(place, yes)
        after.append(QueueRequest(action="save-control-vector", path=str(vector), confirmed=yes))
    return tuple(after)


@contextmanager
def _by_yes() -> Iterator[None]:
    """A context in which what is not confirmed is refused, with the option that confirms it."""
    try:
        yield
    except NotConfirmed as error:
        raise InputError(f"{error} by --yes") from None


def facts_plan(
    facts: Path,
    limit: int | None,
    require_score: float | None,
    chosen: Mapping[str, Settings],
    *,
    sequence: bool,
    batch: int | None = None,
) -> Plan:
    """Edit the records of a file, by one editor or by each of several, which are compared in the end."""
    _check_positive("batch", batch)
    records = records_of(facts, limit)
    if sequence and len(records) > MANY:
        remark(f"workbench: {len(records)} edits on top of each other: {COMMON}")
    first, *others = (
        FactsEditRequest(editor=name, settings=settings, records=records, sequence=sequence, batch=batch)
        for name, settings in chosen.items()
    )
    return Plan(
        first,
        passes=lambda result: _passes(result, require_score),
        unless=_missed(require_score),
        others=tuple(others),
        together=_compared,
    )


def records_of(path: Path, limit: int | None) -> tuple[EditRecord, ...]:
    """The first records of a file. Raises `InputError` where there are none."""
    _check_positive("limit", limit)
    return read_records(path)[:limit]


def _check_positive(name: str, number: int | None) -> None:
    if number is not None and number < 1:
        raise InputError(f"--{name} must be at least 1, not {number}")


def _compared(steps: Sequence[Step]) -> tuple[Figure, ...]:
    """One table of what several editors came to."""
    rows = []
    for step in steps:
        assert isinstance(step.request, FactsEditRequest)
        found = step.result if isinstance(step.result, FactsEditResult) else None
        why = "" if found else step.error.message if step.error else step.status
        rows.append(facts_standing(editor(step.request.editor).title, found, why))
    return standings_figures("Editors compared", rows)


def chosen_editors(by: str, several: str | None, typed: Typed) -> dict[str, Settings]:
    """The editors of ``--editors`` (all of facts where that says so), or the one of ``--editor``, with their settings.

    A setting that was typed is for those of several that have it. Raises `InputError` where none has.
    """
    if several is None:
        return {by: settings_of(by, "fact", typed)}
    names = [name.strip() for name in several.split(",") if name.strip()]
    names = [each.name for each in editors("fact")] if names == ["all"] else names
    if not names or len(set(names)) < len(names):
        raise InputError("--editors names editors with commas, each once, or all; workbench editors list has them")
    have: dict[str, set[str]] = {name: _own(name) for name in names}
    given = {name: value for name, value in typed.items() if value is not None}
    for name in given:
        if not any(name in own for own in have.values()):
            raise InputError(f"none of {', '.join(names)} has a setting --{name.replace('_', '-')}; leave it out")
    return {
        name: settings_of(name, "fact", {each: value for each, value in given.items() if each in own})
        for name, own in have.items()
    }


def _own(name: str) -> set[str]:
    """The names of an editor's settings, none where there is no such editor."""
    known = {each.name: each for each in editors("fact")}
    return {setting.name for setting in fields.settings_of(known[name].settings)} if name in known else set()


def settings_of(by: str, of: Literal["fact", "concept"], typed: Typed) -> Settings:
    """The settings of an editor, as they were typed. Raises `InputError` where it is none of these, or has no such."""
    names = [each.name for each in editors(of)]
    if by not in names:
        raise InputError(f"there is no editor {by!r} of a {of}; choose one of {', '.join(names)}")
    model = editor(by).settings
    requests = {setting.name for setting in fields.settings_of(EditRequest)}
    own = {name: value for name, value in typed.items() if name not in requests}
    return filled(model, only_of(model, own, editor(by).title))


def concept_settings(by: str, typed: Typed, prepend: Prepend) -> Settings:
    """The settings of an editor of concepts, with the digest of the texts, which are read for it."""
    settings = settings_of(by, "concept", typed)
    assert isinstance(settings, ErasureSettings)
    settings = settings.model_copy(update={"prepend": prepend})
    return settings.model_copy(update={"digest": concept_of(settings).digest})


def steer_request(typed: Typed) -> EditRequest:
    """The request that steers by contrast, with the digest of the set, which is read for it."""
    by = editor("contrast")
    settings = filled(ContrastSettings, only_of(ContrastSettings, typed, "one strength (without --sweep)"))
    by.check((), settings)
    settings = settings.model_copy(update={"digest": contrast_of(settings.contrast).digest})
    return EditRequest(editor=by.name, settings=settings, test=False)


def sweep_request(typed: Typed) -> SteerSweepRequest:
    """The request for a sweep of strengths, likewise."""
    request = filled(SteerSweepRequest, only_of(SteerSweepRequest, typed, "--sweep"))
    return request.model_copy(update={"digest": contrast_of(request.contrast).digest})


def with_traced_layer(request: EditRequest, session: Path | None) -> EditRequest:
    """Checked, and at the layer that a trace in the session found where none is asked for or known for the model."""
    editor(request.editor).check(request.cases, request.settings)
    settings = request.settings
    if request.sweep or request.case is None or getattr(settings, "layer", 0) is not None:
        return request
    if session is None or not session.exists():
        return request
    found = load_session(session)
    if found.model is not None and known_layer(found.model) is not None:
        return request
    layer = traced_layer(((step.request, step.result) for step in reversed(found.steps)), request.case)
    return request.model_copy(update={"settings": settings.model_copy(update={"layer": layer})})


def attached_suite(path: Path | None) -> Suite | None:
    """The suite that the user names."""
    return read_suite(path) if path is not None else None


def other_records(by: str, path: Path | None) -> tuple[EditRecord, ...]:
    """The records that are written in the same edit. Raises `InputError` for an editor of one fact."""
    if path is None:
        return ()
    if not editor(by).many:
        raise InputError(f"{editor(by).title} edits one fact at a time; leave --with out")
    return read_records(path)


def _passes(result: FactsEditResult, required: float | None) -> bool:
    return required is None or min(_percent(result.harmonic)) >= required


def _reaches(suite: SuiteResult | None, required: float | None) -> bool:
    return required is None or (suite is not None and min(_percent(suite.harmonic)) >= required)


def _percent(harmonic: dict[Any, float | None]) -> list[float]:
    """Scores 0 … 100 by what is prepended; what cannot be scored counts as nothing."""
    return [100 * (score or 0.0) for score in harmonic.values()] or [0.0]


def _missed(required: float | None) -> str:
    return f"the harmonic score is under {required:g}" if required is not None else ""
