"""Sweeps that workers answer beside the engine: told of as any job, ended at once, and begun where they stopped."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.forked import fork_children, server
from tests.test_sweeping import EDITS, FACTS, knowing, same, step_of
from tests.tiny import save_tiny, tiny_loaded
from tests.waiting import LONG
from workbench.editing.records import FactsEditRequest, FactsEditResult
from workbench.errors import InputError, OutOfMemory
from workbench.events import Event, Finished, LoadRequest, Progressed, Started
from workbench.methods.cot.many_questions import CotQuestionsRequest
from workbench.methods.tracing.facts import FactsTraceRequest
from workbench.models.info import ModelInfo
from workbench.protocol import Result
from workbench.registry import method
from workbench.session import Step
from workbench.sweeping.asked import asked, settings_models, sweeps
from workbench.sweeping.beside import SweepEngine, check_room
from workbench.sweeping.collecting import so_far

FACTS_FILE = json.dumps({"prompt": "The capital of France is", "subject": "France", "target": "Paris"})


def wait_for(condition: Callable[[], bool]) -> None:
    """Until something is so, in another thread or process."""
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, "this does not happen"
        time.sleep(0.02)


class Heard:
    """An engine for sweeps, and what it has told."""

    def __init__(self, folder: Path) -> None:
        self.forked = False
        self.load = LoadRequest(model=str(folder), device="cpu")
        self.events: list[Event] = []
        self.recorded: list[Step] = []
        self.engine = SweepEngine(self.events.append, self._record)

    def _record(self, step: Step) -> Step:
        self.recorded.append(step)
        return step

    def step(self, job: int) -> Step:
        wait_for(lambda: any(isinstance(each, Finished) and each.job == job for each in self.events))
        return next(each.step for each in self.events if isinstance(each, Finished) and each.job == job)

    def partial(self, job: int) -> list[FactsEditResult]:
        """What has been shown of a sweep on the way."""
        found = [each.partial for each in self.events if isinstance(each, Progressed) and each.job == job]
        return [each for each in found if isinstance(each, FactsEditResult)]

    def workers(self) -> list[psutil.Process]:
        """The processes that it has started."""
        started = [each for each in psutil.Process().children() if "workbench.sweeping.worker" in each.cmdline()]
        return started + (server().running if self.forked else [])


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = Heard(save_tiny("llama", tmp_path / "model"))
    yield found
    found.engine.close()


@pytest.fixture
def forked(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are forked off a process that has imported torch."""
    fork_children(monkeypatch, "workbench.sweeping.pools")
    heard.forked = True


@pytest.mark.usefixtures("forked")
def test_a_cancelled_sweep_ends_its_workers_and_asked_again_goes_on_to_what_one_run_gives(heard: Heard) -> None:
    request = EDITS.model_copy(update={"settings": EDITS.settings.model_copy(update={"steps": 60})})
    job = heard.engine.share(request, heard.load, 1)
    wait_for(lambda: bool(heard.partial(job)))
    assert len(heard.partial(job)[0].records) == 1, "there is something to see after the first record"
    (worker,) = heard.workers()
    heard.engine.cancel(job)
    stopped = heard.step(job)
    assert stopped.status == "partial"
    assert isinstance(stopped.result, FactsEditResult)
    done = len(stopped.result.records)
    assert 1 <= done < 4
    wait_for(lambda: not worker.is_running())

    again = heard.engine.share(request, heard.load, 1)
    other = EDITS.model_copy(update={"records": EDITS.records[:1]})
    after = heard.engine.share(other, heard.load, 1)
    elsewhere = tiny_loaded("llama").info.model_copy(update={"fingerprint": "another"})
    wrong = heard.step(heard.engine.share(other, heard.load, 1, elsewhere))
    assert wrong.error is not None
    assert "are not what was loaded here (" in wrong.error.message
    assert len(heard.partial(again)[0].records if heard.step(again) else ()) >= done, "it goes on where it stopped"
    from workbench.loading import load

    model = load(heard.load.model, device="cpu")
    assert same(heard.step(again), step_of(model, request))
    assert same(heard.step(after), step_of(model, other))
    told = [each for each in heard.events if each.job == again]
    assert isinstance(told[0], Started)
    reports = [each for each in told if isinstance(each, Progressed)]
    assert (reports[0].stage, reports[-1].stage) == ("loading the model in 1 worker", "records")
    assert [each.done for each in reports] == sorted(each.done for each in reports)
    assert heard.recorded == [stopped, heard.step(again), heard.step(after), wrong]
    wait_for(lambda: not heard.workers())


