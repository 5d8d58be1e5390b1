"""What the fake engine says of an erasure: numbers that depend on layer and method, put together as the method does."""

from __future__ import annotations

from tests.screens.fake import MODEL, encoded_case, lens_result
from workbench.editing.editors.erasure.effects import CaseEffect, Effects, LostFact, WordEffect
from workbench.editing.editors.erasure.erasure import ErasureRequest, ErasureResult
from workbench.editing.editors.erasure.layer import ChangedText, ErasedLayer
from workbench.editing.editors.erasure.probes import Accuracy
from workbench.editing.queue import EditInfo, QueuedEdit, QueueState
from workbench.protocol import Check

GUESSING = Accuracy(texts=0.5, templates=0.5)


def erasure_edit(request: ErasureRequest) -> EditInfo:
    """Its name depends on method, layers and strength."""
    layers = _layers(request)
    number = len(request.method) * 10_000 + sum(layers) * 100 + round(10 * request.strength)
    what = f"towards feminine, {request.strength:g} ×" if request.method == "steer" else "erased"
    title = f"L{layers[0]}–{layers[-1]} Pronoun gender {what}"
    return EditInfo(id=f"{number:08x}", method=request.method, title=title, layers=layers)


def erasure_queue(*requests: ErasureRequest, on: bool = True, bypassed: bool = False) -> QueueState:
    """The edits of some erasures."""
    entries = tuple(QueuedEdit(info=erasure_edit(request), on=on) for request in requests)
    return QueueState(entries=entries, bypassed=bypassed, can_undo=bool(entries))


def erasure_result(
    request: ErasureRequest, queue: QueueState | None = None, probed: int | None = None, effects: bool = True
) -> ErasureResult:
    """The first ``probed`` layers, all if not given, and the edit if the last changed one is among them."""
    layers = _layers(request)
    everything = range(layers[0], MODEL.layers if request.above else layers[-1] + 1)
    rows = tuple(_row(request, layer, layers) for layer in everything[:probed])
    made = rows[-1].layer >= layers[-1]
    return ErasureResult(
        concept="Pronoun gender",
        digest="0123456789abcdef",
        classes=("feminine", "masculine"),
        method=request.method,
        pool=request.pool,
        layers=layers,
        towards="feminine" if request.method == "steer" else None,
        texts={"train": 3000, "test": 1000, "held-out": 900},
        states=3000,
        per_dimension=187.5,
        majority=GUESSING,
        probed=rows,
        edit=erasure_edit(request) if made else None,
        effects=_effects(request) if made and effects else None,
        queue=queue if queue is not None else erasure_queue(*([request] if made else [])),
        checks=(
            Check(name="guarantee", text="class means 0.3 → 2e-07 apart", level="ok"),
            Check(name="fresh probe", text="0.60 and 0.55", level="warn"),
        ),
    )


def _layers(request: ErasureRequest) -> tuple[int, ...]:
    return request.layers or tuple(range(MODEL.layers))


def _row(request: ErasureRequest, layer: int, layers: tuple[int, ...]) -> ErasedLayer:
    """The concept is read the better the higher the layer; above the changed ones it comes back a little."""
    changed, steers = layer in layers, request.method == "steer"
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
        towards=(0.5, min(0.99, 0.6 + 0.1 * request.strength)) if steers else None,
        most_changed=(
            ChangedText(text=f"The nurse said at layer {layer} that she", label="feminine", moved=0.321),
            ChangedText(text="The king said\nthat he", label="masculine", moved=0.2),
        ),
    )


def _effects(request: ErasureRequest) -> Effects:
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
