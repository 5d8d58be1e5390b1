"""The engine: one thread, every job answered once, cancelled within a layer, errors as values."""

from __future__ import annotations

import dataclasses
import queue
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from tests.tiny import tiny_loaded
from workbench import leaving, loading
from workbench.case import Case
from workbench.editing.changes import WeightChange
from workbench.editing.operations import QueueRequest, QueueResult
from workbench.editing.queue import Edit, EditInfo
from workbench.engine import Engine, is_at_work
from workbench.errors import Cancelled, InputError
from workbench.events import Event, Finished, LoadRequest, Progressed, Started
from workbench.methods.generation import continuation
from workbench.methods.generation.continuation import ContinueRequest
from workbench.methods.lens import logit_lens
from workbench.methods.lens.logit_lens import LensRequest, LensResult
from workbench.models import beside
from workbench.models.anatomy import tensor_of
from workbench.protocol import Asking, Method, Progress, Request, Result
from workbench.registry import method
from workbench.session import SessionFile, Step, load_session

PROMPT = "the cat sat on the mat"

LONG = 120.0
"""Seconds to wait for what comes at once where nothing else runs."""


class Listening:
    """An engine and what it said."""

    def __init__(self, **options: Any) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.heard: list[Event] = []
        self.engine = Engine(self.events.put, **options)

    def finished(self, job: int, timeout: float = LONG) -> Finished:
        for event in self.heard:
            if isinstance(event, Finished) and event.job == job:
                return event
        end = time.monotonic() + timeout
        while True:
            event = self.events.get(timeout=end - time.monotonic())
            self.heard.append(event)
            if isinstance(event, Finished) and event.job == job:
                return event

    def answer(self, request: Request) -> Step:
        return self.finished(self.engine.submit(request)).step


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listening]:
    monkeypatch.setattr(loading, "load", lambda *_: tiny_loaded("llama"))
    session = Listening()
    assert session.answer(LoadRequest(model="tiny")).status == "done"
    yield session
    assert session.engine.close()


def lens(prompt: str = PROMPT) -> LensRequest:
    return LensRequest(case=Case(prompt=prompt))