def test_closing_ends_workers_that_are_still_loading(heard: Heard) -> None:
    job = heard.engine.share(EDITS, heard.load, 2)
    wait_for(lambda: len(heard.workers()) == 2)
    began = time.monotonic()
    assert heard.engine.close(5)
    assert time.monotonic() - began < 5
    assert not heard.workers()
    assert heard.step(job).status == "cancelled"


@pytest.mark.usefixtures("forked")
def test_a_model_that_cannot_be_loaded_is_one_sentence(heard: Heard) -> None:
    nowhere = LoadRequest(model="/nowhere/model", device="cpu")
    failed = heard.step(heard.engine.share(EDITS, nowhere, 1))
    assert failed.status == "failed"
    assert failed.error is not None
    assert "/nowhere/model" in failed.error.message
    assert "\n" not in failed.error.message


def test_a_worker_whose_starter_is_gone_ends_at_once() -> None:
    worker = subprocess.Popen(
        [sys.executable, "-P", "-m", "workbench.sweeping.worker", "0", "1"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert worker.stdin is not None
    worker.stdin.close()
    assert worker.wait(LONG) == 0


def test_workers_that_have_no_room_are_refused_with_both_sizes() -> None:
    model: ModelInfo = tiny_loaded("llama").info.model_copy(update={"parameters": 10**12, "device": "cpu"})
    with pytest.raises(
        OutOfMemory, match=r"2 workers would need about 8\.?\d*e?\+?\d* GB .* are free; choose fewer, or 0"
    ):
        check_room(model, 2)
    check_room(model.model_copy(update={"device": "cuda:0"}), 2)  # who are told by the GPU


@pytest.mark.parametrize("there", [(1,), (2, 4), (3, 4, 5)])
def test_what_some_shards_gave_is_what_a_run_of_their_records_gives(there: tuple[int, ...]) -> None:
    model = tiny_loaded("llama")
    of = 5
    records = tuple(
        EDITS.records[place % 4].model_copy(update={"id": f"r{place}"}) for place in range(8)
    )  # some shards have two
    whole = EDITS.model_copy(update={"records": records})
    results: dict[int, Result] = {n: step_of(model, whole.sharded(n, of)).result for n in there}  # type: ignore[misc]
    found = so_far(whole, of, results)
    assert isinstance(found, FactsEditResult)
    wanted = [record.id for place, record in enumerate(records) if place % of + 1 in there]
    assert [record.id for record in found.records] == wanted


def test_what_some_shards_of_a_trace_gave_is_the_average_of_their_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = knowing(monkeypatch)
    whole = FACTS.model_copy(update={"noise_std": 0.1})
    results: dict[int, Result] = {n: step_of(model, whole.sharded(n, 4)).result for n in (1, 3)}  # type: ignore[misc]
    own = tuple(fact for place, fact in enumerate(whole.facts) if place % 4 in (0, 2))
    wanted = step_of(model, whole.model_copy(update={"facts": own})).result
    assert so_far(whole, 4, results) == wanted


def test_nothing_is_found_while_no_record_could_be_edited() -> None:
    nothing = FactsEditResult(scores=(), harmonic={}, harmonic_before={}, perplexity_before=3.0, unusable={"0": "no"})
    first = EDITS.model_copy(update={"records": (EDITS.records[0].model_copy(update={"id": "0"}), *EDITS.records[1:])})
    assert so_far(first, 4, {1: nothing}) is None


# --- What is typed ---


def test_every_sweep_that_can_be_collected_over_a_file_is_asked_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "facts.jsonl"
    file.write_text(f"{FACTS_FILE}\n{FACTS_FILE}\n{FACTS_FILE}\n")
    typed = {"file": str(file), "limit": "2", "seed": "3"}
    (trace,), workers = asked("trace-facts", "", typed)
    assert isinstance(trace, FactsTraceRequest)
    assert (len(trace.facts), trace.seed, trace.confirmed, workers) == (2, 3, True, 1)
    (waited_for,), workers = asked("trace-facts", "", {**typed, "workers": "0"})
    assert isinstance(waited_for, FactsTraceRequest)
    assert (waited_for.confirmed, workers) == (False, 0)
    (questions,), workers = asked(
        "cot-questions", "", {"file": "common-sense", "limit": "1", "tokens": "50", "workers": "2"}
    )
    assert isinstance(questions, CotQuestionsRequest)
    assert (questions.sampling.tokens, workers) == (50, 2)
    assert {kind for kind, each in sweeps().items() if each.collect} == set(sweeps())


def test_several_editors_are_a_sweep_each_with_the_settings_that_they_have(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_text(f"{FACTS_FILE}\n")
    found, _ = asked("edit-facts", "grace, rome", {"file": str(file), "layer": "1", "radius": "2"})
    assert [request.editor for request in found if isinstance(request, FactsEditRequest)] == ["grace", "rome"]
    assert [getattr(request.settings, "layer", None) for request in found if isinstance(request, FactsEditRequest)] == [
        1,
        1,
    ]
    models = settings_models("edit-facts", "grace,rome")
    names = {name for model in models for name in model.model_fields}
    assert {"workers", "radius", "clamp"} <= names
    assert len(asked("edit-facts", "all", {"file": str(file)})[0]) == len(settings_models("edit-facts", "all")) - 2


@pytest.mark.parametrize(
    ("kind", "by", "typed", "sentence"),
    [
        ("edit-facts", "rome", {"file": " "}, "name a file of records"),
        ("edit-facts", "rome", {"file": "/nowhere.jsonl"}, r"/nowhere\.jsonl cannot be read"),
        ("edit-facts", "rome", {"file": "FILE", "workers": "x"}, "workers: 'x' is not a whole number"),
        ("edit-facts", "rome", {"file": "FILE", "sequence": "yes"}, "set workers to 0"),
        ("edit-facts", "rome, nero", {"file": "FILE"}, "there is no editor 'nero'; choose among rome, .* or all"),
        ("edit-facts", " , ", {"file": "FILE"}, "no editor is named"),
        ("edit-facts", "rome", {"file": "BAD"}, r"line 2 of .*bad\.jsonl is not a record"),
        ("fix", "", {"file": "FILE"}, "there is no sweep 'fix'; choose one of"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence(
    kind: str, by: str, typed: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "good.jsonl").write_text(f"{FACTS_FILE}\n")
    (tmp_path / "bad.jsonl").write_text(f'{FACTS_FILE}\n{{"prompt": 1}}\n')
    places = {"FILE": str(tmp_path / "good.jsonl"), "BAD": str(tmp_path / "bad.jsonl")}
    with pytest.raises(InputError, match=sentence):
        asked(kind, by, {**typed, "file": places.get(typed["file"], typed["file"])})


def test_the_table_of_records_has_a_row_for_each() -> None:
    step = step_of(tiny_loaded("llama"), EDITS)
    (table,) = (each for each in method("edit-facts").figures(step.result) if each.title.startswith("Records"))
    assert [row[0].text for row in table.rows] == [record.id for record in EDITS.records]  # type: ignore[union-attr]
