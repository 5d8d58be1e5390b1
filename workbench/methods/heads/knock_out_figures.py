"""What there is to draw of a knock-out: what it came to, the map of effects, what was tried, and the controls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.figures import Cell, Column, Figure, Heatmap, Line, Meaning, Scale, Table, line, said
from workbench.methods.heads.figures import difference_in_words, over_heads
from workbench.methods.heads.knock_out import CauseVerdict, KnockedOut, names_in_words
from workbench.methods.heads.names import named, token_named
from workbench.protocol import Request

if TYPE_CHECKING:
    from workbench.methods.heads.knock_out import KnockoutRequest, KnockoutResult

_NUMBER = Scale(ramp="signed", low=-1, high=1, decimals=2)

SINGLE = 3
"""Single knock-outs that turn the answer and have a sentence of their own; the table has more."""

_MEANINGS: dict[CauseVerdict, Meaning] = {
    "stays": "muted",
    "cause": "good",
    "breaks controls": "warning",
    "untested": "warning",
}


def figures(result: KnockoutResult) -> tuple[Figure, ...]:
    """Sentences, the map of single knock-outs, the table of those tried, and the control prompts."""
    return (*said(*_sentences(result)), *_map(result), *_tried(result), *_controls(result))


def opened(request: KnockoutRequest, result: KnockoutResult, figure: Figure, place: tuple[int, int]) -> Request | None:
    """The attention pattern of the head in a cell of the map; of an edge, the same edge knocked out by itself."""
    from workbench.methods.heads.attention import AttentionRequest

    if not isinstance(figure, Heatmap):
        return None
    layer, column = figure.rows.index_of(place[0]), place[1]
    if result.swept == "heads":
        return AttentionRequest(case=request.case, position=result.position, head=named(layer, column))
    edge = f"L{layer}:{result.position}>{column}"
    return request.model_copy(update={"edges": (edge,), "heads": (), "position": result.position})


def _sentences(result: KnockoutResult) -> list[Line]:
    of = difference_in_words(result.target, result.foil)
    after = token_named(result.encoded.texts, result.position)
    found = [
        line(
            f"{of} after “{after}” is {_NUMBER.text(result.difference)} with nothing knocked out "
            f"(p {result.p_target:.3f} and {result.p_foil:.3f})",
            "plain",
        )
    ]
    cells = [effect for row in result.effects for effect in row if effect is not None]
    if cells:
        what = "head" if result.swept == "heads" else "layer's attention to a token"
        turning = sum((result.difference + effect > 0) != (result.difference > 0) for effect in cells)
        by = f"{turning} of {len(cells)} turn" if turning else f"no single one of {len(cells)} turns"
        found.append(line(f"each {what} knocked out by itself: {by} the answer", "plain"))
    singly = [each for each in result.tried if each.what == "single"][:SINGLE]
    together_turning = [each for each in result.tried if each.what in ("best", "chosen") and result.turns(each)]
    found += [_verdict(result, each) for each in (*singly, *together_turning)]
    together = [each for each in result.tried if each.what in ("best", "chosen")]
    if together and not any(map(result.turns, together)):
        most = together[-1]
        found.append(line(f"{names_in_words(most)} together do not turn it either", "plain"))
    random = [each for each in result.tried if each.what == "random"]
    if random:
        turned = sum(map(result.turns, random))
        found.append(line(f"of {len(random)} sets of as many random heads {turned or 'none'} turn it", "note"))
    return found


def _verdict(result: KnockoutResult, each: KnockedOut) -> Line:
    name, verdict = names_in_words(each), result.verdict(each)
    turned = f"without {name} “{_ahead(result, each)}” is ahead"
    if each.top.strip() != _ahead(result, each):
        turned += f" (though the first choice is “{each.top.strip()}”)"
    if verdict == "breaks controls":
        broken = f"{len(result.breaks(each))} of {result.tested(each)} control prompts"
        text = f"{turned}, but {broken} lose their right answers: it is not called a cause"
    elif verdict == "untested":
        text = f"{turned}; it was tested on no control prompt, so it is not called a cause"
    else:
        kept = f"{result.tested(each)} control prompts keep their answers"
        text = f"{turned}, and {kept}: a cause, as far as they tell"
    return line(text, _MEANINGS[verdict])


def _ahead(result: KnockoutResult, each: KnockedOut) -> str:
    return (result.target if each.difference > 0 else result.foil).strip()


def _map(result: KnockoutResult) -> tuple[Figure, ...]:
    if not result.effects:
        return ()
    heads = result.swept == "heads"
    columns = tuple(map(str, range(result.n_heads))) if heads else result.encoded.texts[: result.position + 1]
    what = "a head" if heads else "a layer's attention from the last token"
    title = f"Change of the difference without {what} ({result.ablate} in its place)"
    return (over_heads(title, result.effects, columns, name="head" if heads else "token looked at"),)


def _tried(result: KnockoutResult) -> tuple[Figure, ...]:
    if not result.tried:
        return ()
    rows = []
    for each in result.tried:
        verdict = result.verdict(each)
        towards = Cell(text=_NUMBER.text(each.difference), meaning="target" if each.difference > 0 else "foil")
        probabilities = (f"{each.p_target:.3f}", f"{each.p_foil:.3f}")
        tested = f"{result.tested(each) - len(result.breaks(each))}/{result.tested(each)}" if each.controls else ""
        judged = Cell(text=verdict, meaning=_MEANINGS[verdict])
        rows.append((f"{names_in_words(each, 9)}", towards, *probabilities, each.top, tested, judged))
    columns = (
        "without",
        Column(heading="difference", right=True),
        Column(heading=f"p {result.target.strip()}", right=True, spare=1),
        Column(heading=f"p {result.foil.strip()}", right=True, spare=1),
        "says",
        Column(heading="controls kept", right=True),
        "verdict",
    )
    return (Table(title="Knocked out", columns=columns, rows=tuple(rows)),)


def _controls(result: KnockoutResult) -> tuple[Figure, ...]:
    if not result.controls:
        return ()
    rows = []
    for outcome in result.controls:
        wanted = {"target": result.target.strip(), "foil": result.foil.strip(), None: "as it is"}[outcome.control.right]
        counts = Cell(text="yes") if outcome.counts else Cell(text="no: answered wrongly", meaning="muted")
        how = Cell(text=outcome.control.how)
        rows.append((how, _NUMBER.text(outcome.difference), wanted, counts, outcome.control.prompt))
    columns = (
        "control",
        Column(heading="difference", right=True),
        "right",
        "counts",
        Column(heading="prompt", wraps=True),
    )
    return (Table(title="Control prompts, with nothing knocked out", columns=columns, rows=tuple(rows)),)
