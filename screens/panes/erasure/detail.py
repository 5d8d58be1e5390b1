"""One erasure in full: a layer's numbers, the texts most changed there, what the edit does, and every layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content

from screens.dialog import FramedText
from screens.panes.erasure.ledger import Erasure
from screens.panes.erasure.views import DIM, both, head, row_text
from screens.widgets import numbers
from workbench.editing.editors import editor
from workbench.editing.editors.erasure.effects import CaseEffect, Effects
from workbench.editing.editors.erasure.erased import Erased
from workbench.editing.editors.erasure.erasure import layers_in_words
from workbench.editing.editors.erasure.layer import ErasedLayer
from workbench.models.tokentext import display


class ErasureDetail(FramedText):
    """Shows what `sections` says, to be scrolled."""

    HINT = "j k scroll · escape closes"

    DEFAULT_CSS = """
    ErasureDetail > #frame { height: 95%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "close", "Close", tooltip="Back", id="erasure_detail.close"),
        Binding("j", "scroll(1)", "Down", show=False, tooltip="A line down", id="erasure_detail.down"),
        Binding("k", "scroll(-1)", "Up", show=False, tooltip="A line up", id="erasure_detail.up"),
    ]

    def __init__(self, title: str, content: Content) -> None:
        super().__init__()
        self._title, self._content = title, content

    def show(self, title: str, content: Content) -> None:
        """Show another state of the same erasure."""
        self._title, self._content = title, content
        self.write()

    def text(self, width: int) -> tuple[str, Content]:  # noqa: ARG002 - lines are wrapped where they end
        """What it was given."""
        return self._title, self._content

    def action_scroll(self, by: int) -> None:
        """A line down or up."""
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)


def sections(found: Erasure, row: ErasedLayer, others: Sequence[Erasure]) -> Content:
    """Everything about an erasure, one layer of it first. ``others`` are compared with it."""
    result = found.result
    parts = [_section(f"Probes at layer {row.layer}", _layer(result, row))]
    parts.append(_section(f"Most changed at layer {row.layer}", _most_changed(row)))
    if result.effects is not None:
        parts.append(_section("What it does to the model", _effects(result, result.effects)))
        if result.effects.case is not None:
            prompt = display(found.request.case.prompt) if found.request.case else ""
            parts.append(_section(f"The watched prompt: {prompt}", _watched(result.effects.case)))
    else:
        parts.append(Content.styled("What it does to the model is not measured yet.\n", DIM))
    table = (head(result), *(row_text(row) for row in reversed(result.probed)))
    parts.append(_section("Every layer: accuracy on unseen texts / templates; ◆ is changed", map(Content, table)))
    if others:
        parts.append(_section("Compared", (_compared(each) for each in (found, *others))))
    return Content("\n").join(parts)


def _section(heading: str, lines: Iterable[Content]) -> Content:
    return Content("\n").join([Content.styled(heading, "bold"), *lines, Content("")])


def _layer(result: Erased, row: ErasedLayer) -> Iterator[Content]:
    """All that was measured at one layer, in words."""
    yield Content.styled("accuracy on unseen texts / on unseen templates", DIM)
    yield Content(f"linear      {both(row.before)} → {both(row.after)}")
    yield Content(f"non-linear  {both(row.nonlinear_before)} → {both(row.nonlinear_after)}")
    if row.towards is not None:
        before, after = (numbers.probability(share) for share in row.towards)
        yield Content(f"taken for {result.towards}  {before} → {after}")
    else:
        yield Content(f"fresh       {both(row.fresh)}, trained on texts that were not fitted on")
    yield Content(f"guessing    {both(result.majority)}")
    means = f"class means {row.class_means[0]:.2g} → {row.class_means[1]:.1e} apart, of the states' spread"
    coefficient = "" if row.coefficient is None else f" · largest coefficient × {row.coefficient:.1e}"
    yield Content.styled(means + coefficient, DIM)
    if row.changed and result.how != "steer":
        values = ", ".join(f"{value:.3g}" for value in row.singular_values)
        yield Content.styled(f"rank {row.rank}" + (f" · singular values {values}" if values else ""), DIM)


def _most_changed(row: ErasedLayer) -> Iterator[Content]:
    """Texts, and how far their states moved."""
    if not row.most_changed:
        yield Content.styled("none", DIM)
    for text in row.most_changed:
        yield Content.assemble(f"{text.moved:6.1%} ", (f"{text.label}: ", DIM), display(text.text))


def _effects(result: Erased, effects: Effects) -> Iterator[Content]:
    """Words of the concept after open prompts, held-out perplexity, facts."""
    for word in effects.words:
        pairs = zip(result.classes, word.before, word.after, strict=True)
        said = " · ".join(
            f"{label} {numbers.probability(before)} → {numbers.probability(after)}" for label, before, after in pairs
        )
        yield Content.assemble((f"{display(word.prompt)} … ", DIM), said)
    was, now = effects.perplexity_before, effects.perplexity_after
    change = f"{effects.perplexity_change:+.1%}".replace("-", "−")
    yield Content(f"held-out perplexity {was:.2f} → {now:.2f} ({change})")
    yield Content(f"facts kept {effects.kept} of {effects.known}")
    for fact in effects.lost:
        yield Content.assemble(
            ("✗ ", "$text-error"), f"{display(fact.prompt)} {_quoted(fact.before)} → {_quoted(fact.after)}"
        )


def _watched(case: CaseEffect) -> Iterator[Content]:
    """What the model says there before and after, and how likely target and foil are."""
    for when, column in (("before", case.before), ("after ", case.after)):
        top, likely = column.top_tokens[-1][0], column.top_probabilities[-1][0]
        said = [f"first {_quoted(top)} {numbers.probability(likely)}"]
        for choice, track in ((case.encoded.target, column.target), (case.encoded.foil, column.foil)):
            if choice is not None and track is not None:
                said.append(f"{_quoted(choice.text)} {numbers.probability(track.probability[-1])}")
        yield Content.assemble((f"{when} ", DIM), " · ".join(said))


def _quoted(token: str) -> str:
    return f"“{display(token.strip())}”"


def _compared(found: Erasure) -> Content:
    """One erasure in a line: the last changed layer's probes, and the price."""
    result = found.result
    said = [f"{editor(result.how).title} {layers_in_words(result.layers)}, {result.concept}"]
    if (row := result.at(result.layers[-1])) is not None:
        said.append(f"linear {both(row.before)} → {both(row.after)}")
        said.append(f"non-linear {both(row.nonlinear_after)}")
    if (effects := result.effects) is not None:
        said.append(f"held-out perplexity {effects.perplexity_change:+.1%}".replace("-", "−"))
        said.append(f"facts {effects.kept}/{effects.known}")
    return Content(" · ".join(said))
