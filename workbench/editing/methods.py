"""What can be asked of edits: one by any editor or by all, the queue, a suite, many records, and what broke a fact."""

from __future__ import annotations

from workbench.editing import bisection, compare, edit, fix, fix_cases, measuring, operations, records, steer_sweep
from workbench.editing.figures import bisect_figures, compare_figures, edit_figures, facts_edit_figures, queue_figures
from workbench.editing.fix_figures import cases_figures, fix_figures
from workbench.editing.suite import regression
from workbench.editing.suite.figures import suite_figures
from workbench.protocol import Method

EDIT = Method(
    "Edit", edit.EditRequest, edit.EditResult, edit.run, edit_figures,
    limits="An edit is a hypothesis: what follows from the new fact, and texts that nobody asked about, may be wrong.",
)  # fmt: skip
QUEUE = Method("Edit queue", operations.QueueRequest, operations.QueueResult, operations.run, queue_figures)
SUITE = Method("Regression suite", regression.SuiteRequest, regression.SuiteResult, regression.run, suite_figures)
RECORDS = Method(
    "Edits of records",
    records.FactsEditRequest,
    records.FactsEditResult,
    records.run,
    facts_edit_figures,
    collect=records.collect,
    records=records.named_records,
)
BISECTION = Method("Bisection", bisection.BisectRequest, bisection.BisectResult, bisection.run, bisect_figures)
STEER_SWEEP = Method(
    "Steering", steer_sweep.SteerSweepRequest, steer_sweep.SteerSweepResult, steer_sweep.run, steer_sweep.sweep_figures,
    key="Z",
)  # fmt: skip
MEASURE = Method(
    "Defaults measured", measuring.MeasureRequest, measuring.MeasureResult, measuring.run, measuring.measure_figures
)
COMPARISON = Method("Comparison", compare.CompareRequest, compare.CompareResult, compare.run, compare_figures)
FIX = Method(
    "Fixes",
    fix.FixRequest,
    fix.FixResult,
    fix.fix,
    fix_figures,
    help="Try fixes of a failure, prompt, context and weights, test all by one suite, and recommend one.",
    key="F",
    asks=True,
)
FIX_CASES = Method(
    "Fixes of several", fix_cases.FixCasesRequest, fix_cases.FixCasesResult, fix_cases.fix_cases, cases_figures,
    asks=True,
)  # fmt: skip
