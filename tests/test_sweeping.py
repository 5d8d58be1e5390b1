"""Sweeps in shards: the numbers of one run, whatever the shards; what is missing is named; what was done is kept."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.forked import fork_children
from tests.methods.cot_models import TEMPLATE, roomy
from tests.methods.test_cot_questions import REQUEST as QUESTIONS
from tests.methods.test_edit_facts import records
from tests.methods.test_trace_facts import PROMPTS
from tests.tiny import save_tiny, tiny_loaded
from workbench.cli.main import app
from workbench.editing.records import FactsEditRequest
from workbench.errors import InputError, WorkbenchError
from workbench.events import LoadRequest
from workbench.methods.cot.many_questions import CotQuestionsRequest
from workbench.methods.tracing.facts import FactsTraceRequest, TracedFact
from workbench.models.info import ModelInfo
from workbench.paths import HOME_VARIABLE
from workbench.protocol import Request, silent
from workbench.registry import method
from workbench.session import Session, Step, StepError
from workbench.shards import RecordsSweep, Shard, shard_from
from workbench.sweeping import spread
from workbench.sweeping.collecting import collected, shards_in
from workbench.sweeping.pools import LocalPool, Told
from workbench.sweeping.worker import ShardAnswer

EDITS = FactsEditRequest(records=(*records(3), records(1)[0]), settings={"layer": 1, "prefixes": 1, "steps": 3})
FACTS = FactsTraceRequest(
    facts=tuple(TracedFact(prompt=prompt, subject=subject, target="a") for prompt, subject in PROMPTS), samples=2
)


def step_of(model: Any, request: Request) -> Step:
    result = method(request.kind).run(model, request, silent)
    return Step(started=datetime(2026, 1, 2, tzinfo=UTC), seconds=1, status="done", request=request, result=result)


def without_seconds(value: Any) -> Any:
    """Plain data but for how long things took."""
    if isinstance(value, dict):
        return {key: without_seconds(each) for key, each in value.items() if key != "seconds"}
    return [without_seconds(each) for each in value] if isinstance(value, list) else value


def same(one: Step, other: Step) -> bool:
    first, second = (without_seconds(json.loads(step.model_dump_json(exclude={"started"}))) for step in (one, other))
    return bool(first == second)


class Alike(CotQuestionsRequest):
    """Questions are asked two at a time here, for there to be more than one batch."""

    TOGETHER = 2


def knowing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A tiny model that answers every fact but the second with its first choice."""
    from workbench.methods.tracing import facts

    model = tiny_loaded("llama")
    monkeypatch.setattr(
        facts, "_clean_probability", lambda _model, case: None if case.prompt == PROMPTS[1][0] else 0.25
    )
    return model


def test_shards_of_edits_collected_are_one_run_bit_for_bit(tmp_path: Path, monkeypatch: Any) -> None:
    of = 7  # more than there are records
    model = tiny_loaded("llama")
    broken = EDITS.records[1].model_copy(
        update={"id": "broken", "case": EDITS.records[1].case.model_copy(update={"subject": "Narnia"})}
    )
    request = EDITS.model_copy(update={"records": (*EDITS.records, broken)})
    whole = step_of(model, request)
    shards = []
    for number in range(1, of + 1):
        monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / str(number)))  # another machine
        shards.append(step_of(model, request.sharded(number, of)))
    assert same(collected(shards[::-1]), whole)
    assert list(whole.result.unusable) == ["broken"]  # type: ignore[union-attr]


def test_shards_of_a_trace_of_facts_collected_are_one_run_bit_for_bit(tmp_path: Path, monkeypatch: Any) -> None:
    model = knowing(monkeypatch)
    whole = step_of(model, FACTS)
    assert whole.result.used == 5  # type: ignore[union-attr]
    assert whole.result.unknown == 1  # type: ignore[union-attr]
    shards = []
    for number in (1, 2, 3, 4):
        monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / str(number)))
        shards.append(step_of(model, FACTS.sharded(number, 4)))
    assert same(collected(shards), whole)


