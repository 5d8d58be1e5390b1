"""One cell of the lens in full: its place in the text, target and foil, measures, the most likely tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.content import Content

from screens.dialog import FramedText
from screens.messages import Cursor
from screens.panes.lens.words import contenders, layer_label, overtake_sentence, overtakes
from screens.widgets import numbers
from screens.widgets.grid_model import fit
from workbench.blocks import horizontal_bar
from workbench.methods.lens.logit_lens import LensColumn, TokenTrack
from workbench.methods.lens.patchscope import PatchscopeResult
from workbench.models.tokens import EncodedCase, TokenChoice

DIM = "$foreground 55%"
TARGET, FOIL = "bold $text-primary", "bold $text-warning"


@dataclass(frozen=True)
class CellDetail:
    """What the screen shows. ``column`` is the lens at the cursor's token, None while it is not there yet.

    ``patchscope`` is a second opinion on the cell, where it has been asked for.
    """

    encoded: EncodedCase
    column: LensColumn | None
    cursor: Cursor
    note: str = ""
    patchscope: PatchscopeResult | None = None


class LensDetail(FramedText):
    """Shows a `CellDetail` and asks its owner, by ``step(layers, tokens)``, for the neighboring ones.

    A modal's messages do not reach the screen beneath, hence a function in place of a message.
    """

    HINT = "j k layers · h l tokens · escape closes"
    SHARE, WIDEST = 90, 100

    # Arrows come before the frame's own, which scroll; pageup and pagedown are left to it.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "close", "Close", tooltip="Back to the lens", id="lens_detail.close"),
        Binding("k,up", "step(1, 0)", "Up", priority=True, tooltip="The next layer", id="lens_detail.up"),
        Binding("j,down", "step(-1, 0)", "Down", priority=True, tooltip="The layer before", id="lens_detail.down"),
        Binding("h,left", "step(0, -1)", "Left", priority=True, tooltip="The token before", id="lens_detail.left"),
        Binding("l,right", "step(0, 1)", "Right", priority=True, tooltip="The next token", id="lens_detail.right"),
    ]

    def __init__(self, detail: CellDetail, step: Callable[[int, int], None]) -> None:
        super().__init__()
        self._detail = detail
        self._step = step

    def show(self, detail: CellDetail) -> None:
        """Show another cell, or more about this one."""
        self._detail = detail
        self.write()

    def text(self, width: int) -> tuple[str, Content]:
        """All about the cell."""
        cursor, texts = self._detail.cursor, self._detail.encoded.texts
        title = f'layer {layer_label(cursor.layer)} · token {cursor.token} "{texts[cursor.token]}"'
        return title, Content("\n").join(lines(self._detail, width))

    def action_step(self, layers: int, tokens: int) -> None:
        """Ask for a neighboring cell."""
        self._step(layers, tokens)


def lines(detail: CellDetail, width: int) -> list[Content]:
    """The whole text, ``width`` cells wide."""
    found = [context(detail.encoded, detail.cursor.token, width), Content("")]
    column, row = detail.column, detail.cursor.layer + 1
    if column is None:
        return [*found, Content.styled("This token has not been read yet.", DIM)]
    found += _measures(detail.encoded, column, row)
    found += [Content(""), *_most_likely(detail.encoded, column, row, width)]
    if detail.patchscope is not None:
        found += [Content(""), _second_opinion(detail.patchscope)]
    if detail.note:
        found += [Content(""), Content.styled(detail.note, DIM)]
    return found


def context(encoded: EncodedCase, token: int, width: int) -> Content:
    """The text around a token, which stands out without colour too."""
    texts = encoded.texts
    start, stop = token, token + 1
    room = width - cell_len(texts[token]) - 4
    while room > 0 and (start > 0 or stop < len(texts)):
        if start > 0:
            start -= 1
            room -= cell_len(texts[start])
        if stop < len(texts) and room > 0:
            room -= cell_len(texts[stop])
            stop += 1
    before, after = "".join(texts[start:token]), "".join(texts[token + 1 : stop])
    return Content.assemble(
        ("…" if start else "", DIM),
        (before, DIM),
        (texts[token], "bold reverse"),
        (after, DIM),
        ("…" if stop < len(texts) else "", DIM),
    )


def _measures(encoded: EncodedCase, column: LensColumn, row: int) -> list[Content]:
    found = []
    for name, choice, track, style in (
        ("target", encoded.target, column.target, TARGET),
        ("foil", encoded.foil, column.foil, FOIL),
    ):
        if choice is not None and track is not None:
            found.append(_tracked(name, choice, track, row, style))
    if column.logit_difference is not None:
        line = f"{numbers.signed(column.logit_difference[row])} logits"
        here = [change for change in overtakes(column) if change.layer == row - 1]
        said = f"   ⇄ {overtake_sentence(encoded, here[0])} here" if here and contenders(encoded) else ""
        found.append(Content.assemble((fit("T−F", 9), DIM), line, (said, "bold")))
    found.append(
        Content.assemble(
            (fit("entropy", 9), DIM),
            f"{column.entropy[row]:.2f} bits",
            ("   KL(final ‖ here) ", DIM),
            f"{column.kl[row]:.2f} nats",
        )
    )
    return found


def _second_opinion(scope: PatchscopeResult) -> Content:
    """What the model says of the state in a prompt that repeats what it is given."""
    said = ", ".join(
        f"{token.strip() or token} {numbers.probability(p)}"
        for token, p in zip(scope.top_tokens, scope.top_probabilities, strict=True)
    )
    warned = "".join(f"   ! {check.text}" for check in scope.checks if check.level == "warn")
    return Content.assemble(
        ("patchscope ", DIM), said, ("   KL(final ‖ here) ", DIM), f"{scope.kl:.2f} nats", (warned, "bold")
    )


def _tracked(name: str, choice: TokenChoice, track: TokenTrack, row: int, style: str) -> Content:
    return Content.assemble(
        (fit(name, 9), DIM),
        (fit(choice.text, 16), style),
        ("   p ", DIM),
        fit(numbers.probability(track.probability[row]), 6),
        ("rank ", DIM),
        str(track.rank[row]),
    )


def _most_likely(encoded: EncodedCase, column: LensColumn, row: int, width: int) -> list[Content]:
    tokens, probabilities = column.top_tokens[row], column.top_probabilities[row]
    token_width = min(24, max(12, *map(cell_len, tokens)) + 1)
    room = max(4, width - token_width - 11)
    styles = {}
    if encoded.target is not None:
        styles[encoded.target.text] = TARGET
    if encoded.foil is not None:
        styles[encoded.foil.text] = FOIL
    return [
        Content.assemble(
            (f"{n:>3} ", DIM),
            (fit(token, token_width), styles.get(token, "")),
            f"{numbers.probability(p):>4} ",
            (horizontal_bar(p, room), styles.get(token, "$primary")),
        )
        for n, (token, p) in enumerate(zip(tokens, probabilities, strict=True), start=1)
    ]