class Blocks:
    """The blocks of a forward, each of which waits until it may go on: so there is time to cancel in the middle."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.run = 0

    def wait(self, *_: object) -> None:
        self.run += 1
        self.entered.set()
        assert self.go_on.wait(LONG)


def slow_forward(monkeypatch: pytest.MonkeyPatch) -> Blocks:
    """Have every block of the forwards to come wait."""
    blocks = Blocks()

    real = logit_lens.run

    def run(model: Any, request: Any, progress: Any) -> Any:
        handles = [block.register_forward_pre_hook(blocks.wait) for block in model.block_modules]
        try:
            return real(model, request, progress)
        finally:
            for handle in handles:
                handle.remove()

    _replace_run(monkeypatch, LensRequest, run)
    return blocks


def _replace_run(monkeypatch: pytest.MonkeyPatch, request: type[Request], run: Any) -> None:
    """Have the engine run something else for the requests of one method."""

    def replaced(kind: str) -> Method:
        found = method(kind)
        return dataclasses.replace(found, run=run) if found.request is request else found

    monkeypatch.setattr("workbench.engine.method", replaced)


def test_a_request_is_answered_with_a_step(listening: Listening) -> None:
    step = listening.answer(lens())
    assert step.status == "done"
    assert isinstance(step.result, LensResult)
    assert all(column is not None for column in step.result.columns)
    kinds = [type(event) for event in listening.heard]
    assert kinds[-1] is Finished
    assert Started in kinds
    assert Progressed in kinds


def test_a_request_without_a_model_fails_with_a_sentence() -> None:
    listening = Listening()
    step = listening.answer(lens())
    assert step.status == "failed"
    assert step.error is not None
    assert "no model is loaded" in step.error.message
    assert listening.engine.close()


def test_bad_input_is_a_value_and_the_next_job_runs(listening: Listening) -> None:
    step = listening.answer(lens(""))
    assert (step.status, step.error.kind if step.error else "") == ("failed", "InputError")
    assert listening.answer(lens()).status == "done"


def test_a_bug_is_a_value_with_its_traceback_in_the_log(
    listening: Listening, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> Any:
        raise ZeroDivisionError("one over nothing")

    _replace_run(monkeypatch, ContinueRequest, broken)
    step = listening.answer(ContinueRequest(case=Case(prompt=PROMPT)))
    assert step.error is not None
    assert step.error.kind == "ZeroDivisionError"
    assert "one over nothing" in step.error.message
    assert "in broken" in step.error.message
    assert caplog.records[-1].exc_info is not None
    assert listening.answer(lens()).status == "done"


def test_a_forward_is_cancelled_within_a_layer(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = slow_forward(monkeypatch)
    job = listening.engine.submit(lens())
    assert blocks.entered.wait(LONG)
    listening.engine.cancel(job)
    blocks.go_on.set()
    step = listening.finished(job).step
    assert step.status == "cancelled"
    assert step.result is None
    assert blocks.run == 1
    monkeypatch.undo()
    assert listening.answer(lens()).status == "done"


def test_a_way_back_is_cancelled_within_a_layer(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[int] = []

    def run(model: Any, request: Any, progress: Any) -> Any:
        embeddings = model.hf.get_input_embeddings()(torch.tensor([[1, 2, 3]])).requires_grad_()
        outputs: dict[int, torch.Tensor] = {}
        handles = [
            block.register_forward_hook(lambda _m, _a, output, at=at: outputs.update({at: tensor_of(output)}))
            for at, block in enumerate(model.block_modules)
        ]
        logits = model.hf(inputs_embeds=embeddings).logits
        for handle in handles:
            handle.remove()
        for at, output in outputs.items():
            output.register_hook(
                lambda _, at=at: reached.append(at) or (listening.engine.cancel() if at == 2 else None)
            )
        logits.sum().backward()
        raise AssertionError("it went all the way back")

    _replace_run(monkeypatch, LensRequest, run)
    assert listening.answer(lens()).status == "cancelled"
    assert reached == [2]
    monkeypatch.undo()
    assert listening.answer(lens()).status == "done"


def test_a_cancelled_step_keeps_what_was_found(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    real = continuation.run

    def run(model: Any, request: Any, progress: Any) -> Any:
        def cancelling(done: int, total: int, partial: Any = None, *, stage: str = "") -> None:
            if done == 2:
                listening.engine.cancel()
            progress(done, total, partial, stage=stage)

        return real(model, request, cancelling)

    _replace_run(monkeypatch, ContinueRequest, run)
    step = listening.answer(ContinueRequest(case=Case(prompt=PROMPT), tokens=8))
    assert step.status == "partial"
    assert step.result is not None
    assert len(step.result.generated) == 2  # type: ignore[attr-defined]


def test_a_waiting_job_can_be_cancelled_before_it_runs(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = slow_forward(monkeypatch)
    running, waiting = listening.engine.submit(lens()), listening.engine.submit(lens())
    assert blocks.entered.wait(LONG)
    listening.engine.cancel(waiting)
    blocks.go_on.set()
    assert listening.finished(running).step.status == "done"
    assert listening.finished(waiting).step.status == "cancelled"
    assert not any(isinstance(event, Started) and event.job == waiting for event in listening.heard)


def test_many_quick_submits_and_cancels_are_each_answered_once(listening: Listening) -> None:
    dice = random.Random(7)
    jobs = []
    for number in range(60):
        request = lens("" if number % 11 == 0 else PROMPT)
        jobs.append(listening.engine.submit(request))
        if dice.random() < 0.4:
            listening.engine.cancel(dice.choice(jobs))
    for job in jobs:
        listening.finished(job)
    order = [event.job for event in listening.heard if isinstance(event, Finished) and event.job in jobs]
    assert sorted(order) == jobs
    statuses = {event.step.status for event in listening.heard if isinstance(event, Finished)}
    assert "done" in statuses
    assert "failed" in statuses
    assert listening.answer(lens()).status == "done"


def test_closing_cancels_what_runs_and_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "load", lambda *_: tiny_loaded("llama"))
    listening = Listening()
    listening.answer(LoadRequest(model="tiny"))
    blocks = slow_forward(monkeypatch)
    for _ in range(5):
        listening.engine.submit(lens())
    assert blocks.entered.wait(LONG)
    cancel = listening.engine.cancel
    monkeypatch.setattr(listening.engine, "cancel", lambda: (cancel(), blocks.go_on.set()))
    assert listening.engine.close(timeout=LONG)
    assert blocks.run == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "engine"]


def test_every_finished_step_is_saved_before_it_is_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "load", lambda *_: tiny_loaded("llama"))
    file = SessionFile(tmp_path / "s.json")
    listening = Listening(record=file.append)
    listening.answer(LoadRequest(model="tiny"))
    for number, prompt in enumerate([PROMPT, "", PROMPT], 1):
        step = listening.answer(lens(prompt))
        assert step.id == number
        assert load_session(tmp_path / "s.json").steps[-1] == step
    assert listening.engine.close()


def test_running_out_of_memory_halves_the_batch_and_then_says_so(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    real = loading.LoadedModel.unembed

    def fits(at_most: int) -> Any:
        def unembed(self: Any, states: torch.Tensor) -> torch.Tensor:
            sizes.append(states.shape[1])
            if states.shape[1] > at_most:
                raise torch.OutOfMemoryError("no room")
            return real(self, states)

        return unembed

    monkeypatch.setattr(loading.LoadedModel, "unembed", fits(2))
    assert listening.answer(lens()).status == "done"
    assert max(sizes) > 2
    monkeypatch.setattr(loading.LoadedModel, "unembed", fits(0))
    step = listening.answer(lens())
    assert step.error is not None
    assert step.error.kind == "OutOfMemory"


def test_logits_that_are_not_numbers_are_reported_and_not_drawn(listening: Listening) -> None:
    model = listening.engine._model  # the one place where a test must spoil the weights
    assert model is not None
    weight = model.hf.get_input_embeddings().weight
    kept = weight.data.clone()
    try:
        weight.data[:] = float("nan")
        step = listening.answer(lens())
    finally:
        weight.data.copy_(kept)
    assert step.error is not None
    assert step.error.kind == "NumericalError"
    assert step.result is None


# What nobody waits for


class Background:
    """The rest of a lens, which begins when it is let go: so there is time to ask for something meanwhile."""

    def __init__(self, listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()
        self._listening = listening
        real = logit_lens.run

        def run(model: Any, request: Any, progress: Any) -> Any:
            def waiting(done: int, total: int, partial: Any = None, *, stage: str = "") -> None:
                if done == 1 and not self.entered.is_set():
                    self.entered.set()
                    assert self.go_on.wait(LONG)
                progress(done, total, partial, stage=stage)

            return real(model, request, waiting)

        _replace_run(monkeypatch, LensRequest, run)
        self.job = listening.engine.submit(lens())
        assert self.entered.wait(LONG)

    def meanwhile(self, *requests: Request) -> list[int]:
        """Ask these, then let the lens go on."""
        jobs = [self._listening.engine.submit(request) for request in requests]
        self.go_on.set()
        return jobs

    def ended(self) -> list[int]:
        """Jobs in the order in which they have ended."""
        self._listening.finished(self.job)
        return [event.job for event in self._listening.heard if isinstance(event, Finished)][1:]


def test_what_is_asked_goes_before_what_nobody_waits_for_and_that_goes_on(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.perf_counter()
    rest = Background(listening, monkeypatch)
    asked = rest.meanwhile(ContinueRequest(case=Case(prompt=PROMPT)), lens(PROMPT + " again"))
    step = listening.finished(rest.job).step
    assert rest.ended() == [*asked, rest.job]
    assert (step.status, [listening.finished(job).step.status for job in asked]) == ("done", ["done", "done"])
    assert isinstance(step.result, LensResult)
    assert None not in step.result.columns
    together = step.seconds + sum(listening.finished(job).step.seconds for job in asked)
    assert together <= time.perf_counter() - began + 0.01, "what others took is not the job's"


def test_cancelling_what_went_first_does_not_cancel_the_rest(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = Background(listening, monkeypatch)
    request = ContinueRequest(case=Case(prompt=PROMPT))
    first = listening.engine.submit(request)
    listening.engine.cancel(first)
    (second,) = rest.meanwhile(request)
    assert rest.ended() == [first, second, rest.job]
    statuses = [listening.finished(job).step.status for job in (first, second, rest.job)]
    assert statuses == ["cancelled", "done", "done"]


def test_the_rest_of_what_was_computed_with_other_edits_is_not_wanted(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = listening.engine._model
    assert model is not None
    model.edits.add(edit_of(listening, "a"))
    rest = Background(listening, monkeypatch)
    (undo,) = rest.meanwhile(QueueRequest(action="undo"))
    assert rest.ended() == [undo, rest.job]
    step = listening.finished(rest.job).step
    assert step.status == "partial"
    assert step.edits == ("a" * 8,)
    assert not model.edits.active, "what was undone meanwhile stays undone"


def test_another_model_is_loaded_without_the_rest(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    rest = Background(listening, monkeypatch)
    load, after = rest.meanwhile(LoadRequest(model="other"), lens())
    assert listening.finished(after).step.status == "done"
    assert rest.ended()[:2] == [rest.job, load]
    assert listening.finished(rest.job).step.status == "partial"


# What failed leaves nothing


def edit_of(listening: Listening, name: str) -> Edit:
    model = listening.engine._model
    assert model is not None
    dice = torch.Generator().manual_seed(int(name, 16))
    left, right = (torch.randn(n, 1, generator=dice) for n in (model.info.d_model, model.anatomy.d_mlp))
    info = EditInfo(id=name * 8, method="rome", title=name, layers=(0,))
    return Edit(info, (WeightChange(0, left, right),))


def weight_of(listening: Listening) -> torch.Tensor:
    model = listening.engine._model
    assert model is not None
    weight = model.down_projection(0).weight
    assert isinstance(weight, torch.Tensor)
    return weight.detach().clone()


@pytest.mark.parametrize("failure", [InputError("no"), ZeroDivisionError("a bug"), torch.OutOfMemoryError("no room")])
def test_a_failed_job_leaves_the_queue_and_the_weights_as_they_were(
    listening: Listening, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    model = listening.engine._model
    assert model is not None
    model.edits.add(edit_of(listening, "a"))
    model.edits.add(edit_of(listening, "b"))
    model.edits.undo()
    before, weight = model.edits.state, weight_of(listening)
    assert before.can_redo

    def run(model: Any, request: Any, progress: Any) -> Any:
        model.edits.add(edit_of(listening, "c"))
        assert not torch.equal(weight_of(listening), weight)
        raise failure

    _replace_run(monkeypatch, ContinueRequest, run)
    finished = listening.finished(listening.engine.submit(ContinueRequest(case=Case(prompt=PROMPT))))
    assert finished.step.status == "failed"
    assert finished.queue == model.edits.state == before
    assert torch.equal(weight_of(listening), weight)
    model.edits.redo()
    assert [entry.info.title for entry in model.edits.entries] == ["a", "b"]
    model.edits.undo()
    model.edits.undo()


def test_an_edit_that_was_cancelled_in_its_suite_is_taken_back_and_redo_makes_it(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = listening.engine._model
    assert model is not None
    weight = weight_of(listening)

    def run(model: Any, request: Any, progress: Any) -> Any:
        model.edits.add(edit_of(listening, "c"))
        listening.engine.cancel()
        progress(0, 1, QueueResult(queue=model.edits.state, done="made"), stage="suite")

    _replace_run(monkeypatch, ContinueRequest, run)
    finished = listening.finished(listening.engine.submit(ContinueRequest(case=Case(prompt=PROMPT))))
    assert finished.step.status == "partial"
    assert finished.queue == model.edits.state
    assert (finished.queue.entries, finished.queue.can_redo) == ((), True)
    assert isinstance(finished.step.result, QueueResult)
    assert finished.step.result.queue == finished.queue  # and so in the session
    assert torch.equal(weight_of(listening), weight)
    model.edits.redo()
    assert [entry.info.title for entry in model.edits.entries] == ["c"]
    assert not torch.equal(weight_of(listening), weight)
    model.edits.undo()


def test_a_job_that_cannot_stop_is_recorded_once_with_what_it_had_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "load", lambda *_: tiny_loaded("llama"))
    file = SessionFile(tmp_path / "s.json")
    listening = Listening(record=file.append)
    listening.answer(LoadRequest(model="tiny"))
    deep, out = threading.Event(), threading.Event()

    def run(model: Any, request: Any, progress: Any) -> Any:
        progress(0, 1, QueueResult(queue=model.edits.state, done="half"), stage="half")
        deep.set()
        assert out.wait(60)
        return QueueResult(queue=model.edits.state, done="whole")

    _replace_run(monkeypatch, QueueRequest, run)
    job = listening.engine.submit(QueueRequest())
    waiting = listening.engine.submit(lens())
    assert deep.wait(30)
    assert not listening.engine.close(timeout=0.05)
    steps = load_session(tmp_path / "s.json").steps
    assert [(step.request.kind, step.status) for step in steps] == [("queue", "partial"), ("lens", "cancelled")]
    assert isinstance(steps[0].result, QueueResult)
    assert steps[0].result.done == "half"
    assert listening.finished(job).step == steps[0]
    assert listening.finished(waiting).step == steps[1]
    out.set()
    assert listening.engine.close()
    assert load_session(tmp_path / "s.json").steps == steps
    assert listening.events.empty()


# --- Methods that ask others ---


class AskingRequest(Request):
    kind: Literal["asking"] = "asking"
    prompts: tuple[str, ...]


class AskingResult(Result):
    kind: Literal["asking"] = "asking"
    found: tuple[tuple[int, str], ...]


def asking(_model: Any, request: AskingRequest, progress: Progress, ask: Asking) -> AskingResult:
    found: list[tuple[int, str]] = []
    for place, prompt in enumerate(request.prompts):
        progress(place, len(request.prompts), AskingResult(found=tuple(found)), stage=f"prompt {place}")
        answered = ask(lens(prompt))
        found.append((answered.id, answered.why))
    return AskingResult(found=tuple(found))


@pytest.fixture
def with_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Method("Asking", AskingRequest, AskingResult, asking, asks=True)
    monkeypatch.setattr("workbench.engine.method", lambda kind: toy if kind == "asking" else method(kind))


def numbered(listening: Listening) -> list[Step]:
    recorded: list[Step] = []

    def record(step: Step) -> Step:
        recorded.append(step.model_copy(update={"id": len(recorded) + 1}))
        return recorded[-1]

    listening.engine._record = record
    return recorded


@pytest.mark.usefixtures("with_asking")
def test_what_a_method_asks_of_others_are_steps_of_their_own_before_its_own(listening: Listening) -> None:
    recorded = numbered(listening)
    step = listening.answer(AskingRequest(prompts=("the cat", "", "the mat")))
    assert [(each.request.kind, each.status) for each in recorded] == [
        ("lens", "done"),
        ("lens", "failed"),
        ("lens", "done"),
        ("asking", "done"),
    ]
    assert isinstance(step.result, AskingResult)
    ids, reasons = zip(*step.result.found, strict=True)
    assert ids == (1, 2, 3)
    assert reasons[0] == reasons[2] == ""
    assert reasons[1].startswith("the prompt is empty")


def test_a_method_sees_the_partial_results_of_what_it_asks(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Result] = []

    def looking(_model: Any, request: AskingRequest, progress: Progress, ask: Asking) -> AskingResult:
        answered = ask(lens(request.prompts[0]), shown.append)
        assert shown
        assert answered.result is not None
        return AskingResult(found=())

    toy = Method("Asking", AskingRequest, AskingResult, looking, asks=True)
    monkeypatch.setattr("workbench.engine.method", lambda kind: toy if kind == "asking" else method(kind))
    assert listening.answer(AskingRequest(prompts=("the cat",))).status == "done"
    assert {type(each) for each in shown} == {LensResult}


@pytest.mark.usefixtures("with_asking")
def test_no_time_is_foreseen_of_a_method_that_asks_others(listening: Listening) -> None:
    job = listening.engine.submit(AskingRequest(prompts=("the cat", "the mat")))
    listening.finished(job)
    told = [event for event in listening.heard if isinstance(event, Progressed) and event.job == job]
    assert [(event.done, event.remaining) for event in told] == [(0, None), (1, None)]


@pytest.mark.usefixtures("with_asking")
def test_cancelling_a_method_cancels_what_it_asks_and_keeps_what_it_had(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = numbered(listening)
    run, engine = logit_lens.run, listening.engine

    def cancelled_in_the_second(model: Any, request: LensRequest, progress: Progress) -> LensResult:
        if request.case.prompt == "the mat":
            engine.cancel()
        return run(model, request, progress)

    lens_method = dataclasses.replace(method("lens"), run=cancelled_in_the_second)
    toy = Method("Asking", AskingRequest, AskingResult, asking, asks=True)
    monkeypatch.setattr("workbench.engine.method", lambda kind: toy if kind == "asking" else lens_method)
    step = listening.answer(AskingRequest(prompts=("the cat", "the mat", "the cat")))
    assert [(each.request.kind, each.status) for each in recorded] == [
        ("lens", "done"),
        ("lens", "cancelled"),
        ("asking", "partial"),
    ]
    assert isinstance(step.result, AskingResult)
    assert step.result.found == ((1, ""),)
    assert listening.answer(lens()).status == "done"


def test_a_helper_that_goes_on_after_a_cancel_is_known_when_the_program_ends() -> None:
    begun, may_end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait()

    def look() -> None:
        if begun.is_set():
            raise Cancelled

    with pytest.raises(Cancelled):
        beside.beside(work, look)
    (helper,) = (thread for thread in threading.enumerate() if thread.name == beside.THREAD)
    assert is_at_work()
    assert leaving.is_anything_left()
    may_end.set()
    helper.join()
    assert not is_at_work()
