"""Which layer a trace proposes for an edit."""

from __future__ import annotations

from typing import get_args

from tests.screens.asked import HERO
from tests.screens.recorded import trace_result
from workbench.case import Case
from workbench.methods.lens.logit_lens import LensRequest
from workbench.methods.tracing.causal_trace import TraceKind, TraceRequest, TraceResult
from workbench.methods.tracing.layer import traced_layer


def traced(
    case: Case = HERO, kinds: tuple[TraceKind, ...] = get_args(TraceKind), **peaks: int
) -> tuple[TraceRequest, TraceResult]:
    """A trace whose grids rise at the subject's last token to one peak each, and higher at the prompt's last token."""
    request = TraceRequest(case=case, kinds=kinds)
    result = trace_result(TraceRequest(case=HERO, kinds=get_args(TraceKind)))
    assert result.encoded.subject is not None
    last = result.encoded.subject[1] - 1
    grids = []
    for grid in (grid for grid in result.grids if grid.kind in kinds):
        rows = [[0.1] * len(row) for row in grid.values]
        rows[peaks.get(grid.kind, 0)][last] = 0.5
        rows[5][-1] = 0.9
        grids.append(grid.model_copy(update={"values": tuple(map(tuple, rows))}))
    return request, result.model_copy(update={"grids": tuple(grids), "clean": 0.8, "corrupted": 0.1})


def test_it_is_where_the_mlp_peaks_at_the_subjects_last_token() -> None:
    assert traced_layer([traced(mlp=2, states=4, attention=1)], HERO) == 2


def test_where_the_mlp_was_not_traced_it_is_the_peak_of_the_states() -> None:
    assert traced_layer([traced(kinds=("states", "attention"), states=4)], HERO) == 4
    assert traced_layer([traced(kinds=("attention",), attention=4)], HERO) is None


def test_where_corruption_raises_the_answer_the_peak_is_the_lowest_value() -> None:
    request, result = traced(mlp=2)
    lowered = [tuple(tuple(-value for value in row) for row in grid.values) for grid in result.grids]
    grids = [grid.model_copy(update={"values": values}) for grid, values in zip(result.grids, lowered, strict=True)]
    risen = result.model_copy(update={"grids": tuple(grids), "clean": 0.1, "corrupted": 0.8})
    assert traced_layer([(request, risen)], HERO) == 2


def test_the_first_trace_of_the_prompt_and_subject_counts_whatever_target_and_start_it_had() -> None:
    elsewhere = HERO.model_copy(update={"prompt": "The capital of Austria is", "subject": "Austria"})
    other = HERO.model_copy(update={"target": "Sydney", "foil": None, "prepend": "separator"})
    steps = [(LensRequest(case=HERO), None), traced(elsewhere, mlp=1), traced(other, mlp=3), traced(mlp=4)]
    assert traced_layer(steps, HERO) == 3


def test_there_is_none_without_a_trace_that_has_a_result_and_a_subject() -> None:
    request, result = traced(mlp=2)
    bare = result.model_copy(update={"encoded": result.encoded.model_copy(update={"subject": None})})
    assert traced_layer([(request, None), (request, bare)], HERO) is None
    assert traced_layer([(request, result)], HERO.model_copy(update={"subject": "capital"})) is None