def test_shards_of_questions_collected_are_one_run_bit_for_bit(tmp_path: Path, monkeypatch: Any) -> None:
    from workbench.methods.cot import many_questions

    monkeypatch.setattr(many_questions, "TOGETHER", 2)
    model = roomy("llama", template=TEMPLATE)
    request = Alike(**{name: getattr(QUESTIONS, name) for name in CotQuestionsRequest.model_fields})
    whole = step_of(model, request)
    assert request.most_shards == 2
    shards = []
    for number in (1, 2):
        monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / str(number)))
        shards.append(step_of(model, request.sharded(number, 2)))
    assert [len(shard.result.outcomes) for shard in shards] == [2, 1]  # type: ignore[union-attr]
    assert same(collected(shards), whole)


def test_every_record_is_in_exactly_one_shard_and_batches_stay_together() -> None:
    for of in (1, 2, 3, 7):
        places = [place for number in range(1, of + 1) for place in EDITS.sharded(number, of).places]
        assert sorted(places) == [0, 1, 2, 3]
    questions = CotQuestionsRequest(
        questions=tuple(QUESTIONS.questions[0].model_copy(update={"id": str(n)}) for n in range(40))
    )
    assert questions.most_shards == 3
    assert list(questions.sharded(2, 2).places) == list(range(16, 32))


@pytest.mark.parametrize("text", ["3", "0/2", "3/2", "a/b", "1/", "-1/2"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="shard"):
        shard_from(text)


def made(request: RecordsSweep, error: str = "") -> Step:
    """A shard's step without its result."""
    failed = StepError(kind="InputError", message=error)
    return Step(started=datetime(2026, 1, 2, tzinfo=UTC), seconds=1, status="failed", request=request, error=failed)


def test_missing_failed_and_foreign_shards_are_named() -> None:
    with pytest.raises(InputError, match=r"2 of 3 shards are missing \(1/3, 3/3\)"):
        collected([made(FACTS.sharded(2, 3))])
    with pytest.raises(InputError, match=r"shard 1/1 did not end \(the disk is full\)"):
        collected([made(FACTS.sharded(1, 1), "the disk is full")])
    with pytest.raises(InputError, match="not of one sweep"):
        collected([made(FACTS.sharded(1, 2)), made(FACTS.model_copy(update={"seed": 7}).sharded(2, 2))])
    with pytest.raises(InputError, match="is no shard"):
        collected([made(FACTS)])
    with pytest.raises(InputError, match="no shards to collect"):
        collected([])


def test_files_that_hold_no_shard_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    for text in ("{", "[]", Session().model_dump_json()):
        file.write_text(text)
        with pytest.raises(InputError, match=r"a\.json"):
            shards_in([file])


def test_edits_on_top_of_each_other_cannot_be_shared_out() -> None:
    request = EDITS.model_copy(update={"sequence": True})
    with pytest.raises(InputError, match="one after the other, so they cannot be shared out"):
        method("edit-facts").run(tiny_loaded("llama"), request.sharded(1, 2), silent)
    with pytest.raises(InputError, match="leave --workers"):
        spread.check(request)


# --- Pools ---


class HerePool:
    """Answers on this thread, and dies after so many shards."""

    def __init__(self, model: Any, most: int = 100) -> None:
        self.model: ModelInfo = model.info
        self.answered: list[int] = []
        self._model, self._most = model, most

    def answers(self, sweep: str, numbers: Sequence[int], of: int, told: Told) -> Iterator[str]:
        request = FactsEditRequest.model_validate_json(sweep)
        for number in numbers:
            if len(self.answered) == self._most:
                raise WorkbenchError("the cluster is gone")
            step = step_of(self._model, request.sharded(number, of))
            told(number, 0.5)
            self.answered.append(number)
            yield ShardAnswer(number=number, seconds=1, status="done", result=step.result).model_dump_json()

    def close(self) -> None:
        """Nothing to end."""


def test_a_sweep_that_was_interrupted_goes_on_with_the_shards_that_are_left() -> None:
    model = tiny_loaded("llama")
    first = HerePool(model, most=2)
    told: list[tuple[int, int, str]] = []
    with pytest.raises(WorkbenchError, match="the cluster is gone"):
        spread.run(first, EDITS, 1, lambda *said: told.append(said))
    again = HerePool(model)
    step = spread.run(again, EDITS, 1, lambda *said: told.append(said))
    assert (first.answered, again.answered) == ([1, 2], [3, 4])
    assert same(step, step_of(model, EDITS))
    assert told[-1] == (4, 4, "4 of 4 shards")
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)


