"""Let the model speak and look on: each token with what its run showed, as it comes.

Entropy and margin come with the logits. Depth reads the states of several tokens together, as the unembedding is the
largest matrix there is, so it follows a few tokens later.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import InputError
from workbench.lazy import torch
from workbench.memory import in_batches
from workbench.methods.watch.result import (
    Ending,
    LookedAt,
    MonitorInfo,
    WatchedText,
    WatchedToken,
    WatchRequest,
    WatchResult,
)
from workbench.models.forward.decoding import bytes_of_a_text, decode, one_by_one
from workbench.models.forward.observing import Observed, depths
from workbench.models.forward.sampling import sampled
from workbench.models.forward.stopping import stop_ids
from workbench.models.tokens import EncodedCase, continuation_ids, token_text
from workbench.numbers import rounded
from workbench.protocol import Check, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from workbench.editing.monitors import MonitoredDirection
    from workbench.editing.queue import Edit
    from workbench.loading import LoadedModel

LOOKED = 3
"""Tokens that are named as looked at."""

TOGETHER = 8
"""Tokens whose depth is read together."""

RIVALS = 64
"""Likely tokens with which one is compared at every layer: one of them is nearly always ahead where the lens says
something else, so that no more is unembedded than the layers that have the token, 5 a token instead of 8."""

PARITY = {"float32": 1e-3}
PARITY_OF_HALF = 0.5
"""Largest difference between the last state read by the lens and the model's own logits, as for the lens."""


def run(model: LoadedModel, request: WatchRequest, progress: Progress) -> WatchResult:
    """Generate, each token a step of progress with everything so far as the partial result.

    Raises `InputError` for a case that cannot be encoded or has no room after it, a monitor that is none and a fork
    where there is no token, `NumericalError`, `OutOfMemory`.
    """
    encoded = model.encode(request.case)
    room = model.info.context - len(encoded.ids)
    if room < 1:
        raise InputError(f"the prompt fills the whole context of {model.info.context} tokens; shorten it to continue")
    limit = min(request.tokens, room)
    fork = forked(request.fork, limit, room)
    monitors = [each for named in request.monitors for each in model.directions(named)]
    infos = tuple(_info(each) for each in monitors)
    others, beside_is = _compared(model, request.compare)
    total = limit + (limit - fork[0] if fork else 0) + limit * bool(beside_is)
    spoken, branch, beside = WatchedText(), None, None
    speaker = _Speaker(model, request, monitors)

    def found() -> WatchResult:
        return WatchResult(
            encoded=encoded,
            layers=model.info.layers,
            monitors=infos,
            spoken=spoken,
            fork=branch,
            beside=beside,
            beside_is=beside_is,
            checks=_checks(model, request, speaker, spoken, fork),
        )

    def heard(text: WatchedText) -> None:
        nonlocal spoken
        spoken = text
        progress(len(text.tokens), total, found(), stage="speaking")

    spoken = speaker.speak(encoded.ids, limit, heard)
    if fork and fork[0] < len(spoken.tokens):
        at = fork[0]
        said = tuple(token.id for token in spoken.tokens[:at])
        taken = _taken(model, encoded, request, said, fork[1]) if fork[1] else spoken.tokens[at].instead_id

        def heard_too(text: WatchedText) -> None:
            nonlocal branch
            branch = text
            progress(limit + len(text.tokens), total, found(), stage="speaking after the fork")

        branch = speaker.speak((*encoded.ids, *said), limit - at, heard_too, first=at, forced=taken)
    if beside_is:

        def heard_beside(text: WatchedText) -> None:
            nonlocal beside
            beside = text
            progress(total - limit + len(text.tokens), total, found(), stage=f"speaking {beside_is}")

        other = _Speaker(model, request.model_copy(update={"sources": False}), monitors)
        with model.edits.only(others):
            before = model.encode(request.case)  # an edit in context puts something else there
            beside = other.speak(before.ids, min(limit, model.info.context - len(before.ids)), heard_beside)
    return found()


