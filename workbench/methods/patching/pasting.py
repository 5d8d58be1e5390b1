"""Cells of one prompt's run pasted into chosen places of another's: one run, with all of them put in together.

Patching says of every cell what it does at its own place; here any cell goes to any place, and to several.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self, cast

from pydantic import Field, model_validator

from workbench.case import Case
from workbench.errors import InputError
from workbench.lazy import nnsight, torch
from workbench.methods.patching.setup import BothRuns, both_runs
from workbench.methods.tracing.grid import TraceKind
from workbench.models.anatomy import tensor_of
from workbench.models.tokens import EncodedCase, token_text
from workbench.numbers import rounded
from workbench.protocol import Check, Frozen, Progress, Request, Result
from workbench.settings import PROMPT, Listed
from workbench.shapes import Layer, Share, as_many, within

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

MOST = 64
"""Cells at once: the answer is found anew after each of them."""

PARITY = {"float32": 1e-4}
"""How far the logits of a run with its own cells pasted may be off, relatively, by dtype."""

PARITY_OF_HALF = 0.1

_CELL = re.compile(r"\s*(?:(states|mlp|attention):)?(\d{1,4}):(\d{1,6})\s*>\s*(\d{1,4}):(\d{1,6})\s*")


class PastedCell(Frozen):
    """What the source's run has after a layer, at a token, and the place in the prompt's run that it is put into."""

    what: TraceKind
    layer: Layer
    token: Annotated[int, Field(ge=0)]
    into_layer: Layer
    into_token: Annotated[int, Field(ge=0)]

    @property
    def typed(self) -> str:
        """As it is typed."""
        return f"{self.what}:{self.layer}:{self.token}>{self.into_layer}:{self.into_token}"


class PasteRequest(Request):
    """Ask for the answer with ``cells`` of the source's run in the prompt's: after the first, the first two, and so on.

    A cell is written as in states:12:5>14:7, the layer and token of the source, and those of the prompt.
    """

    kind: Literal["paste"] = "paste"
    case: Case
    source: Annotated[str, PROMPT, Field(description="The second prompt, from whose run cells are taken.")]
    cells: Annotated[
        tuple[str, ...],
        Listed,
        Field(description="What is pasted where, with commas: states:12:5>14:7 is layer:token of the source > prompt."),
    ] = ()


class PastedAnswer(Frozen):
    """An answer: target − foil in logits, the probabilities of both and of the first choice ``top``."""

    difference: float
    p_target: Share
    p_foil: Share
    top: str
    p_top: Share


class PasteResult(Result):
    """The prompt's answer as it is (``before``), the source's, and ``after`` the first 1, 2, … of the cells."""

    kind: Literal["paste"] = "paste"
    encoded: EncodedCase
    encoded_source: EncodedCase
    target: str
    foil: str
    before: PastedAnswer
    source: PastedAnswer
    cells: tuple[PastedCell, ...]
    after: tuple[PastedAnswer, ...]

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        as_many(cells=self.cells, answers=self.after)
        for cell in self.cells:
            within("the token of a cell", cell.token, len(self.encoded_source.ids))
            within("the token of a place", cell.into_token, len(self.encoded.ids))
        return self


def run(model: LoadedModel, request: PasteRequest, progress: Progress) -> PasteResult:
    """Both runs, then one more for each cell. Raises `InputError` for cells or prompts that make no sense."""
    cells = typed_cells(request.cells)
    progress(0, 2 + len(cells), stage="both runs")
    both = both_runs(model, request.case, request.source)
    _check(cells, model.info.layers, both)
    answers = [_answer(model, both, logits) for logits in both.logits]
    after: list[PastedAnswer] = []

    def found(*checks: Check) -> PasteResult:
        return PasteResult(
            encoded=both.encoded,
            encoded_source=both.encoded_source,
            target=token_text(model.tokenizer, both.target),
            foil=token_text(model.tokenizer, both.foil),
            before=answers[0],
            source=answers[1],
            cells=tuple(cells[: len(after)]),
            after=tuple(after),
            checks=checks,
        )

    for number in range(1, len(cells) + 1):
        progress(1 + number, 2 + len(cells), found(), stage="pasting")
        after.append(_answer(model, both, _logits(model, both, cells[:number])))
    return found(_parity(model, both, cells))


def typed_cells(typed: Iterable[str]) -> list[PastedCell]:
    """Cells as they are typed. Raises `InputError`."""
    found = []
    for each in typed:
        read = _CELL.fullmatch(each)
        if read is None:
            raise InputError(
                f"{each!r} is no cell and place; write layer:token of the source > layer:token of the prompt, as in "
                "states:12:5>14:7"
            )
        layer, token, into_layer, into_token = map(int, read.groups()[1:])
        what = cast("TraceKind", read[1] or "states")
        found.append(PastedCell(what=what, layer=layer, token=token, into_layer=into_layer, into_token=into_token))
    if not found:
        raise InputError("there is nothing to paste; name cells and places, as in states:12:5>14:7")
    if len(found) > MOST:
        raise InputError(f"there are {len(found)} cells to paste; {MOST} at most can be pasted together")
    return found


def _check(cells: Sequence[PastedCell], layers: int, both: BothRuns) -> None:
    for cell in cells:
        for layer, token, encoded, whose in (
            (cell.layer, cell.token, both.encoded_source, "source"),
            (cell.into_layer, cell.into_token, both.encoded, "prompt"),
        ):
            if layer >= layers:
                raise InputError(f"there is no layer {layer}: the model has {layers}, counted from 0")
            if token >= len(encoded.ids):
                raise InputError(f"there is no token {token} in the {whose}: it has {len(encoded.ids)}, counted from 0")


def _logits(model: LoadedModel, both: BothRuns, cells: Sequence[PastedCell], own: bool = False) -> Tensor:
    """The logits after the last token ``(vocabulary,)`` with cells put in; where two go to one place, the later one.

    ``own``: what the prompt's run has at each place itself is put in, which changes nothing.
    """
    nn, run = model.nn, both.runs[0 if own else 1]
    given: dict[tuple[TraceKind, int, int], Tensor] = {}
    for cell in cells:
        layer, token = (cell.into_layer, cell.into_token) if own else (cell.layer, cell.token)
        of = run.states[layer + 1][0, token] if cell.what == "states" else run.parts[cell.what][layer][token]
        given[cell.what, cell.into_layer, cell.into_token] = of
    with torch.no_grad(), nn.trace(input_ids=both.runs[0].ids, use_cache=False):
        for layer, block in enumerate(nn.blocks):
            for (what, at, token), value in given.items():
                if (what, at) == ("attention", layer):
                    tensor_of(block.attention.output, 1)[:, token] = value
            for (what, at, token), value in given.items():
                if (what, at) == ("mlp", layer):
                    tensor_of(block.mlp.output, 1)[:, token] = value
            for (what, at, token), value in given.items():
                if (what, at) == ("states", layer):
                    tensor_of(block.output, 1)[:, token] = value
        logits: Tensor = nnsight.save(nn.output.logits[0, -1])
    return logits.float()


def _parity(model: LoadedModel, both: BothRuns, cells: Sequence[PastedCell]) -> Check:
    expected = both.logits[0]
    off = float((_logits(model, both, cells, own=True) - expected).abs().max() / expected.abs().max())
    level = "ok" if off <= PARITY.get(model.info.dtype, PARITY_OF_HALF) else "warn"
    return Check(name="own cells", text=f"pasted where they are, change logits by {off:.0e}", level=level)


def _answer(model: LoadedModel, both: BothRuns, logits: Tensor) -> PastedAnswer:
    p = logits.double().softmax(dim=-1)
    top = int(logits.argmax())
    return PastedAnswer(
        difference=rounded(float(logits[both.target] - logits[both.foil])),
        p_target=rounded(float(p[both.target])),
        p_foil=rounded(float(p[both.foil])),
        top=token_text(model.tokenizer, top),
        p_top=rounded(float(p[top])),
    )
