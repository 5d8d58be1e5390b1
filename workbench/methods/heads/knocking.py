"""How a knock-out is carried out: the sweep, the best together, random heads, control prompts, and its own checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import InputError, ModelError
from workbench.lazy import torch
from workbench.methods.heads.chosen import edge_named, edges_chosen, heads_chosen
from workbench.methods.heads.controls import controls_of
from workbench.methods.heads.head_attribution import per_head
from workbench.methods.heads.knock_out import (
    ControlOutcome,
    KnockedOut,
    KnockOutKind,
    KnockoutRequest,
    KnockoutResult,
)
from workbench.methods.heads.names import named
from workbench.models.forward.apart import check_finite, taken_apart, token_index
from workbench.models.forward.knockout import Edge, Head, KnockOuts
from workbench.models.tokens import token_text
from workbench.numbers import rounded, significant
from workbench.protocol import Check, Progress

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

TURNING = 10
"""Single knock-outs that turn the answer and are tried on control prompts, the strongest first."""

RANDOM_SETS = 5
"""Sets of random heads with which one that turns the answer is compared."""

AGREES = 0.5
"""Attribution and knock-out that correlate less disagree."""


class Knocking:
    """One request on its way."""

    def __init__(self, model: LoadedModel, request: KnockoutRequest, progress: Progress) -> None:
        self._model, self._request, self._progress = model, request, progress
        self._layers, self._heads = model.info.layers, model.heads
        self._encoded = encoded = model.encode(request.case)
        self._position = token_index(request.position, len(encoded.ids))
        self._chosen_heads = heads_chosen(request.heads, self._heads, self._layers)
        self._chosen_edges = edges_chosen(request.edges, self._position, self._heads, self._layers)
        self._swept = None if self._chosen_heads or self._chosen_edges else request.each
        columns = self._heads.count if self._swept == "heads" else self._position + 1
        self._total = self._layers * columns if self._swept else 1
        progress(0, self._total, stage="forward pass")
        self._runs = self._knock_outs(encoded.ids[: self._position + 1])
        logits = self._runs.unchanged
        check_finite(model, logits)
        self._target, self._foil = self._compared(logits)
        self._controls: list[tuple[ControlOutcome, KnockOuts, tuple[int, ...]]] = []
        self._tried: list[KnockedOut] = []
        self._effects: list[list[float | None]] = [[None] * columns for _ in range(self._layers if self._swept else 0)]
        self._unchanged = logits

    def result(self) -> KnockoutResult:
        """All of it."""
        if self._swept:
            self._sweep()
        self._begin_controls()
        if not self._swept:
            self._tried.append(self._together("chosen", self._chosen_heads, self._chosen_edges))
        else:
            self._single_that_turn()
            if self._swept == "heads":
                self._best()
        self._tried = [self._controlled(each) for each in self._tried]
        added = self._added() if self._swept == "heads" else None
        return self._found(added, done=True)

    def _knock_outs(self, ids: tuple[int, ...]) -> KnockOuts:
        return KnockOuts(self._model, ids, self._request.ablate, everywhere=self._request.everywhere)

    def _compared(self, logits: Tensor) -> tuple[int, int]:
        encoded = self._encoded
        order = [int(token) for token in logits.topk(3).indices]
        target = encoded.target.id if encoded.target else order[0]
        if encoded.target is None and encoded.foil is not None and encoded.foil.id == target:
            target = order[1]
        foil = encoded.foil.id if encoded.foil else next(token for token in order if token != target)
        if foil == target:
            raise InputError("target and foil begin with the same token, so neither can be ahead; name another foil")
        return target, foil

    def _difference(self, logits: Tensor) -> Tensor:
        """Target − foil of logits ``(rows, vocabulary)``."""
        return logits[:, self._target].double() - logits[:, self._foil].double()

    # One at a time

    def _sweep(self) -> None:
        plain = float(self._difference(self._unchanged[None])[0])
        each = self._runs.each_head if self._swept == "heads" else self._runs.each_edge
        done = 0
        for batch in each(self._difference):
            for (layer, column), value in batch.items():
                self._effects[layer][column] = rounded(value - plain)
            done += len(batch)
            self._progress(done, self._total, self._found(), stage=f"{self._swept} one at a time")

    def _ranked(self) -> list[tuple[float, tuple[int, int]]]:
        """What moves the answer towards the other one, the strongest first: how much, and layer and column."""
        away = -1 if self._difference(self._unchanged[None])[0] > 0 else 1
        cells = [
            (away * effect, (layer, column))
            for layer, row in enumerate(self._effects)
            for column, effect in enumerate(row)
            if effect is not None
        ]
        return sorted(cells, key=lambda cell: -cell[0])

    def _single_that_turn(self) -> None:
        lead = abs(float(self._difference(self._unchanged[None])[0]))
        for moved, (layer, column) in self._ranked()[:TURNING]:
            if moved > lead:
                heads = [(layer, column)] if self._swept == "heads" else []
                edges = [] if heads else [Edge(layer, None, self._position, column)]
                self._tried.append(self._together("single", heads, edges))

    # Together

    def _best(self) -> None:
        """The best together, more and more of them until they turn the answer; then as many random ones."""
        best = [place for moved, place in self._ranked()[: self._request.best] if moved > 0]
        for size in range(2, len(best) + 1):
            found = self._together("best", best[:size], [])
            self._tried.append(found)
            if self._turns(found):
                self._random(size)
                return

    def _random(self, size: int) -> None:
        random = np.random.RandomState(self._request.seed)
        for _ in range(RANDOM_SETS):
            places = random.choice(self._layers * self._heads.count, size, replace=False)
            heads = [divmod(int(place), self._heads.count) for place in sorted(places)]
            self._tried.append(self._together("random", heads, []))

    def _together(self, what: KnockOutKind, heads: Sequence[Head], edges: Sequence[Edge]) -> KnockedOut:
        self._progress(self._total, self._total, self._found(), stage="together")
        logits = self._runs.without(heads, edges)
        target, foil, top = self._probabilities(logits)
        return KnockedOut(
            what=what,
            heads=tuple(named(*head) for head in heads),
            edges=tuple(map(edge_named, edges)),
            difference=rounded(float(self._difference(logits[None])[0])),
            p_target=target,
            p_foil=foil,
            top=top,
        )

    def _probabilities(self, logits: Tensor) -> tuple[float, float, str]:
        p = logits.double().softmax(dim=-1)
        top = token_text(self._model.tokenizer, int(logits.argmax()))
        return rounded(float(p[self._target])), rounded(float(p[self._foil])), top

    def _turns(self, each: KnockedOut) -> bool:
        return (each.difference > 0) != bool(self._difference(self._unchanged[None])[0] > 0)

    # Control prompts

    def _begin_controls(self) -> None:
        """The control prompts as they are, where the answer is read after the last token, as it is there."""
        if self._position != len(self._encoded.ids) - 1:
            return
        made = controls_of(self._request.case) if self._request.made else ()
        for control in (*self._request.controls, *made):
            self._progress(self._total, self._total, self._found(), stage="control prompts")
            encoded = self._model.encode(self._request.case.asking(control.prompt).model_copy(update={"subject": None}))
            runs = self._knock_outs(encoded.ids)
            difference = rounded(float(self._difference(runs.unchanged[None])[0]))
            self._controls.append((ControlOutcome(control=control, difference=difference), runs, encoded.ids))

    def _controlled(self, each: KnockedOut) -> KnockedOut:
        """With its outcome in every control prompt, where it turns the answer."""
        if not self._turns(each) or not self._controls:
            return each
        self._progress(self._total, self._total, self._found(), stage="control prompts")
        heads = heads_chosen(each.heads, self._heads, self._layers)
        edges = edges_chosen(each.edges, self._position, self._heads, self._layers)
        found: list[float | None] = []
        for _, runs, ids in self._controls:
            there = self._edges_there(edges, ids)
            logits = None if there is None else runs.without(heads, there)
            found.append(None if logits is None else rounded(float(self._difference(logits[None])[0])))
        return each.model_copy(update={"controls": tuple(found)})

    def _edges_there(self, edges: Sequence[Edge], ids: tuple[int, ...]) -> list[Edge] | None:
        """The same edges between the same tokens of another prompt; None where these are not there, or not once."""
        found = []
        for edge in edges:
            looking, at = self._token_there(edge.looking, ids), self._token_there(edge.at, ids)
            if looking is None or at is None or at > looking:
                return None
            found.append(Edge(edge.layer, edge.head, looking, at))
        return found

    def _token_there(self, token: int, ids: tuple[int, ...]) -> int | None:
        if token == self._position:
            return len(ids) - 1
        own = self._encoded.ids[token]
        if self._encoded.ids[: self._position + 1].count(own) == ids.count(own) == 1:
            return ids.index(own)
        return None

    # What was found

    def _added(self) -> Tensor | None:
        """What each head adds directly; None for a model whose states are no sum."""
        self._progress(self._total, self._total, self._found(), stage="direct attribution")
        case = self._request.case
        try:
            apart = taken_apart(self._model, case, self._position, by_head=True, compared=(self._target, self._foil))
            return per_head(self._model, apart)[0]
        except ModelError:
            return None

    def _found(self, added: Tensor | None = None, *, done: bool = False) -> KnockoutResult:
        p_target, p_foil, top = self._probabilities(self._unchanged)
        agreement = self._agreement(added)
        result = KnockoutResult(
            encoded=self._encoded,
            layers=self._layers,
            n_heads=self._heads.count,
            position=self._position,
            target=token_text(self._model.tokenizer, self._target),
            foil=token_text(self._model.tokenizer, self._foil),
            difference=rounded(float(self._difference(self._unchanged[None])[0])),
            p_target=p_target,
            p_foil=p_foil,
            top=top,
            swept=self._swept,
            ablate=self._request.ablate,
            effects=tuple(map(tuple, self._effects)),
            added=() if added is None else significant(added),
            agreement=agreement,
            controls=tuple(outcome for outcome, _, _ in self._controls),
            tried=tuple(self._tried),
        )
        return result.model_copy(update={"checks": self._checks(result)}) if done else result

    def _agreement(self, added: Tensor | None) -> float | None:
        """Correlation of the effects with minus what heads add: what would be lost with them, and nothing else."""
        if added is None:
            return None
        effects = torch.tensor(self._effects, dtype=torch.float64).flatten()
        pair = torch.stack([effects, -added.double().cpu().flatten()])
        found = float(torch.corrcoef(pair)[0, 1])
        return None if found != found else rounded(max(-1.0, min(1.0, found)))

    def _checks(self, result: KnockoutResult) -> tuple[Check, ...]:
        parity = Check(name="resumed", text=f"parity {self._runs.attending.parity:.0e}", level="ok")
        return (parity, *self._agreement_check(result), *_control_check(result))

    def _agreement_check(self, result: KnockoutResult) -> tuple[Check, ...]:
        if self._swept != "heads":
            return ()
        if result.agreement is None:
            return (Check(name="attribution", text="nothing to compare with: this model's states are no sum"),)
        first = [
            named(*max(((layer, head) for layer in range(self._layers) for head in range(self._heads.count)), key=key))
            for key in (lambda at: abs(result.added[at[0]][at[1]]), lambda at: abs(result.effects[at[0]][at[1]] or 0.0))
        ]
        agree = result.agreement >= AGREES and first[0] == first[1]
        says = "agrees" if agree else "disagrees"
        text = f"{says} with knock-out: r {result.agreement:.2f}, first {first[0]} and {first[1]}"
        return (Check(name="attribution", text=text, level="ok" if agree else "warn"),)


def _control_check(result: KnockoutResult) -> tuple[Check, ...]:
    turning = [each for each in result.tried if result.turns(each) and each.what != "random"]
    if not turning:
        return ()
    counting = sum(outcome.counts for outcome in result.controls)
    if not counting:
        why = "none of them is answered well as it is" if result.controls else "none was given or could be made"
        return (Check(name="controls", text=f"{why}, so nothing is called a cause", level="warn"),)
    broken = sum(bool(result.breaks(each)) for each in turning)
    text = f"{broken} of {len(turning)} that turn the answer break one of {counting} control prompts"
    return (Check(name="controls", text=text, level="warn" if broken else "ok"),)
