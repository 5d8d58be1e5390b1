"""What has been answered in this session: the same question with other edits is what a picture is compared with."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from workbench.editing.queue import QueueState
from workbench.protocol import Result
from workbench.session import Step

KEPT = 64

Edits = tuple[str, ...]


def active_edits(queue: QueueState) -> Edits:
    """The ids of the edits that a model with this queue has, as in `Step.edits`."""
    return () if queue.bypassed else tuple(entry.info.id for entry in queue.entries if entry.on)


def queue_of(result: Result | None) -> QueueState | None:
    """The queue as a result leaves it, where it has to do with edits."""
    found = getattr(result, "queue", None)
    return found if isinstance(found, QueueState) else None


def edits_in_words(edits: Edits) -> str:
    """How many edits were on."""
    return f"with {len(edits)} edit{'s' * (len(edits) != 1)}" if edits else "without edits"


class KeptSteps:
    """The last step with a result of every question and set of edits, the latest `KEPT` of them.

    One that was cut short is kept until there is a complete one: an answer to compare with, and no more than that.
    """

    def __init__(self) -> None:
        self._steps: dict[tuple[Hashable, Edits], Step] = {}

    def keep(self, question: Hashable, step: Step) -> None:
        """Remember a step; not in the place of one that says more."""
        if step.result is None or (step.status != "done" and self.find(question, step.edits)):
            return
        self._steps.pop((question, step.edits), None)
        self._steps[question, step.edits] = step
        if len(self._steps) > KEPT:
            del self._steps[next(iter(self._steps))]

    def find(self, question: Hashable, edits: Edits) -> Step | None:
        """The complete answer to a question with exactly these edits."""
        step = self._steps.get((question, edits))
        return step if step is not None and step.status == "done" else None

    def other(self, question: Hashable, edits: Edits) -> Step | None:
        """The answer to compare with one that has these edits: that without any, or else the latest with others.

        Complete or not: what it does not know yet is not compared.
        """
        unedited = self._steps.get((question, ())) if edits else None
        others = (step for (asked, had), step in reversed(self._steps.items()) if asked == question and had != edits)
        return unedited or next(others, None)

    def __iter__(self) -> Iterator[Step]:
        """The complete ones, the latest first."""
        return (step for step in reversed(self._steps.values()) if step.status == "done")

    def clear(self) -> None:
        """Forget everything: another model, or another session, is looked at."""
        self._steps.clear()
