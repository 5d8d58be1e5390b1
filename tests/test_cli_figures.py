"""The Rich renderer: what each figure says in print, at any width and without colour; and all that reports said."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from tests.screens.fake import TOM, cot_result, edit_info, queue_state, rome_result
from tests.screens.fake_erasure import erasure_result
from workbench.case import Case
from workbench.cli.figures import draw, draw_all
from workbench.cli.reports import DRAWINGS
from workbench.datasets.suites import SuiteFact
from workbench.editing.bisection import BisectResult
from workbench.editing.editors.erasure.erasure import ErasureRequest
from workbench.editing.editors.erasure.figures import erasure_figures
from workbench.editing.editors.rome.figures import rome_figures
from workbench.editing.editors.rome.rome import RomeRequest, RomeResult
from workbench.editing.figures import bisect_figures, facts_edit_figures, queue_figures
from workbench.editing.records import FactsEditResult, FailingFact, RecordOutcome, SequencePoint
from workbench.editing.suite.answers import Answer
from workbench.editing.suite.figures import MOST_FAILING, suite_figures
from workbench.editing.suite.regression import RoleScore
from workbench.figures import (
    Axis,
    Bar,
    Bars,
    Column,
    Curve,
    Curves,
    Figure,
    Heatmap,
    Scale,
    Table,
    TokenScores,
    line,
    said,
)
from workbench.methods.attribution.figures import attribution_figures
from workbench.methods.cot.bootstrap import Estimate
from workbench.methods.cot.figures import cot_figures, cot_questions_figures
from workbench.methods.cot.interventions import Cue, Early, Filler, LeaveOneOut, Mistake
from workbench.methods.cot.many_questions import CotQuestionsResult, TaskSummary
from workbench.methods.cot.truncation import CotRequest
from workbench.methods.generation.figures import continuation_figures
from workbench.methods.lens.figures import lens_figures
from workbench.methods.tracing.facts import FactsTraceResult, RoleEffect
from workbench.methods.tracing.figures import facts_trace_figures, trace_figures
from workbench.protocol import Result
from workbench.session import load_session

FIGURES: dict[str, Callable[[Any], tuple[Figure, ...]]] = {
    "lens": lens_figures,
    "continue": continuation_figures,
    "attribution": attribution_figures,
    "trace": trace_figures,
    "trace-facts": facts_trace_figures,
    "rome": rome_figures,
    "suite": suite_figures,
    "queue": queue_figures,
    "edit-facts": facts_edit_figures,
    "bisect": bisect_figures,
    "erasure": erasure_figures,
    "cot": cot_figures,
    "cot-questions": cot_questions_figures,
}
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


def missing(result: Result, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What the old report of a result says, and the figures of it do not."""
    monkeypatch.setenv("COLUMNS", "400")
    old = words(printed(DRAWINGS[type(result)](result)))
    assert len(old) > 3
    return set(old - words(printed(draw_all(FIGURES[result.kind](result)))))


