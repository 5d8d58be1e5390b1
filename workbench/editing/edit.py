"""One edit by any editor: made, put into the queue, and judged by its regression suite."""

from __future__ import annotations

from statistics import harmonic_mean
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, SerializeAsAny, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from workbench.case import Case
from workbench.datasets.suites import EditRecord, Suite, suite_for
from workbench.editing.advice import advice
from workbench.editing.carried import carried_over
from workbench.editing.editor import Cases, Details, Editor, Made, Settings
from workbench.editing.editors import EDITORS, editor
from workbench.editing.layers import found_by_sweep
from workbench.editing.patches import keep_edit
from workbench.editing.queue import EditInfo, QueueState
from workbench.editing.rewriting import without_foil
from workbench.editing.said import Said, said, success
from workbench.editing.suite.regression import SuiteResult, run_suite
from workbench.errors import InputError
from workbench.models.tokens import EncodedCase
from workbench.numbers import rounded
from workbench.protocol import Check, Frozen, Progress, Request, Result, part, partly
from workbench.settings import TypedLayers
from workbench.shapes import as_many
from workbench.wording import count

if TYPE_CHECKING:
    from workbench.loading import LoadedModel


class _OfAnyEditor:
    """What a schema says of settings or details: those of one of the editors there are."""

    def __init__(self, part: Literal["settings", "details"]) -> None:
        self._part = part

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        models: list[type[Frozen]] = [getattr(editor(name), self._part) for name in EDITORS]
        for model in models:
            model.model_rebuild()
        return {"anyOf": [handler(model.__pydantic_core_schema__) for model in dict.fromkeys(models)]}


class Chosen(Frozen):
    """An ``editor``, with ``settings`` of its own: its defaults where none are given."""

    editor: str = "rome"
    settings: Annotated[SerializeAsAny[Settings], _OfAnyEditor("settings")]

    @model_validator(mode="before")
    @classmethod
    def _settings_of_the_editor(cls, data: Any) -> Any:
        if isinstance(data, dict):
            own = _named(data.get("editor", "rome")).settings
            data = {**data, "settings": own.model_validate(data.get("settings", {}))}
        return data


class WithSettings(Chosen, Request):
    """A request of one editor."""


class EditRequest(WithSettings):
    """Ask ``editor`` for an edit, with ``settings`` of its own.

    ``case`` is the prompt that is to be continued by its target; editors of concepts only watch it. The cases of
    ``others`` are written together with it, by an editor that takes many. ``sweep`` tries the edit at each of these
    layers and takes the best. ``suite`` is run afterwards, or the one that the shipped facts give for the case, with
    those of ``others``; ``test`` false runs none.
    """

    kind: Literal["edit"] = "edit"
    case: Case | None = None
    others: tuple[EditRecord, ...] = ()
    sweep: Annotated[
        TypedLayers, Field(description="Try each of these layers, such as 3-8 or 3,5,8, and take the best.")
    ] = ()
    suite: Suite | None = None
    test: Annotated[bool, Field(description="Run the regression suite afterwards.")] = True

    @property
    def cases(self) -> Cases:
        """The case, if there is one, and those of the others, but for one that says the same as the case."""
        if self.case is None or not self.others:
            return () if self.case is None else (self.case,)
        cases: dict[tuple[str, str | None, str], Case] = {}
        for case in (self.case, *(other.case for other in self.others)):
            cases.setdefault(_asked(case), without_foil(case))
        return tuple(cases.values())


def _asked(case: Case) -> tuple[str, str | None, str]:
    return case.prompt, case.subject, (case.target or "").strip()


class SweptLayer(Frozen):
    """One layer that was tried: the harmonic score of its suite (0 … 1), p(target) and the gates of the edit."""

    layer: int
    score: float | None
    target_probability: float
    gates: tuple[Check, ...]

    @property
    def sound(self) -> bool:
        """Whether no gate warns."""
        return all(gate.level != "warn" for gate in self.gates)


class EditResult(Result):
    """An edit that is in the queue and switched on; while it is made, or where that was cancelled, ``edit`` is None.

    ``before`` and ``after`` are what the model says to the prompt as the case has it and after BOS or separator.
    ``sound`` when no gate warns. ``suite`` is None while it has not been run, or where there is none.
    """

    kind: Literal["edit"] = "edit"
    editor: str
    details: Annotated[SerializeAsAny[Details], _OfAnyEditor("details")]
    edit: EditInfo | None = None
    encoded: EncodedCase | None = None
    before: tuple[Said, ...] = ()
    after: tuple[Said, ...] = ()
    sound: bool = True
    sweep: tuple[SweptLayer, ...] = ()
    suite: SuiteResult | None = None
    queue: QueueState

    @model_validator(mode="before")
    @classmethod
    def _details_of_the_editor(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("details"), dict):
            data = {**data, "details": _named(data.get("editor")).details.model_validate(data["details"])}
        return data

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.edit is not None:
            as_many(before=self.before, after=self.after)
        return self


