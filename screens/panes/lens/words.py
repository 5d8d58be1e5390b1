"""What a lens says in words: who leads, where that changes, and what the picture is of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from screens.messages import Cursor
from screens.widgets import numbers
from workbench.methods.lens.logit_lens import LensColumn, LensResult
from workbench.methods.lens.translators import TITLES, LensName
from workbench.models.tokens import EncodedCase


class Overtake(NamedTuple):
    """At ``layer`` one of target and foil passes the other, coming from below."""

    layer: int
    target_leads: bool


def overtakes(column: LensColumn) -> tuple[Overtake, ...]:
    """Where the logit difference changes its sign, from the embedding upwards. A tie leaves the lead as it was."""
    found: list[Overtake] = []
    leads: bool | None = None
    for row, difference in enumerate(column.logit_difference or ()):
        if difference == 0 or math.isnan(difference):
            continue
        if leads is not None and leads != (difference > 0):
            found.append(Overtake(row - 1, difference > 0))
        leads = difference > 0
    return tuple(found)


def contenders(encoded: EncodedCase) -> tuple[str, str] | None:
    """Target and foil as words in a sentence, when there are both."""
    if encoded.target is None or encoded.foil is None:
        return None
    return encoded.target.text.strip() or encoded.target.text, encoded.foil.text.strip() or encoded.foil.text


def overtake_sentence(encoded: EncodedCase, overtake: Overtake) -> str:
    """ "Sydney overtakes Canberra"."""
    pair = contenders(encoded)
    assert pair is not None, "overtakes need a target and a foil"
    target, foil = pair
    return f"{target} overtakes {foil}" if overtake.target_leads else f"{foil} overtakes {target}"


def lead_summary(encoded: EncodedCase, column: LensColumn) -> str:
    """Who leads at the end, and since which layer: the question a lens is opened for."""
    pair = contenders(encoded)
    if pair is None or not column.logit_difference:
        return ""
    changes = overtakes(column)
    final = next((d for d in reversed(column.logit_difference) if d), 0.0)
    if not changes:
        return f"{pair[final < 0]} leads at every layer" if final else "neither leads"
    *earlier, last = changes
    text = f"{overtake_sentence(encoded, last)} at layer {layer_label(last.layer)}"
    return text + (f" · lead changed {len(earlier)}× below" if earlier else "")


def lenses_summary(encoded: EncodedCase, columns: Mapping[LensName, LensColumn], shown: LensName) -> str:
    """Which lenses there are at a token, the one that is shown marked, and whether they agree about the overtake."""
    if set(columns) <= {shown}:
        return ""
    last = {lens: (overtakes(column) or (None,))[-1] for lens, column in columns.items()}
    pair = contenders(encoded)

    def one(lens: LensName, change: Overtake | None) -> str:
        name = ("▸" if lens == shown else "") + lens
        if pair is None:
            return name
        return f"{name} {f'layer {layer_label(change.layer)}' if change else 'no overtake'}"

    said = " · ".join(one(lens, change) for lens, change in last.items())
    if pair is None:
        return f"lenses: {said}"
    agree = "they agree" if len(set(last.values())) == 1 else "they disagree about the layer of the overtake"
    return f"{said}: {agree}"


def at_cell(result: LensResult, cursor: Cursor) -> str:
    """Target and foil with probability and rank, the likelier first; without either the most likely token."""
    if not 0 <= cursor.token < len(result.columns) or (column := result.columns[cursor.token]) is None:
        return ""
    row = cursor.layer + 1
    tracked = [
        (track.rank[row], choice.text.strip() or choice.text, track.probability[row])
        for choice, track in ((result.encoded.target, column.target), (result.encoded.foil, column.foil))
        if choice is not None and track is not None
    ] or [(1, column.top_tokens[row][0].strip() or column.top_tokens[row][0], column.top_probabilities[row][0])]
    return ", ".join(f"{text} {numbers.probability(p)} #{rank}" for rank, text, p in sorted(tracked))


def layer_label(layer: int) -> str:
    """A layer's number; "emb" for the embedding."""
    return "emb" if layer < 0 else str(layer)


def title(result: LensResult, cursor: Cursor | None) -> str:
    """What the picture is of: ``Logit lens · at " is" · Canberra against Sydney``."""
    parts = [TITLES[result.lens]]
    if cursor is not None and 0 <= cursor.token < len(result.encoded.texts):
        parts.append(f'at "{result.encoded.texts[cursor.token]}"')
    if pair := contenders(result.encoded):
        parts.append(f"{pair[0]} against {pair[1]}")
    elif choice := result.encoded.target or result.encoded.foil:
        parts.append(choice.text.strip())
    return " · ".join(parts)
