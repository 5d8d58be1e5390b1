"""Two steps or two sessions side by side: the second minus the first, where both have something."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reporting.nasty import ROOT
from tests.reporting.test_formats import BARS, CURVES, EVERY, HEATMAP, LINES, SCORES, TABLE
from workbench.cli.console import Console
from workbench.cli.figures import draw_all
from workbench.editing.edit import EditResult
from workbench.editing.suite.regression import SuiteResult
from workbench.errors import InputError
from workbench.figures import Axis, Curves, Figure, Heatmap, Lines, Scale, Table
from workbench.methods.lens.logit_lens import LensResult
from workbench.reporting.differences import difference
from workbench.reporting.formats import as_text
from workbench.reporting.side_by_side import compare_sessions, compare_steps
from workbench.session import Session, Step, load_session


def text(figures: tuple[Figure, ...]) -> str:
    return "\n".join(map(as_text, figures))


@pytest.fixture(scope="module")
def canberra() -> Session:
    return load_session(ROOT / "sessions" / "canberra.json")


@pytest.mark.parametrize("figure", EVERY, ids=lambda figure: figure.kind)
def test_a_figure_does_not_differ_from_itself(figure: Figure) -> None:
    found = difference(figure, figure)
    if isinstance(figure, Curves):
        (both,) = found
        assert isinstance(both, Curves)
        assert [curve.points for curve in both.curves] == [curve.points for curve in figure.curves] * 2
    elif isinstance(figure, Lines):
        assert found == ()
    else:
        assert "no difference" in text(found) or "0 different" in text(found)


def test_cells_are_subtracted_at_the_same_layer_and_token() -> None:
    later = HEATMAP.model_copy(
        update={
            "rows": Axis(name="layer", labels=("2", "1"), index="layer", first=2, step=-1),
            "values": ((9.0, 9.0), (0.623456789, -1.0)),
            "texts": (("x", "x"), ("z", "b")),
        }
    )
    drawn, sums = difference(HEATMAP, later)
    assert isinstance(drawn, Heatmap)
    assert (drawn.rows.labels, drawn.rows.first, drawn.columns.labels) == (("1",), 1, ("The", " cat"))
    assert drawn.values == ((0.5, None),)
    assert drawn.texts == (("a→z", "b"),)
    assert "1 cell compared: the largest difference is +0.50 logits at layer 1, token The" in as_text(sums)
    assert "1 cell say" in as_text(sums) or "1 cells say" in as_text(sums)


def test_tokens_are_compared_from_the_end_where_something_was_prepended() -> None:
    def of(tokens: tuple[str, ...], values: tuple[float, ...]) -> Heatmap:
        return Heatmap(
            rows=Axis(name="layer", labels=("0",), index="layer"),
            columns=Axis(name="token", labels=tokens, index="token"),
            values=(values,),
            scale=Scale.signed((9.0,)),
        )

    plain, prepended = of(("The", " cat"), (1.0, 2.0)), of(("<s>", "The", " cat"), (9.0, 4.0, 8.0))
    assert difference(plain, prepended)[0].values == ((3.0, 6.0),)  # type: ignore[union-attr]
    assert difference(prepended, plain)[0].values == ((-3.0, -6.0),)  # type: ignore[union-attr]
    other = of(("A", "B", "C"), (9.0, 4.0, 8.0))
    assert difference(plain, other)[0].values == ((8.0, 2.0),)  # type: ignore[union-attr]


def test_numbers_with_names_are_compared_by_their_names() -> None:
    turned = SCORES.model_copy(update={"scores": (None, -0.25, -1.0)})
    table, sums = difference(SCORES, turned)
    assert isinstance(table, Table)
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["The", "+0.25", "−0.25", "−0.50"],
        [" cat", "−1.50", "−1.00", "+0.50"],
    ]
    assert {cell.meaning for row in table.rows for cell in row[3:]} == {"target", "foil"}
    assert "1 number changed sides" in as_text(sums)
    fewer = BARS.model_copy(update={"bars": BARS.bars[:1]})
    assert "two" not in text(difference(BARS, fewer))


def test_rows_of_a_table_are_compared_by_their_first_text() -> None:
    rows = ((*TABLE.rows[1][:1], "0.75"), ("new", "1"), TABLE.rows[0])
    table = Table.model_validate({**TABLE.model_dump(), "rows": rows})
    assert "2 rows compared, 1 different" in text(difference(TABLE, table))
    assert "p 0.25 → 0.75" in text(difference(TABLE, table))
    assert "other columns" in text(difference(TABLE, Table(columns=("x",), rows=())))


def test_curves_are_drawn_over_one_another_and_sentences_are_sorted() -> None:
    (both,) = difference(CURVES, CURVES)
    assert "first: loss" in as_text(both)
    assert "second: probability" in as_text(both)
    found = text(difference(LINES, Lines(lines=("Plain.", "New."))))
    assert found.splitlines() == ["first: Mind this.", "second: New."]


def test_what_an_edit_does_to_the_lens_is_the_difference_of_two_steps(canberra: Session) -> None:
    before, _, after = canberra.steps[:3]
    assert isinstance(before.result, LensResult)
    assert isinstance(after.result, LensResult)
    found = compare_steps(before, after)
    (drawn,) = (figure for figure in found if isinstance(figure, Heatmap))
    for row, label in enumerate(drawn.rows.labels):
        layer = 0 if label == "emb" else int(label) + 1
        for token in range(len(drawn.columns.labels)):
            now, then = after.result.columns[token], before.result.columns[token]
            assert now
            assert then
            assert now.logit_difference
            assert then.logit_difference
            wanted = now.logit_difference[layer] - then.logit_difference[layer]
            assert drawn.values[row][token] == pytest.approx(wanted)
    shown = text(found)
    assert "edits on: none → 6532a8be" in shown
    assert "Sydney →  Canberra" in shown
    assert "0.341 → 0.991" in shown


def test_facts_of_two_suites_that_changed_sides_are_listed(canberra: Session) -> None:
    edit = canberra.steps[1]
    assert isinstance(edit.result, EditResult)
    suite = edit.result.suite
    assert isinstance(suite, SuiteResult)
    turned = suite.outcomes[0].model_copy(
        update={"after": suite.outcomes[0].after.model_copy(update={"passes": False})}
    )
    other = suite.model_copy(update={"outcomes": (turned, *suite.outcomes[1:])})
    second = edit.model_copy(update={"result": edit.result.model_copy(update={"suite": other}), "id": 9})
    assert suite.outcomes[0].after.passes
    shown = text(compare_steps(edit, second))
    assert "Facts that changed sides: 1" in shown
    assert "fails now" in shown
    assert "now passes" in text(compare_steps(second, edit))
    assert "Facts that changed sides: 0" in text(compare_steps(edit, edit))


def test_steps_of_two_sessions_are_paired_by_what_was_asked(canberra: Session) -> None:
    australia = load_session(ROOT / "sessions" / "australia.json")
    shown = text(compare_sessions(canberra, australia))
    assert "Logit lens · step 1 and step 1" in shown
    assert "Logit lens · step 3 and step 5" in shown
    assert "prepend: by default → separator" in shown
    assert "2 steps compared; 13 have no counterpart" in shown
    with pytest.raises(InputError, match="no kind of step in common"):
        compare_sessions(canberra, load_session(ROOT / "sessions" / "tom.json"))
    with pytest.raises(InputError, match="only steps of one kind are compared"):
        compare_steps(canberra.steps[0], canberra.steps[1])


def test_what_was_stopped_is_compared_only_where_nothing_was_finished(canberra: Session) -> None:
    lens, *rest = canberra.steps
    stopped = lens.model_copy(update={"id": 99, "status": "partial"})
    shown = text(compare_sessions(canberra, canberra.model_copy(update={"steps": (stopped, lens, *rest)})))
    assert "Logit lens · step 1 and step 1\n" in shown
    assert "Logit lens · step 1 and step 99" not in shown


def test_steps_without_results_say_so(canberra: Session) -> None:
    empty: Step = canberra.steps[0].model_copy(update={"result": None, "status": "cancelled"})
    assert "step 1 found nothing to compare" in text(compare_steps(empty, canberra.steps[2]))


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "sessions").glob("*.json")))
def test_every_sample_can_be_compared_and_drawn(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = load_session(ROOT / "sessions" / f"{name}.json")
    Console().print(draw_all(compare_sessions(session, session)))
    assert "0 have no counterpart" in capsys.readouterr().out