def _compared(model: LoadedModel, compare: str) -> tuple[tuple[Edit, ...], str]:
    """The edits that the text beside is said with, and what that is in words; "" for no such text.

    Raises `InputError` where there is nothing to compare, or a patch does not fit the model.
    """
    compare = compare.strip()
    if not compare:
        return (), ""
    on = model.edits.applied
    if compare == "off":
        if not on:
            raise InputError("no edit is on, so there is nothing to compare; switch one on, or name a patch file")
        return (), "without edits"
    patch = Path(compare).expanduser()
    if not patch.exists():
        raise InputError(f"there is no patch {compare!r} to compare with; name a patch file, or write off")
    return (*on, *model.edits_in(patch)), f"with {patch.name}"


def forked(text: str, limit: int, room: int) -> tuple[int, str] | None:
    """Which token a fork takes the place of, and by what; None for no fork. Raises `InputError`."""
    if not text.strip():
        return None
    place, _, token = text.partition(":")
    try:
        at = int(place)
    except ValueError:
        raise InputError(f"{text!r} does not name a fork; write 3 for the runner-up, or 3:TOKEN") from None
    if not 0 <= at < limit:
        beyond = "the context ends" if limit == room else "more are not asked for"
        raise InputError(
            f"there is no generated token {at} to fork at: there are {limit}, counted from 0, and then {beyond}; fork "
            "earlier"
        )
    return at, token


def _taken(model: LoadedModel, encoded: EncodedCase, request: WatchRequest, said: tuple[int, ...], token: str) -> int:
    """The first token of what is taken at the fork, as it is written after the text so far."""
    start = encoded.ids[encoded.prepended :] if not request.case.chat else ()
    text = model.tokenizer.decode([*start, *said], clean_up_tokenization_spaces=False)
    update = {"prompt": text or request.case.prompt, "target": token, "prepend": "as-is", "chat": False}
    return continuation_ids(model.tokenizer, request.case.model_copy(update=update))[0]


