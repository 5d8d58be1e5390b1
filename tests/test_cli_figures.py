"""The Rich renderer: what each figure says in print, at any width and without colour; and all that reports said."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from tests.screens.asked import DONE, FIRST, HERO, LEACE, STEER
from tests.screens.recorded import cot_result, edit_info, erasure_result, rome_result
from workbench.cli.figures import draw, draw_all
from workbench.datasets.suites import SCORES, SuiteFact
from workbench.editing.bisection import BisectResult
from workbench.editing.edit import EditResult
from workbench.editing.editor import Capacity
from workbench.editing.editors.erasure.erased import Erased
from workbench.editing.editors.rome.details import RomeDetails
from workbench.editing.figures import facts_edit_figures
from workbench.editing.operations import QueueResult
from workbench.editing.records import FactsEditResult, FailingFact, RecordOutcome
from workbench.editing.sequence import SequencePoint
from workbench.editing.suite.answers import FactAnswer
from workbench.editing.suite.figures import MOST_FAILING
from workbench.editing.suite.regression import SuiteResult
from workbench.editing.suite.scores import RoleScore
from workbench.figures import (
    Axis,
    Bar,
    Bars,
    Column,
    Curve,
    Curves,
    Heatmap,
    Scale,
    Table,
    TokenScores,
    line,
    said,
)
from workbench.methods.attribution.attribution import AttributionResult
from workbench.methods.cot.bootstrap import Estimate
from workbench.methods.cot.many_questions import CotQuestionsResult, TaskSummary
from workbench.methods.cot.result import CotResult
from workbench.methods.generation.continuation import ContinueResult
from workbench.methods.lens.logit_lens import LensResult
from workbench.methods.tracing.causal_trace import TraceResult
from workbench.methods.tracing.facts import FactsTraceResult, RoleEffect
from workbench.protocol import Method, Result
from workbench.registry import METHODS, method
from workbench.session import load_session
from workbench.wording import signed

FIGURES = {kind: method(kind).figures for kind in METHODS}
SAMPLES = sorted((Path(__file__).parent.parent / "sessions").glob("*.json"))
RECORDED = [
    pytest.param(step.result, id=f"{file.stem}-{step.id}-{step.request.kind}")
    for file in SAMPLES
    for step in load_session(file).steps
]


def printed(drawn: RenderableType, width: int = 400, colours: str | None = None) -> str:
    """What is printed on a console without colours, unless it is told which it has."""
    console = Console(width=width, file=StringIO(), color_system=colours, force_terminal=colours is not None)
    console.print(drawn)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def words(text: str) -> Counter[str]:
    """Numbers and words; blocks are not, as their width is a matter of room."""
    return Counter(re.findall(r"[^\s*▁▂▃▄▅▆▇█]+", text))


def lens_texts(result: LensResult) -> Iterator[str]:
    """Every number of every layer, and the tokens."""
    for column in filter(None, result.columns):
        for tokens, probabilities in zip(column.top_tokens, column.top_probabilities, strict=True):
            yield from (*tokens, *(f"{p:.2f}" for p in probabilities))
        for track in filter(None, (column.target, column.foil)):
            yield from (*(f"{p:.2f}" for p in track.probability), *map(str, track.rank))
        yield from (f"{value:.1f}" for value in (*column.entropy, *column.kl))
        yield from (signed(value, 1) for value in column.logit_difference or ())


def continuation_texts(result: ContinueResult) -> Iterator[str]:
    """Tokens and probabilities."""
    for token in result.generated:
        yield from (token.text, f"{token.probability:.3f}", token.runner_up, f"{token.runner_up_probability:.3f}")


def attribution_texts(result: AttributionResult) -> Iterator[str]:
    """Scores, tokens, and what is shared out."""
    start, stop = result.attributed
    yield from (*result.encoded.texts[start:stop], *(signed(score, 2) for score in result.scores[start:stop]))
    yield from (f"{result.value:.2f}", f"{result.baseline_value:.2f}", str(result.evaluations), result.baseline)
    yield from (*result.encoded.notes, result.target_text, result.foil_text or "")


def trace_texts(result: TraceResult) -> Iterator[str]:
    """Peaks, ends of the scale, tokens."""
    yield from (*result.encoded.texts, f"{result.clean:.3g}", f"{result.corrupted:.3g}", str(result.samples))
    for grid in result.grids:
        yield grid.kind
        if grid.peak:
            yield from (f"layer {grid.peak.layer}", f"{grid.peak.value:.3f}", f"{result.share(grid.peak.value):.0%}")


def edit_texts(result: EditResult) -> Iterator[str]:
    """What is said and was, how ROME made it, the suite."""
    assert result.edit is not None
    assert isinstance(result.details, RomeDetails)
    details = result.details
    yield from (result.edit.id, result.edit.title, f"layer {details.layer} ({details.layer_from})")
    yield from (f"{details.size:.1%}", *(f"{loss:.2f}" for loss in (details.losses[0], details.losses[-1])))
    for one in (*result.before, *result.after):
        yield from (one.prepend, one.top, f"{one.top_probability:.2f}", f"{one.target:.3f}")
        yield from [] if one.foil is None else [f"{one.foil:.3f}"]
    yield from suite_texts(result.suite) if result.suite else []


def suite_texts(result: SuiteResult) -> Iterator[str]:
    """Scores, and what fails."""
    yield from (f"{100 * score:.1f}" for score in result.harmonic.values() if score is not None)
    for each in result.scores:
        yield from (SCORES[each.role], each.prepend, str(each.facts))
        yield from (f"{share:.0%}" for share in (each.score, each.score_before, each.exact, each.exact_before))
        yield from (signed(gap, 2) for gap in (each.magnitude, each.magnitude_before) if gap is not None)
    for failing in result.failing():
        yield from (result.suite.facts[failing.fact].prompt, f"“{failing.after.top}”")


def queue_texts(result: QueueResult) -> Iterator[str]:
    """What was done, and each edit."""
    yield from (result.done, *(f"{entry.info.id} {entry.info.method}" for entry in result.queue.entries))


def cot_texts(result: CotResult) -> Iterator[str]:
    """Each outcome with its answer and probability, each sentence."""
    assert result.full is not None
    dropped = [outcome.sentence for outcome in result.of("dropped") if outcome.sentence is not None]
    yield from (result.sentences[n] for n in (range(len(result.sentences)) if result.of("kept") else dropped))
    for outcome in result.outcomes:
        yield result.candidates[outcome.answer].name
        yield f"{outcome.probabilities[result.full.answer]:.3f}"
        yield outcome.what if outcome.what not in ("kept", "dropped") else ""
    yield from (result.caption, f"{result.aoc:.2f}" if result.aoc is not None else "", result.aoc_rule)


TEXTS: dict[str, Callable[[Any], Iterator[str]]] = {
    "lens": lens_texts,
    "continue": continuation_texts,
    "attribution": attribution_texts,
    "trace": trace_texts,
    "edit": edit_texts,
    "suite": suite_texts,
    "queue": queue_texts,
    "cot": cot_texts,
}


def said_by(result: Result) -> str:
    """What the figures of a result say in print."""
    return printed(draw_all(FIGURES[result.kind](result)))


@pytest.mark.parametrize("result", RECORDED)
def test_the_figures_of_a_recorded_step_say_tokens_and_numbers(result: Result) -> None:
    said_here = " ".join(said_by(result).split())
    expected = [" ".join(text.split()) for text in TEXTS[result.kind](result)]
    assert len(expected) > 1
    assert [text for text in expected if text not in said_here] == []


def role_score(score: float = 0.5) -> RoleScore:
    """The scores of paraphrases."""
    return RoleScore(
        role="paraphrase", prepend="as-is", facts=3, score=score, score_before=0.25, magnitude=0.31,
        magnitude_before=None, exact=0.75, exact_before=0.125,
    )  # fmt: skip


def failing(record: str) -> FailingFact:
    """A paraphrase that did not pass."""
    return FailingFact(
        record=record, role="paraphrase", prepend="as-is", prompt="The\nmother tongue is", wanted=" French",
        says=" English", first_position=record == "r1",
    )  # fmt: skip


def facts_edit(points: tuple[SequencePoint, ...] = (), n_failing: int = 2) -> FactsEditResult:
    """Records that were edited."""
    outcome = RecordOutcome(
        id="r0", title="L5 A → B", layers=(5,), scores=(role_score(),), perplexity=20.5, size=0.1, seconds=1.5,
        failing=tuple(failing(f"r{number}") for number in range(n_failing)),
    )  # fmt: skip
    return FactsEditResult(
        scores=(role_score(),), harmonic={"as-is": 0.61, "separator": None}, harmonic_before={"as-is": 0.12},
        perplexity_before=20.0, perplexity=None if points else 20.4, records=(outcome,), points=points,
        unusable={"r9": "its subject is the whole prompt"},
    )  # fmt: skip


def test_edits_on_top_of_each_other_have_a_curve_for_each_score_and_the_room_in_use() -> None:
    room = Capacity(layer=5, free=200, used=50)
    points = tuple(
        point.model_copy(update={"scores": (role_score(),), "capacity": room if point.edits > 1 else None})
        for point in POINTS
    )
    _, *drawn = [figure for figure in facts_edit_figures(facts_edit(points)) if isinstance(figure, Curves)]
    own = role_score()
    assert [figure.title for figure in drawn] == [
        "Scores after so many edits, as-is",
        "Scores after so many edits, separator",
    ]
    scored, used = drawn[0].curves
    assert (scored.label, used.label) == ("generalization", "capacity used")
    assert scored.points == ((0, 100 * own.score_before), *((n, 100 * own.score) for n in (1, 2, 5)))
    assert used.points == ((0, 0), (2, 25), (5, 25))
    assert [curve.label for curve in drawn[1].curves] == ["capacity used"]


FACT = SuiteFact(role="rewrite", prompt="The capital of Australia is", target=" Canberra", against=" Sydney")
POINTS = tuple(
    SequencePoint(edits=n, scores=(), harmonic={"as-is": 0.9 - n / 100, "separator": None}, perplexity=20 + n / 10)
    for n in (1, 2, 5)
)
RIGHT = FactAnswer(target=0.61, against=0.22, top=" Canberra", top_probability=0.713, passes=True, exact=True)
WRONG = RIGHT.model_copy(update={"top": " Sydney", "top_probability": 0.422, "passes": False})
SUITE = next(
    step.result.suite
    for file in SAMPLES
    for step in load_session(file).steps
    if isinstance(step.result, EditResult) and step.result.suite
)
OTHERS: dict[str, Result] = {
    "trace-facts": FactsTraceResult(
        effects=tuple(
            RoleEffect(kind="mlp", role=role, mean=(0.01, peak, 0.02), error=(0.001, 0.002, 0.003), facts=12)
            for role, peak in (("last subject", 0.231), ("last", 0.072))
        ),
        clean=0.412, corrupted=0.051, used=12, unknown=3, unusable=1, noise_std=0.1,
    ),
    "rome": rome_result().model_copy(update={"sound": False}),
    "suite": SUITE,
    "edit-facts": facts_edit(),
    "sequence": facts_edit(POINTS, n_failing=MOST_FAILING + 3),
    "bisect": BisectResult(fact=FACT, broken_by=edit_info(), before=2, tried=3, passing=RIGHT, failing=WRONG),
    "erasure": erasure_result(LEACE.model_copy(update={"case": HERO})),
    "steering": erasure_result(STEER),
    "cot": cot_result(DONE),
    "reasoning that is being written": cot_result(FIRST, words=4),
    "cot-questions": CotQuestionsResult(
        tasks=(
            TaskSummary(
                task="arithmetic",
                questions=9,
                measures={"AOC": Estimate(value=0.31, low=0.2, high=0.4, questions=9)},
            ),
        ),
        outcomes=(), unusable=(("q3", "the question is longer than the model reads"),), asked=10,
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        (
            "trace-facts",
            ["mlp", "0.231", "layer 1, last subject", "12 facts used, 3 not known, 1 not traceable", "0.412"],
        ),
        ("rome", [*edit_texts(OTHERS["rome"]), "! suspicious"]),  # type: ignore[arg-type]
        ("suite", [*suite_texts(SUITE)]),
        (
            "edit-facts",
            ["paraphrase", "50.0%", "25.0%", "+0.31", "–", "61.0 (was 12.0)", "20.00 → 20.40 (+2.00%), 1.5 s"],
        ),
        ("edit-facts", ["✗ r0 paraphrase", "The⏎mother tongue is → French", "“ English”", "! record r9: its subject"]),
        ("sequence", ["perplexity", "12.0", "89.0", "85.0", "20.50", "… and 3 more", "(first position"]),
        ("bisect", ["is broken by edit", "2 edits before it: “ Canberra” 0.71", "“ Sydney” 0.42; 3 trials"]),
        (
            "erasure",
            ["Pronoun gender · leace", "0.72 / 0.62", "0.50 / 0.50", "0.55 / 0.55", "changed", "0.001 → 0.003"],
        ),
        (
            "erasure",
            ["23.41 → 24.19 (+3.3%), 22 of 23 known facts kept", "“ Greek” → “ Norse”", "52.9% feminine: To buy a key"],
        ),
        ("erasure", ["the watched prompt", "before: “", "after: “"]),
        ("steering", ["taken for feminine", "0.57 → 0.97"]),
        ("cot", [*cot_texts(OTHERS["cot"]), "≠ 7", "necessary", "settles here", "mistake 2"]),  # type: ignore[arg-type]
        ("reasoning that is being written", ["Let's break it"]),
        ("cot-questions", ["arithmetic (9)", "0.31 [0.20, 0.40]", "q3: the question is longer"]),
    ],
)
def test_the_figures_of_any_other_result_say_tokens_and_numbers(name: str, texts: list[str]) -> None:
    said_here = " ".join(said_by(OTHERS[name]).split())
    assert [text for text in texts if " ".join(text.split()) not in said_here] == []


@pytest.mark.parametrize("name", ["rome", "erasure"])
def test_a_note_about_the_prompt_of_an_edit_is_said_once(name: str) -> None:
    result = OTHERS[name]
    assert isinstance(result, EditResult)
    assert result.encoded is not None
    noted = result.encoded.model_copy(update={"notes": ("a space is put before it",)})
    details = result.details
    if isinstance(details, Erased):
        assert details.effects is not None
        assert details.effects.case is not None
        case = details.effects.case.model_copy(update={"encoded": noted})
        effects = details.effects.model_copy(update={"case": case})
        details = details.model_copy(update={"effects": effects})
    result = result.model_copy(update={"encoded": noted, "details": details})
    assert said_by(result).count("a space is put before it") == 1


def test_every_registered_method_has_figures() -> None:
    drawn = {result.kind for result in OTHERS.values()} | {"lens", "continue", "attribution", "trace", "queue"}
    assert drawn <= set(METHODS)  # those that came later draw their figures in tests of their own
    assert [kind for kind, figures in FIGURES.items() if figures is Method.figures] == []


# The renderer


def heatmap(columns: int = 3, **changes: Any) -> Heatmap:
    """Two tokens, the second of them the subject."""
    layers = tuple(str(layer) for layer in range(columns))
    values = tuple(tuple((row + 1) * 0.1 + layer / 100 for layer in range(columns)) for row in range(2))
    given: dict[str, Any] = {
        "title": "Restored",
        "rows": Axis(name="token", labels=("The", "Australia"), index="token", subject=(1, 2)),
        "columns": Axis(name="layer", labels=layers, index="layer"),
        "values": values,
        "scale": Scale(high=0.3, unit="probability"),
    }
    return Heatmap(**given | changes)


def test_a_heatmap_with_room_says_every_number_and_a_wide_one_draws_blocks() -> None:
    assert {"0.10", "0.11", "0.12", "0.20", "0.21", "0.22", "Australia"} <= set(words(printed(draw(heatmap()), 80)))
    wide = printed(draw(heatmap(columns=40, scale=Scale(high=0.6))), 80).splitlines()
    assert re.fullmatch(r" *Australia\* [▁▂▃▄▅▆▇█]{40} *", wide[2])


def test_a_heatmap_that_is_wider_than_the_console_goes_on_below() -> None:
    drawn = printed(draw(heatmap(columns=100, scale=Scale(high=2))), 60).splitlines()
    assert [len(line) <= 60 for line in drawn] == [True] * len(drawn)
    assert sum(len(re.findall("[▁▂▃▄▅▆▇█]", line)) for line in drawn if "Australia" in line) == 100
    assert {"0", "50", "95"} <= set(words("\n".join(line for line in drawn if line.split()[:1] == ["layer"])))


def test_unknown_estimated_and_peak_cells_have_signs_of_their_own() -> None:
    values, estimated = ((None, 0.1, 0.3), (0.0, 0.1, 0.3)), ((False, True, False), (False,) * 3)
    drawn = printed(draw(heatmap(values=values, estimated=estimated, peaks=((0, 2),))), 20)
    assert re.search(r"The +\?\?░░█◆", drawn) or re.search(r"The +\?\?▒▒█◆", drawn), drawn
    assert "estimate" in drawn
    assert "peak" in drawn


def test_a_signed_heatmap_has_signs_and_its_legend_both_ends() -> None:
    values = ((-1.0, 0.0, 1.0), (-0.4, 0.4, 0.01))
    drawn = printed(draw(heatmap(values=values, scale=Scale.signed([1.0], "logits", 1))), 24)
    assert "▼▼··▲▲" in drawn
    assert "−−++··" in drawn
    assert "▼ −1.0 … ▲ +1.0 logits" in re.sub(r"\s+", " ", drawn)


def test_scores_stand_to_the_left_for_the_foil_and_to_the_right_for_the_target() -> None:
    figure = TokenScores(
        tokens=("<s>", "The", " capital"), scores=(0.0, -2.0, 1.0), scale=Scale.signed([-2.0], "logits"),
        attributed=(1, 3), subject=(2, 3),
    )  # fmt: skip
    lines = [line.rstrip() for line in printed(draw(figure), 60).splitlines()]
    assert not any("<s>" in line for line in lines)  # it was not varied
    assert re.fullmatch(r"The +−2\.00  █{12}", lines[1])
    assert re.fullmatch(r" capital\* +\+1\.00 +█{6}", lines[2])
    assert lines[1].index("█") < lines[2].index("█")


def test_spare_columns_are_left_out_together_where_there_is_no_room() -> None:
    pairs = [
        pair
        for n in (1, 2, 3)
        for pair in (Column(heading=f"top-{n}", spare=n - 1), Column(heading=f"p{n}", spare=n - 1))
    ]
    table = Table(columns=("layer", *pairs), rows=(("0", *("abcdefgh", "0.50") * 3),))
    assert printed(draw(table), 80).split()[:7] == ["layer", "top-1", "p1", "top-2", "p2", "top-3", "p3"]
    assert printed(draw(table), 40).split()[:5] == ["layer", "top-1", "p1", "top-2", "p2"]
    assert "top-2" not in printed(draw(table), 30)


def test_spare_columns_are_left_out_before_sentences_become_columns_of_words() -> None:
    columns = (Column(heading="what", wraps=True), Column(heading="steps", spare=1), Column(heading="file", right=True))
    table = Table(columns=columns, rows=(("a sentence of some words", "12", "a-name-of-22-cells.json"),))
    assert "steps" in printed(draw(table), 60)
    narrow = printed(draw(table), 48)
    assert "steps" not in narrow
    assert "a sentence of some" in narrow


def test_bars_have_numbers_intervals_and_signs() -> None:
    bars = (
        Bar(label="towards", value=0.5, interval=(0.4, 0.6)),
        Bar(label="against", value=-1.0),
        Bar(label="?", value=None),
    )
    drawn = printed(draw(Bars(bars=bars, scale=Scale.signed([1.0], "logits"))), 80)
    assert {"+0.50", "+0.40", "…", "+0.60", "−1.00", "–"} <= set(words(drawn))
    assert "−█" in drawn
    assert "+█" in drawn


def test_several_curves_are_numbers_and_long_or_single_ones_lines_of_blocks() -> None:
    short = tuple((n, n / 2) for n in range(4))
    two = Curves(x="edits", y="%", curves=tuple(Curve(label=label, points=short) for label in ("as-is", "separator")))
    assert words(printed(draw(two)))["1.50"] == 2
    one = Curves(x="step", y="nats", curves=(Curve(label="loss", points=short),))
    assert "▁▃▆█ 0.00 0.50 1.00 1.50 nats, step 0 … 3" in printed(draw(one))
    many = Curves(x="step", y="nats", curves=(Curve(label="loss", points=tuple((n, 100 - n) for n in range(100))),))
    assert "100.00 → 1.00 (from 1.00 to 100.00)" in printed(draw(many), 120)


@pytest.mark.parametrize("colours", [None, "standard", "256", "truecolor"])
def test_the_words_are_the_same_whatever_colours_there_are(colours: str | None) -> None:
    found = (heatmap(), *FIGURES["attribution"](next(p.values[0] for p in RECORDED if "attribution" in str(p.id))))
    plain = re.sub(r"\x1b\[[0-9;]*m", "", printed(draw_all(found), 80, colours))
    assert plain == printed(draw_all(found), 80)


def test_markup_in_a_text_is_a_text() -> None:
    drawn = printed(
        draw_all((*said(line("[bold]x[/bold] [/]", "warning")), Table(columns=("[red]",), rows=(("[/]",),))))
    )
    assert "[bold]x[/bold] [/]" in drawn
    assert "[red]" in drawn


@pytest.mark.parametrize("width", [20, 40, 79, 80, 200])
@pytest.mark.parametrize("result", RECORDED[:4])
def test_nothing_is_wider_than_the_console(result: Result, width: int) -> None:
    drawn = printed(draw_all(FIGURES[result.kind](result)), width)
    assert max(cell_len(line) for line in drawn.splitlines()) <= width
