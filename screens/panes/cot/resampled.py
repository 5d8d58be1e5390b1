"""What the reasoning pane says of resampling, which another pane shows: where leaving one out disagrees with it."""

from __future__ import annotations

from collections.abc import Iterator

from screens.panes.cot.ledger import CotRun
from workbench.methods.cot.resample_result import SentenceImportance


def disagrees(run: CotRun, place: int) -> Iterator[str]:
    """Where leaving this sentence out and resampling say different things of it, what resampling says."""
    found = importance(run, place)
    if found is not None and found.disagreement:
        yield "◇ does not matter when resampled" if found.necessary else "◇ matters when resampled"


def importance(run: CotRun, place: int) -> SentenceImportance | None:
    """What resampling found of a sentence, where it was asked."""
    found = run.resampled.sentences if run.resampled is not None else ()
    return found[place - 1] if 0 < place <= len(found) else None


def disagreement(run: CotRun) -> str:
    """Of which sentences leaving out and resampling say different things; nothing where they agree."""
    some = [str(place) for place in range(1, len(run.result.sentences) + 1) if any(disagrees(run, place))]
    if not some:
        return ""
    of_them = f"sentence{'s' * (len(some) > 1)} {', '.join(some)}"
    return f"Leaving out and resampling disagree about {of_them} (enter: how)."
