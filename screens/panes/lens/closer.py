"""What is asked for the detail of a cell, beyond the lens that is drawn: more tokens of a column, and a patchscope."""

from __future__ import annotations

from screens.messages import Cursor
from workbench.case import Case
from workbench.methods.lens.logit_lens import LensColumn, LensRequest, LensResult
from workbench.methods.lens.patchscope import PatchscopeRequest, PatchscopeResult
from workbench.methods.lens.translators import LensName
from workbench.protocol import Request
from workbench.session import Step

DETAIL_TOP_K = 20


class CloserLooks:
    """What was found of the cells of one lens; ``note`` says why there is no more."""

    def __init__(self) -> None:
        self.columns: dict[int, LensColumn] = {}  # with as many tokens as a detail shows
        self.patchscopes: dict[Cursor, PatchscopeResult] = {}  # second opinions
        self.note = ""

    def missing(self, cell: Cursor, case: Case, lens: LensName) -> list[Request]:
        """What has to be asked to know all about a cell."""
        requests: list[Request] = []
        if cell not in self.patchscopes:
            requests.append(PatchscopeRequest(case=case, layer=cell.layer, position=cell.token))
        if cell.token not in self.columns:
            positions = (cell.token,)
            requests.append(
                LensRequest(case=case, first=cell.token, positions=positions, top_k=DETAIL_TOP_K, lens=lens)
            )
        return requests

    def take(self, step: Step, edits: tuple[str, ...], live: bool) -> None:
        """Keep what a step found of the case that is drawn, if that was with these ``edits``; else say why not."""
        if isinstance(step.request, PatchscopeRequest):
            if step.edits == edits and isinstance(step.result, PatchscopeResult):
                self.patchscopes[Cursor(step.result.layer, step.result.position)] = step.result
        elif step.error is not None:
            self.note = f"No more tokens: {step.error.message}"
        elif step.edits != edits:
            self.note = f"The edits have changed since this result{': ask again to see more tokens' if live else ''}."
        elif isinstance(step.result, LensResult):
            found = enumerate(step.result.columns)
            self.columns |= {position: column for position, column in found if column is not None}
