"""What the fake engine says of an erasure: numbers that depend on layer and method, put together as the method does."""

from __future__ import annotations

from typing import Any

from tests.screens.fake import MODEL, encoded_case, lens_result
from workbench.editing.edit import EditRequest, EditResult
from workbench.editing.editors.erasure.effects import CaseEffect, Effects, LostFact, WordEffect
from workbench.editing.editors.erasure.erased import Erased
from workbench.editing.editors.erasure.erasure import ErasureSettings, SteeringSettings
from workbench.editing.editors.erasure.layer import ChangedText, ErasedLayer
from workbench.editing.editors.erasure.probes import Accuracy
from workbench.editing.queue import EditInfo, QueuedEdit, QueueState
from workbench.protocol import Check

GUESSING = Accuracy(texts=0.5, templates=0.5)


def erasure_request(editor: str, **settings: Any) -> EditRequest:
    """As the form asks it, with these of the editor's settings."""
    return EditRequest(editor=editor, settings=settings, test=False)  # type: ignore[arg-type]


def erasure_edit(request: EditRequest) -> EditInfo:
    """Its name depends on editor, layers and strength."""
    editor, layers, strength = request.editor, _layers(request), _strength(request)
    number = len(editor) * 10_000 + sum(layers) * 100 + round(10 * strength)
    what = f"towards feminine, {strength:g} ×" if editor == "steer" else "erased"
    title = f"L{layers[0]}–{layers[-1]} Pronoun gender {what}"
    return EditInfo(id=f"{number:08x}", method=editor, title=title, layers=layers)


def erasure_queue(*requests: EditRequest, on: bool = True, bypassed: bool = False) -> QueueState:
    """The edits of some erasures."""
    entries = tuple(QueuedEdit(info=erasure_edit(request), on=on) for request in requests)
    return QueueState(entries=entries, bypassed=bypassed, can_undo=bool(entries))


def erased(request: EditRequest, probed: int | None = None, effects: bool = True) -> Erased:
    """The first ``probed`` layers, all if not given, and what the edit does if the last changed one is among them."""
    settings, layers = _settings(request), _layers(request)
    everything = range(layers[0], MODEL.layers if settings.above else layers[-1] + 1)
    rows = tuple(_row(request, layer, layers) for layer in everything[:probed])
    return Erased(
        concept="Pronoun gender",
        digest="0123456789abcdef",
        classes=("feminine", "masculine"),
        how=request.editor,  # type: ignore[arg-type]
        pool=settings.pool,
        layers=layers,
        towards="feminine" if request.editor == "steer" else None,
        texts={"train": 3000, "test": 1000, "held-out": 900},
        states=3000,
        per_dimension=187.5,
        majority=GUESSING,
        probed=rows,
        effects=_effects(request) if effects and rows[-1].layer >= layers[-1] else None,
    )


def erasure_result(
    request: EditRequest, queue: QueueState | None = None, probed: int | None = None, effects: bool = True
) -> EditResult:
    """What `erased` has, and the edit where all layers were probed."""
    details = erased(request, probed, effects)
    made = probed is None and effects
    return EditResult(
        editor=request.editor,
        details=details,
        edit=erasure_edit(request) if made else None,
        encoded=encoded_case(request.case) if request.case is not None else None,
        queue=queue if queue is not None else erasure_queue(*([request] if made else [])),
        checks=(
            Check(name="guarantee", text="class means 0.3 → 2e-07 apart", level="ok"),
            Check(name="fresh probe", text="0.60 and 0.55", level="warn"),
        ),
    )


def _settings(request: EditRequest) -> ErasureSettings:
    assert isinstance(request.settings, ErasureSettings)
    return request.settings


def _layers(request: EditRequest) -> tuple[int, ...]:
    return _settings(request).layers or tuple(range(MODEL.layers))


def _strength(request: EditRequest) -> float:
    return request.settings.strength if isinstance(request.settings, SteeringSettings) else 1.0


def _row(request: EditRequest, layer: int, layers: tuple[int, ...]) -> ErasedLayer:
    """The concept is read the better the higher the layer; above the changed ones it comes back a little."""
    changed, steers = layer in layers, request.editor == "steer"
    before = 0.9 + 0.01 * layer
    back = 0.0 if changed else 0.05 * (layer - layers[-1])
    return ErasedLayer(
        layer=layer,
        changed=changed,
        rank=1 if changed and not steers else 0,
        singular_values=(0.43,) if changed and not steers else (),
        before=Accuracy(texts=before, templates=before - 0.2),
        after=Accuracy(texts=0.51 + back, templates=0.5),
        fresh=None if steers else Accuracy(texts=0.6, templates=0.55),
        nonlinear_before=Accuracy(texts=0.97, templates=0.8),
        nonlinear_after=Accuracy(texts=0.66 + back, templates=0.61),
        class_means=(0.31, 2e-07),
        coefficient=None if steers else 3e-06,
        towards=(0.5, min(0.99, 0.6 + 0.1 * _strength(request))) if steers else None,
        most_changed=(
            ChangedText(text=f"The nurse said at layer {layer} that she", label="feminine", moved=0.321),
            ChangedText(text="The king said\nthat he", label="masculine", moved=0.2),
        ),
    )


def _effects(request: EditRequest) -> Effects:
    case = None
    if request.case is not None:
        column = lens_result(request.case).columns[-1]
        assert column is not None
        case = CaseEffect(encoded=encoded_case(request.case), before=column, after=column)
    return Effects(
        words=(WordEffect(prompt="The doctor told us that", before=(0.2, 0.4), after=(0.31, 0.3)),),
        perplexity_before=20.0,
        perplexity_after=20.2,
        known=12,
        kept=11,
        lost=(LostFact(prompt="The capital of Japan is", before=" Tokyo", after=" the"),),
        case=case,
    )