@pytest.mark.parametrize("result", RECORDED)
def test_the_figures_of_a_recorded_step_say_all_that_its_report_said(
    result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert missing(result, monkeypatch) == set()


def role_score(score: float = 0.5) -> RoleScore:
    """The scores of paraphrases."""
    return RoleScore(
        role="paraphrase", start="as-is", facts=3, score=score, score_before=0.25, magnitude=0.31,
        magnitude_before=None, exact=0.75, exact_before=0.125,
    )  # fmt: skip


def failing(record: str) -> FailingFact:
    """A paraphrase that did not pass."""
    return FailingFact(
        record=record, role="paraphrase", start="as-is", prompt="The\nmother tongue is", wanted=" French",
        says=" English", first_position=record == "r1",
    )  # fmt: skip


def facts_edit(points: tuple[SequencePoint, ...] = (), n_failing: int = 2) -> FactsEditResult:
    """Records that were edited."""
    outcome = RecordOutcome(
        id="r0", title="L5 A → B", layer=5, scores=(role_score(),), perplexity=20.5, size=0.1, seconds=1.5,
        failing=tuple(failing(f"r{number}") for number in range(n_failing)),
    )  # fmt: skip
    return FactsEditResult(
        scores=(role_score(),), harmonic={"as-is": 0.61, "document": None}, harmonic_before={"as-is": 0.12},
        perplexity_before=20.0, perplexity=None if points else 20.4, records=(outcome,), points=points,
        unusable={"r9": "its subject is the whole prompt"},
    )  # fmt: skip


FACT = SuiteFact(role="rewrite", prompt="The capital of Australia is", target=" Canberra", against=" Sydney")
POINTS = tuple(
    SequencePoint(edits=n, scores=(), harmonic={"as-is": 0.9 - n / 100, "document": None}, perplexity=20 + n / 10)
    for n in (1, 2, 5)
)
CASE = Case(prompt="The capital of Australia is", target="Canberra", foil="Sydney")
RIGHT = Answer(target=0.61, against=0.22, top=" Canberra", top_probability=0.713, passes=True, exact=True)
WRONG = RIGHT.model_copy(update={"top": " Sydney", "top_probability": 0.422, "passes": False})
SUITE = next(
    step.result.suite
    for file in SAMPLES
    for step in load_session(file).steps
    if isinstance(step.result, RomeResult) and step.result.suite
)
REASONED = CotRequest(
    question=TOM, interventions=(Early(), LeaveOneOut(), Mistake(sentence=1), Filler(), Cue(answer="7")), answer="7"
)
OTHERS: dict[str, Result] = {
    "trace-facts": FactsTraceResult(
        effects=tuple(
            RoleEffect(kind="mlp", role=role, mean=(0.01, peak, 0.02), error=(0.001, 0.002, 0.003), facts=12)
            for role, peak in (("last subject", 0.231), ("last", 0.072))
        ),
        clean=0.412, corrupted=0.051, used=12, unknown=3, unusable=1, noise_std=0.1,
    ),
    "rome": rome_result(RomeRequest(case=CASE), queue_state(True)).model_copy(update={"sound": False}),
    "suite": SUITE,
    "edit-facts": facts_edit(),
    "sequence": facts_edit(POINTS, n_failing=MOST_FAILING + 3),
    "bisect": BisectResult(fact=FACT, broken_by=edit_info(), before=2, tried=3, passing=RIGHT, failing=WRONG),
    "erasure": erasure_result(ErasureRequest(concept="pronoun-gender", case=CASE)),
    "steering": erasure_result(ErasureRequest(concept="pronoun-gender", method="steer")),
    "cot": cot_result(REASONED),
    "reasoning that is being written": cot_result(REASONED, words=4),
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


@pytest.mark.parametrize("name", OTHERS)
def test_the_figures_of_any_other_result_say_it_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = {"full", "block", "=", "·"}  # the scale is a line of its own, and what warns has another sign
    assert missing(OTHERS[name], monkeypatch) - allowed == set()


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
    two = Curves(x="edits", y="%", curves=tuple(Curve(label=label, points=short) for label in ("as-is", "document")))
    assert words(printed(draw(two)))["1.50"] == 2
    one = Curves(x="step", y="nats", curves=(Curve(label="loss", points=short),))
    assert "▁▃▆█ 0.00 0.50 1.00 1.50 nats, step 0 … 3" in printed(draw(one))
    many = Curves(x="step", y="nats", curves=(Curve(label="loss", points=tuple((n, 100 - n) for n in range(100))),))
    assert "100.00 → 1.00 (from 1.00 to 100.00)" in printed(draw(many), 120)


@pytest.mark.parametrize("colours", [None, "standard", "256", "truecolor"])
def test_the_words_are_the_same_whatever_colours_there_are(colours: str | None) -> None:
    found = (heatmap(), *attribution_figures(next(p.values[0] for p in RECORDED if "attribution" in str(p.id))))
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