class _Speaker:
    """Generates watched texts. ``parity`` is how far the lens' last row is off the model, ``blind`` why it saw nothing
    of attention."""

    def __init__(self, model: LoadedModel, request: WatchRequest, monitors: Sequence[MonitoredDirection]) -> None:
        import numpy as np

        self.parity: float | None = None
        self.blind = ""
        self._model, self._request, self._monitors = model, request, monitors
        self._chances = np.random.RandomState(request.seed).rand(request.tokens)
        self._stops = stop_ids(model)

    def speak(
        self,
        ids: tuple[int, ...],
        limit: int,
        heard: Callable[[WatchedText], None],
        first: int = 0,
        forced: int | None = None,
    ) -> WatchedText:
        """Up to ``limit`` tokens after ``ids``, of which ``forced`` is the first, if it is given.

        Every token has its own random number by its place from ``first`` on, so that a fork draws the same ones.
        """
        model, request = self._model, self._request
        tokens: list[WatchedToken] = []
        pending: list[tuple[int, Tensor, Tensor]] = []
        ending: Ending = ""

        def text() -> WatchedText:
            said = model.tokenizer.decode(
                [token.id for token in tokens], skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            return WatchedText(first=first, tokens=tuple(tokens), text=said, ending=ending)

        def work(_: list[int]) -> None:
            nonlocal ending
            tokens.clear()
            pending.clear()
            observed = Observed(model, request.sources)
            with observed.watching():
                batch = observed.begun(ids)

                def choose(_row: int, at: int, logits: Tensor) -> int:
                    nonlocal ending
                    free = forced is None or at > 0
                    chance = float(self._chances[first + at])
                    taken = sampled(logits, request.temperature, request.top_p, chance) if free else int(forced or 0)
                    states = observed.states
                    tokens.append(self._seen(taken, logits, states, observed.sources(batch.cache)))
                    if self.parity is None:
                        self._compare(states[-1], logits)
                    if request.depth and tokens[-1].rank == 1:
                        pending.append((at, states, logits.topk(min(RIVALS, len(logits))).indices))
                    ending = self._ending(tokens[-1], at + 1 == limit, free)
                    if len(pending) == TOGETHER or ending:
                        self._deepen(tokens, pending)
                    heard(text())
                    return -1 if ending else taken

                with observed.kernel():
                    decode(batch, [limit], one_by_one(choose))
            self.blind = observed.blind

        for _ in in_batches([0], 1, work, bytes_of_a_text(model, len(ids) + limit)):
            pass
        return text()

    def _seen(self, taken: int, logits: Tensor, states: Tensor, sources: Tensor | None) -> WatchedToken:
        log_p = logits.log_softmax(dim=-1)
        p = log_p.exp()
        top = logits.topk(2)
        best, second = top.indices.tolist()
        instead = second if taken == best else best
        entropy = -float((p * log_p).nan_to_num(0.0).sum()) / math.log(2)
        named = self._model.tokenizer
        return WatchedToken(
            id=taken,
            text=token_text(named, taken),
            probability=min(1.0, rounded(float(p[taken]))),
            entropy=rounded(max(0.0, entropy)),
            margin=rounded(float(top.values[0] - top.values[1])),
            rank=1 if taken == best else max(2, int((logits > logits[taken]).sum()) + 1),
            instead=token_text(named, instead),
            instead_id=instead,
            instead_probability=min(1.0, rounded(float(p[instead]))),
            looked=_looked(sources),
            monitors=tuple(self._read(each, states) for each in self._monitors),
        )

    @staticmethod
    def _read(monitor: MonitoredDirection, states: Tensor) -> float:
        state = states[monitor.layer].float().cpu()
        return rounded(float((state - monitor.center) @ monitor.unit))

    def _ending(self, token: WatchedToken, full: bool, free: bool) -> Ending:
        """Why the text ends with a token; what was forced ends it for nothing that it was known for."""
        request = self._request
        if token.id in self._stops:
            return "end"
        if free and request.stop_below_margin is not None and token.margin < request.stop_below_margin:
            return "margin"
        if free and request.stop_above is not None and any(value > request.stop_above for value in token.monitors):
            return "monitor"
        return "length" if full else ""

    def _deepen(self, tokens: list[WatchedToken], pending: list[tuple[int, Tensor, Tensor]]) -> None:
        """Read the depth of the tokens that wait for it."""
        if pending:
            places, states, rivals = zip(*pending, strict=True)
            ids = [tokens[at].id for at in places]
            found = depths(self._model, torch.stack(states), ids, torch.stack(rivals))
            for at, depth in zip(places, found, strict=True):
                tokens[at] = tokens[at].model_copy(update={"depth": depth})
            pending.clear()

    def _compare(self, state: Tensor, logits: Tensor) -> None:
        with torch.no_grad():
            self.parity = float((self._model.unembed(state).float().cpu() - logits).abs().max())


def _looked(sources: Tensor | None) -> tuple[LookedAt, ...]:
    if sources is None:
        return ()
    top = sources.topk(min(LOOKED, len(sources)))
    pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    return tuple(LookedAt(token=token, share=min(1.0, rounded(share))) for token, share in pairs)


def _info(monitor: MonitoredDirection) -> MonitorInfo:
    content = monitor.unit.numpy().tobytes() + monitor.center.numpy().tobytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    return MonitorInfo(id=monitor.id, title=monitor.title, layer=monitor.layer, digest=digest)


def _checks(
    model: LoadedModel, request: WatchRequest, speaker: _Speaker, spoken: WatchedText, fork: tuple[int, str] | None
) -> tuple[Check, ...]:
    found = []
    if speaker.parity is not None:
        allowed = PARITY.get(model.info.dtype, PARITY_OF_HALF)
        level = "ok" if speaker.parity <= allowed else "warn"
        found.append(Check(name="lens parity", text=f"{speaker.parity:.0e}", level=level))
    if request.sources and speaker.blind:
        found.append(Check(name="where it looked", text=speaker.blind))
    if request.temperature:
        among = "" if request.top_p == 1 else f", top-p {request.top_p:g}"
        text = f"temperature {request.temperature:g}{among}, seed {request.seed}"
        found.append(Check(name="sampled", text=text))
    if fork and spoken.ending and fork[0] >= len(spoken.tokens):
        text = f"none at token {fork[0]}, as the text ended after {len(spoken.tokens)}"
        found.append(Check(name="fork", text=text, level="warn"))
    return tuple(found)
