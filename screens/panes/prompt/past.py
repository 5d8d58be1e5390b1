"""The cases that were asked about before, to be walked through from the prompt."""

from __future__ import annotations

from collections.abc import Iterable

from workbench.case import Case


class PastCases:
    """The latest is the last; after it comes what is being typed, which waits there while one of them is shown."""

    def __init__(self, cases: Iterable[Case]) -> None:
        self._cases = list(cases)
        self._place = len(self._cases)
        self._typed = Case(prompt="")

    def keep(self, case: Case) -> None:
        """Add a case, unless it is the latest, and go to the end."""
        if not self._cases or self._cases[-1] != case:
            self._cases.append(case)
        self._place = len(self._cases)

    def walk(self, by: int, shown: Case) -> Case | None:
        """The case so many places on from the one that is ``shown``; None where there is none."""
        place = self._place + by
        if not 0 <= place <= len(self._cases):
            return None
        if self._place == len(self._cases):
            self._typed = shown
        self._place = place
        return [*self._cases, self._typed][place]
