"""Record sessions/*.json anew with the default model: ``python docs/make_session.py [NAME …]``.

``australia`` is the hero case, as it stands and with the separator prepended; ``canberra`` repairs it by an edit,
switched off and on again; ``eiffel`` is a fact that the model knows; ``tom`` is a reasoning
that goes from 7 apples to 10.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

from workbench.case import Case
from workbench.cli.waiting import WaitingEngine
from workbench.editing.edit import EditRequest
from workbench.editing.editors.rome.rome import RomeSettings
from workbench.editing.operations import QueueRequest
from workbench.events import LoadRequest
from workbench.methods.attribution.attribution import AttributionRequest
from workbench.methods.cot.interventions import Early, Intervention, LeaveOneOut
from workbench.methods.cot.truncation import CotRequest
from workbench.methods.generation.continuation import ContinueRequest
from workbench.methods.lens.logit_lens import LensRequest
from workbench.methods.tracing.causal_trace import TraceKind, TraceRequest
from workbench.models.store import DEFAULT_MODEL
from workbench.protocol import Request

FOLDER = Path(__file__).parent.parent / "sessions"

AUSTRALIA = Case(prompt="The capital of Australia is", subject="Australia", target="Canberra", foil="Sydney")
EIFFEL = Case(prompt="The Eiffel Tower is located in the city of", subject="Eiffel Tower", target="Paris", foil="Rome")

TOM = "Tom has 3 apples and buys 4 more. How many apples does he have? Let's think step by step."


def apples(done: Intervention) -> CotRequest:
    """One thing done to the reasoning about Tom's apples, which the model writes anew."""
    return CotRequest(question=TOM, answer="7", interventions=(done,))


def with_separator(case: Case) -> Case:
    """The same with the separator prepended."""
    return case.model_copy(update={"prepend": "separator"})


RECORDINGS: dict[str, tuple[Request, ...]] = {
    "australia": (
        LensRequest(case=AUSTRALIA),
        ContinueRequest(case=AUSTRALIA),
        AttributionRequest(case=AUSTRALIA),
        TraceRequest(case=AUSTRALIA),
        LensRequest(case=with_separator(AUSTRALIA)),
        ContinueRequest(case=with_separator(AUSTRALIA)),
        AttributionRequest(case=with_separator(AUSTRALIA)),
        AttributionRequest(case=with_separator(AUSTRALIA), method="input-x-gradient"),
        AttributionRequest(case=with_separator(AUSTRALIA), method="occlusion"),
        TraceRequest(case=with_separator(AUSTRALIA)),
    ),
    "canberra": (
        LensRequest(case=AUSTRALIA),
        EditRequest(editor="rome", case=AUSTRALIA, settings=RomeSettings()),
        LensRequest(case=AUSTRALIA),
        QueueRequest(action="bypass"),
        LensRequest(case=AUSTRALIA),
        QueueRequest(action="compare"),
        LensRequest(case=AUSTRALIA),
    ),
    "eiffel": (
        LensRequest(case=EIFFEL),
        AttributionRequest(case=with_separator(EIFFEL)),
        TraceRequest(case=EIFFEL, kinds=get_args(TraceKind)),
    ),
    "tom": (apples(Early()), apples(LeaveOneOut(within=4)), apples(LeaveOneOut())),
}


def main(names: list[str]) -> None:
    """Replace the files of these names, or all, by new recordings."""
    for name in names or RECORDINGS:
        record(FOLDER / f"{name}.json", RECORDINGS[name])


def record(file: Path, requests: tuple[Request, ...]) -> None:
    """Ask and keep the answers."""
    file.unlink(missing_ok=True)
    with WaitingEngine(LoadRequest(model=DEFAULT_MODEL), file) as engine:
        for request in requests:
            step = engine.answer(request)
            print(f"{file.stem} {step.id} {request.kind} {step.status} {step.seconds} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
