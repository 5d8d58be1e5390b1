"""Record sessions/australia.json anew with the default model: ``python docs/make_session.py``.

The hero case as it stands, what the model goes on to say, and the same case behind a document start.
"""

from __future__ import annotations

import platform
from pathlib import Path

from workbench.case import Case
from workbench.engine import LoadRequest
from workbench.methods.continuation import ContinueRequest
from workbench.methods.logit_lens import LensRequest
from workbench.models.catalog import DEFAULT_MODEL
from workbench.session import SessionFile
from workbench.waiting import WaitingEngine

FILE = Path(__file__).parent.parent / "sessions" / "australia.json"

CASE = Case(prompt="The capital of Australia is", subject="Australia", target="Canberra", foil="Sydney")
BEHIND_DOCUMENT = CASE.model_copy(update={"start": "document"})

REQUESTS = (
    LensRequest(case=CASE),
    ContinueRequest(case=CASE),
    LensRequest(case=BEHIND_DOCUMENT),
    ContinueRequest(case=BEHIND_DOCUMENT),
)


def main() -> None:
    """Replace the file by a new recording."""
    FILE.unlink(missing_ok=True)
    with WaitingEngine(LoadRequest(model=DEFAULT_MODEL), FILE) as engine:
        for request in REQUESTS:
            step = engine.answer(request)
            print(f"{step.id} {request.kind} {step.status} {step.seconds} s")
    _without_kernel_version(FILE)


def _without_kernel_version(file: Path) -> None:
    """A file that is published names the kind of machine, not whose it was."""
    recording = SessionFile.open(file)
    known = {**recording.session.environment, "platform": f"{platform.system()}-{platform.machine()}"}
    recording.session = recording.session.model_copy(update={"environment": known})
    recording.save()


if __name__ == "__main__":
    main()
