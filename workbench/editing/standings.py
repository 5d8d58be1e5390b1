"""Editors side by side: a row for each with its scores, the unedited model first, best and worst marked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from workbench.case import Prepend
from workbench.datasets.suites import Role
from workbench.editing.suite.scores import RoleScore
from workbench.figures import Cell, Column, Figure, Table, line, said
from workbench.protocol import Frozen
from workbench.wording import bytes_in_words

BEST, WORST = "▲", "▼"
"""The signs of the best and the worst of a column, which say so without colour."""

LEGEND = f"{BEST} best {WORST} worst · scores in % of facts · free: of the paraphrases, continued by the model itself"


class Standing(Frozen):
    """What an editor came to: its scores, perplexity, seconds and bytes of an edit; or ``why`` there is nothing.

    Each score has the unedited model's beside it. ``overlapping`` are the neighbors that share a word with the subject.
    """

    title: str
    scores: tuple[RoleScore, ...] = ()
    overlapping: tuple[RoleScore, ...] = ()
    perplexity: float | None = None
    perplexity_before: float | None = None
    perplexity_interval: tuple[float, float] | None = None
    seconds: float | None = None
    bytes: float | None = None
    why: str = ""

    @property
    def prepends(self) -> tuple[Prepend, ...]:
        """Those that there are scores of."""
        return tuple(dict.fromkeys(score.prepend for score in self.scores))


class StandingColumn(Frozen):
    """One column: a cell for the unedited model, and one for each editor. Those of higher ``spare`` matter less."""

    heading: str
    short: str
    spare: int
    unedited: Cell
    cells: tuple[Cell, ...]


def compared(standings: Sequence[Standing], prepend: Prepend, intervals: bool = True) -> tuple[StandingColumn, ...]:
    """Every measure of which anything is known, with one thing prepended."""
    found = []
    for measure in MEASURES:
        values = [measure.of(standing, prepend) for standing in standings]
        if any(values):
            before = next((value for one in standings if (value := measure.before(one, prepend))), None)
            ends = _ends(values, measure.more_is_better)
            cells = tuple(_cell(measure, value, ends, intervals) for value in values)
            unedited = _cell(measure, before, None, intervals)
            found.append(
                StandingColumn(
                    heading=measure.heading, short=measure.short, spare=measure.spare, unedited=unedited, cells=cells
                )
            )
    return tuple(found)


def standings_figures(title: str, standings: Sequence[Standing]) -> tuple[Figure, ...]:
    """A table for each thing prepended, editors down and scores across, and why those that have no scores have none."""
    prepends = dict.fromkeys(prepend for standing in standings for prepend in standing.prepends)
    tables = [_table(f"{title} · {prepend}", standings, prepend) for prepend in prepends]
    without = (line(f"{one.title}: {one.why}", "warning") for one in standings if one.why)
    return (*tables, *said(*([line(LEGEND, "muted")] if tables else []), *without))


def _table(title: str, standings: Sequence[Standing], prepend: Prepend) -> Table:
    columns = compared(standings, prepend)
    rows = [(Cell(text="unedited"), *(column.unedited for column in columns))]
    for place, standing in enumerate(standings):
        rows.append((Cell(text=standing.title), *(column.cells[place] for column in columns)))
    headings = (Column(heading=each.heading, wraps=True, spare=each.spare) for each in columns)
    return Table(title=title, columns=(Column(heading="editor", wraps=True), *headings), rows=tuple(rows))


# --- What is measured ---

WithInterval = tuple[float, tuple[float, float] | None] | None
"""A number with its interval; None where there is none."""


@dataclass(frozen=True)
class _Measure:
    """A column: what it is called, its number for the edited and for the unedited model, and how it is written."""

    heading: str
    short: str
    of: Callable[[Standing, Prepend], WithInterval]
    before: Callable[[Standing, Prepend], WithInterval]
    written: Callable[[float], str]
    bound: Callable[[float], str]
    spare: int = 0
    more_is_better: bool = True


def _score(role: Role, field: str, heading: str, short: str, part: str = "scores", spare: int = 0) -> _Measure:
    def of(name: str) -> Callable[[Standing, Prepend], WithInterval]:
        def value(standing: Standing, prepend: Prepend) -> WithInterval:
            scores: tuple[RoleScore, ...] = getattr(standing, part)
            found = next((score for score in scores if (score.role, score.prepend) == (role, prepend)), None)
            number = None if found is None else getattr(found, name)
            return None if found is None or number is None else (number, found.intervals.get(name))

        return value

    return _Measure(heading, short, of(field), of(f"{field}_before"), _percent(1), _percent(0), spare)


def _percent(decimals: int) -> Callable[[float], str]:
    return lambda share: f"{100 * share:.{decimals}f}"


def _alone(value: float | None, interval: tuple[float, float] | None = None) -> WithInterval:
    return None if value is None else (value, interval)


def _nothing(standing: Standing, prepend: Prepend) -> WithInterval:
    del standing, prepend
    return None


def _seconds(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


MEASURES = (
    _score("rewrite", "score", "efficacy", "effic"),
    _score("paraphrase", "score", "generalization", "gener"),
    _score("neighborhood", "score", "specificity", "specif"),
    _score("neighborhood", "score", "same words", "words", "overlapping", spare=2),
    _score("attribute", "score", "attributes", "attrib", spare=3),
    _score("ripple", "score", "portability", "portab", spare=1),
    _score("paraphrase", "free", "free", "free"),
    _Measure(
        "perplexity",
        "perpl",
        lambda one, _: _alone(one.perplexity, one.perplexity_interval),
        lambda one, _: _alone(one.perplexity_before),
        lambda value: f"{value:.2f}",
        lambda value: f"{value:.2f}",
        more_is_better=False,
    ),
    _Measure(
        "seconds",
        "s",
        lambda one, _: _alone(one.seconds),
        _nothing,
        _seconds,
        _seconds,
        spare=1,
        more_is_better=False,
    ),
    _Measure(
        "size",
        "size",
        lambda one, _: _alone(one.bytes),
        _nothing,
        bytes_in_words,
        bytes_in_words,
        spare=1,
        more_is_better=False,
    ),
)
"""Scores, with one thing prepended; what an edit costs."""


def _ends(values: Iterable[WithInterval], more_is_better: bool) -> tuple[float, float] | None:
    """The best and the worst number of a column; None where all are the same."""
    numbers = sorted((value[0] for value in values if value), reverse=more_is_better)
    return (numbers[0], numbers[-1]) if len(set(numbers)) > 1 else None


def _cell(measure: _Measure, value: WithInterval, ends: tuple[float, float] | None, intervals: bool) -> Cell:
    if value is None:
        return Cell(text="–", meaning="muted")
    number, interval = value
    text = measure.written(number)
    if ends is not None and number in ends:
        text += BEST if number == ends[0] else WORST
    if interval is not None and intervals:
        text += " " + "–".join(map(measure.bound, interval))
    meaning = "plain" if ends is None or number not in ends else "good" if number == ends[0] else "bad"
    return Cell.model_validate({"text": text, "meaning": meaning})
