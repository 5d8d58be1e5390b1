"""Damaged files of every kind: each is refused in a sentence, or it loads and draws. Nothing else may happen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.mutant_files import KINDS, Kind, mutants, tallied
from tests.mutant_sessions import print_all, recorded, replaying, steps
from tests.mutants import Tally, judge
from workbench.session import Session

QUICK = 700
"""Mutants of all kinds together; what is accepted of the first few sessions is replayed."""

REPLAYED = 60

SOAK = 10_000

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def share(kind: Kind, total: int) -> int:
    """How many of all mutants are of a kind."""
    return max(5, total * kind.share // sum(each.share for each in KINDS))


def said(tally: Tally) -> str:
    """What went wrong, and with which seeds."""
    return "\n".join(f"{what}: {example}" for what, example in (tally.examples or {}).items())


@every_kind
def test_a_good_file_of_each_kind_is_accepted(kind: Kind, tmp_path: Path) -> None:
    for name, content in kind.good().items():
        folder = tmp_path / name
        folder.mkdir()
        path = folder / f"good-{name if '.' in name else 'of.json'}"
        path.write_bytes(content)
        kind.read(path)


@every_kind
def test_a_damaged_file_is_refused_in_a_sentence_or_read(kind: Kind, tmp_path: Path) -> None:
    tally = Tally()
    for seed, path in mutants(kind, range(share(kind, QUICK)), tmp_path):
        found = judge(tally, seed, lambda path=path: kind.read(path))
        if isinstance(found, Session):
            print_all(found)
    assert not tally.harmful, said(tally)
    assert tally.refused or kind.name in ("marker", "history"), "these are shown as far as they can be read"


async def test_every_kind_of_step_is_replayed_with_its_details(tmp_path: Path) -> None:
    async with replaying() as replay:
        for name in steps():
            await replay.show(Session.model_validate_json(recorded(name)))


async def test_a_damaged_session_that_loads_is_replayed(tmp_path: Path) -> None:
    tally = await tallied(KINDS[0], range(10_000, 10_000 + REPLAYED), tmp_path)
    assert not tally.harmful, said(tally)
    assert tally.accepted


@pytest.mark.soak
@pytest.mark.skipif("WORKBENCH_SOAK" not in os.environ, reason="takes half an hour; run by `make soak`")
@every_kind
async def test_ten_thousand_damaged_files_do_no_harm(kind: Kind, tmp_path: Path) -> None:
    tally = await tallied(kind, range(share(kind, SOAK)), tmp_path)
    assert not tally.harmful, said(tally)
