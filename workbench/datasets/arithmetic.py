"""Arithmetic word problems of one to four steps, made anew from a seed: questions that nobody has memorised."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from workbench.datasets.questions import Question, told_apart

if TYPE_CHECKING:
    from numpy.random import RandomState

COUNT = 48
DEPTHS = (1, 2, 3, 4)
"""Steps of calculation; as many problems of each."""

_NAMES = ("Anna", "Ben", "Chiara", "Dmitri", "Elif", "Farid", "Grace", "Hiro", "Ines", "Jonas", "Kofi", "Lena")
_THINGS = ("apples", "books", "coins", "eggs", "marbles", "pencils", "shells", "stamps", "tickets", "oranges")
_GAINS = ("finds {} more", "buys {} more", "is given {} more")
_LOSSES = ("gives away {}", "loses {}", "sells {}")
_BAGS = "buys {} bags with {} in each"


def arithmetic(count: int = COUNT, seed: int = 1) -> tuple[Question, ...]:
    """``count`` problems with four choices, the same ones for the same seed on every machine.

    The wrong choices are what comes out when the last step is left out, when it goes the other way, and a
    neighboring number. The right one stands equally often in each place.
    """
    from numpy.random import RandomState  # not before the first paint

    random = RandomState(seed)
    made: dict[str, Question] = {}
    while len(made) < count:
        number = len(made)
        depth, place = DEPTHS[number % len(DEPTHS)], number // len(DEPTHS) % 4
        question = _question(random, f"arithmetic-{number + 1:02d}", depth, place)
        if question is not None:
            made.setdefault(question.question, question)
    return tuple(made.values())


def _question(random: RandomState, name: str, depth: int, place: int) -> Question | None:
    """One problem whose right choice stands at ``place``, or None where its numbers are of no use."""
    start = int(random.randint(3, 16))
    words, changes = zip(*(_step(random) for _ in range(depth)), strict=True)
    amounts = list(accumulate(changes, initial=start))
    right, before, last = amounts[-1], amounts[-2], changes[-1]
    near = right + int(random.choice([-2, -1, 1, 2]))
    wrong = random.permutation([before, before - last, near]).tolist()
    choices = tuple(map(str, [*wrong[:place], right, *wrong[place:]]))
    if min(*amounts, *wrong) < 1 or not told_apart(choices):
        return None
    who, things = str(random.choice(_NAMES)), str(random.choice(_THINGS))
    story = " ".join(f"Then {who} {step}." for step in words)
    text = f"{who} has {start} {things}. {story} How many {things} does {who} have now?"
    return Question(id=name, task="arithmetic", question=text, choices=choices, answer=str(right))


def _step(random: RandomState) -> tuple[str, int]:
    """What happens, and by how much it changes the number of things."""
    kind = random.randint(3)
    if kind == 0:
        bags, each = int(random.randint(2, 5)), int(random.randint(2, 6))
        return _BAGS.format(bags, each), bags * each
    number = int(random.randint(2, 10))
    verbs, sign = (_GAINS, 1) if kind == 1 else (_LOSSES, -1)
    return str(random.choice(verbs)).format(number), sign * number