def command(folder: Path, *options: str) -> Any:
    facts = folder / "facts.jsonl"
    facts.write_text("\n".join(record.model_dump_json() for record in EDITS.records))
    asked = [
        "edit",
        f"--facts={facts}",
        f"--model={folder / 'model'}",
        "--layer=1",
        "--prefixes=1",
        "--steps=3",
        "--json",
    ]
    return CliRunner().invoke(app, [*asked, *options])


def test_workers_give_what_one_process_gives_though_one_of_them_is_killed(tmp_path: Path, monkeypatch: Any) -> None:
    folder = save_tiny("llama", tmp_path / "model")
    fork_children(monkeypatch, "workbench.sweeping.pools")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    killed: list[int] = []
    pool = LocalPool(LoadRequest(model=str(folder), device="cpu"), 2)
    assert pool.model.layers == 3

    def told(_done: int, _total: int, _stage: str) -> None:
        busy = [worker for worker in pool._workers if worker.number is not None]
        if busy and not killed:
            killed.append(busy[0]._process.pid)
            os.kill(killed[0], signal.SIGKILL)

    try:
        step = spread.run(pool, EDITS, 2, told)
    finally:
        pool.close()
    assert killed
    from workbench.loading import load

    assert same(step, step_of(load(str(folder), device="cpu"), EDITS))


def test_shards_of_the_command_line_are_collected_by_it(tmp_path: Path) -> None:
    save_tiny("llama", tmp_path / "model")
    files = []
    for number in (1, 2):
        session, printed = tmp_path / f"{number}.session.json", tmp_path / f"{number}.json"
        done = command(tmp_path, f"--shard={number}/2", *([f"--session={session}"] if number == 1 else []))
        assert done.exit_code == 0, done.output
        printed.write_text(done.stdout)
        files.append(str(session if number == 1 else printed))
    found = CliRunner().invoke(app, ["collect", *files, "--json", f"--session={tmp_path / 'whole.json'}"])
    assert found.exit_code == 0, found.output
    whole = command(tmp_path)
    assert same(Step.model_validate_json(found.stdout), Step.model_validate_json(whole.stdout))
    (kept,) = Session.model_validate_json((tmp_path / "whole.json").read_bytes()).steps
    assert isinstance(kept.request, FactsEditRequest)
    assert kept.request.shard is None


@pytest.mark.skipif(find_spec("ray") is None, reason="needs ray, which the extra lm-workbench[ray] brings")
def test_actors_of_ray_give_what_one_process_gives_though_one_of_them_is_killed(
    tmp_path: Path, monkeypatch: Any
) -> None:
    import ray

    from workbench.sweeping.on_ray import RayPool

    folder = save_tiny("llama", tmp_path / "model")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        pool = RayPool(LoadRequest(model=str(folder), device="cpu"), "local")
        assert pool.workers == 2
        killed: list[int] = []

        def told(done: int, _total: int, _stage: str) -> None:
            if done and not killed:
                killed.append(done)
                ray.kill(pool._actors[0], no_restart=False)

        step = spread.run(pool, EDITS, 2, told)
        pool.close()
        assert killed
        assert ray.is_initialized()  # the cluster was there before
    finally:
        ray.shutdown()
    from workbench.loading import load

    assert same(step, step_of(load(str(folder), device="cpu"), EDITS))


def test_without_ray_the_sentence_says_how_to_install_it(monkeypatch: Any) -> None:
    from workbench.sweeping import on_ray

    monkeypatch.setattr(on_ray, "find_spec", lambda _name: None)
    with pytest.raises(InputError, match=r"pip install 'lm-workbench\[ray\]'"):
        on_ray.RayPool(LoadRequest(model="any"), "local")


def test_a_shard_is_part_of_its_request_and_of_no_other_s() -> None:
    assert "shard" not in json.loads(EDITS.model_dump_json())
    read = FactsEditRequest.model_validate_json(EDITS.sharded(2, 3).model_dump_json())
    assert read.shard == Shard(number=2, of=3)
    assert read.whole() == EDITS