def run(model: LoadedModel, request: EditRequest, progress: Progress) -> EditResult:
    """Make the edit, put it into the queue, and run its suite. Cancelled before that, nothing has changed.

    Raises what the editor raises: `InputError`, `workbench.errors.ModelError`, `workbench.errors.NumericalError`.
    """
    by, case = editor(request.editor), request.case
    check(model, by, request.cases, request.settings)
    encoded = model.encode(case) if case is not None else None
    rewrites = by.of == "fact" and encoded is not None and encoded.target is not None
    suite = (request.suite or (_suite(request) if rewrites else None)) if request.test else None
    before = said(model, case) if case is not None else ()
    settings, swept = request.settings, tuple[SweptLayer, ...]()
    if request.sweep:
        swept = _sweep(model, by, request, suite, progress)
        settings = settings.model_copy(update={"layer": _best(swept)})

    def unfinished(details: Frozen | None) -> EditResult | None:
        if not isinstance(details, Details):
            return None
        return EditResult(
            editor=by.name,
            details=found_by_sweep(details) if swept else details,
            encoded=encoded,
            before=before,
            sweep=swept,
            queue=model.edits.state,
            checks=details.checks,
        )

    made = by.make(model, request.cases, settings, partly(progress, unfinished))
    model.edits.add(made.edit)
    keep_edit(model.info.fingerprint, made.edit)
    after = said(model, case) if case is not None else ()
    carried = carried_over(by, settings, model.info)
    result = EditResult(
        editor=by.name,
        details=found_by_sweep(made.details) if swept else made.details,
        edit=made.edit.info,
        encoded=encoded,
        before=before,
        after=after,
        sound=all(gate.level != "warn" for gate in made.gates),
        sweep=swept,
        queue=model.edits.state,
        checks=(
            *((success(after[0], encoded),) if rewrites and encoded else ()),
            *made.gates,
            *made.details.checks,
            *carried,
        ),
    )
    if told := advice(model.info.fingerprint, len(model.edits.active)):
        result = result.model_copy(update={"checks": (told, *result.checks)})
    if suite is None:
        none = Check(name="suite", text="none: the relation is not among the shipped facts", level="warn")
        return result.model_copy(update={"checks": (*result.checks, none)} if request.test and rewrites else {})
    progress(0, 1, result, stage="suite")

    def so_far(partial: Frozen | None) -> EditResult:
        return result.model_copy(update={"suite": partial})

    return result.model_copy(
        update={"suite": run_suite(model, suite, part(progress, 0, 100, 100, "suite: {}", so_far))}
    )


def _suite(request: EditRequest) -> Suite | None:
    """What the shipped facts give for the case, and the suites of the others; None where there is nothing."""
    own = suite_for(request.case) if request.case else None
    if not request.others:
        return own
    suites = [*([own] if own else []), *(other.suite for other in request.others)]
    facts = tuple(dict.fromkeys(fact for suite in suites for fact in suite.facts))
    return Suite(name=count(len(request.cases), "fact"), facts=facts)


def check(model: LoadedModel, by: Editor, cases: Cases, settings: Settings) -> None:
    """Raise what is wrong with cases and settings, by themselves and on this model."""
    by.check(cases, settings)
    by.fits(model, cases, settings)


def _named(name: Any) -> Editor:
    """The editor of a name in a file. Raises `ValueError`, as pydantic has it."""
    try:
        return editor(str(name))
    except InputError as error:
        raise ValueError(str(error)) from None


def _sweep(
    model: LoadedModel, by: Editor, request: EditRequest, suite: Suite | None, progress: Progress
) -> tuple[SweptLayer, ...]:
    """Try layers, each edit taken back again."""
    if "layer" not in by.settings.model_fields:
        raise InputError(f"{by.title} has no one layer to try; leave the sweep out")
    swept = []
    for number, layer in enumerate(request.sweep):
        settings = request.settings.model_copy(update={"layer": layer})
        check(model, by, request.cases, settings)
        within = part(progress, 100 * number, 100, 100 * len(request.sweep), f"layer {layer}: {{}}", lambda _: None)
        swept.append(_tried(model, by.make(model, request.cases, settings, within), layer, request, suite))
    return tuple(swept)


def _tried(model: LoadedModel, made: Made, layer: int, request: EditRequest, suite: Suite | None) -> SweptLayer:
    with model.edits.added(made.edit):
        now = said(model, request.case) if request.case else ()
        score = None
        if suite is not None:
            tested = run_suite(model, suite, generate=False, held_out=False, free=False)
            scores = [score for score in tested.harmonic.values() if score is not None]
            score = rounded(harmonic_mean(scores)) if scores else None
    return SweptLayer(layer=layer, score=score, target_probability=now[0].target if now else 0.0, gates=made.gates)


def _best(swept: tuple[SweptLayer, ...]) -> int:
    """The sound layer with the best score, the likelier target where scores are equal or there is no suite."""
    return max(swept, key=lambda one: (one.sound, one.score or 0.0, one.target_probability)).layer
