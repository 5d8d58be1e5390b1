"""Where recordings are, and how far a result is that was reported on the way."""

from __future__ import annotations

from pathlib import Path

from workbench.editing.compare import CompareResult
from workbench.editing.edit import EditResult
from workbench.editing.editors.erasure.erased import Erased
from workbench.editing.suite.regression import SuiteResult
from workbench.methods.cot.result import CotResult
from workbench.methods.lens.logit_lens import LensResult
from workbench.methods.tracing.causal_trace import TraceResult
from workbench.protocol import Result

FOLDER = Path(__file__).parent / "recorded"
READ, WRITING = -1, -2
"""How far a reasoning is whose sentences are known, and one for whose change the model writes."""


def parts(result: Result) -> int:
    """How far a result is: columns, words, layers, facts or editors that are there."""
    match result:
        case LensResult():
            return sum(column is not None for column in result.columns)
        case TraceResult():
            return sum(map(all, zip(*result.grids[0].exact[:-1], strict=True)))
        case CotResult():
            if result.writing:
                return WRITING
            return READ if result.sentences else len(result.tokens)
        case EditResult():
            if isinstance(result.details, Erased):
                return len(result.details.probed)
            return len(result.suite.outcomes) if result.suite else 0
        case SuiteResult():
            return len(result.outcomes)
        case CompareResult():
            return len(result.rivals)
    return 0
