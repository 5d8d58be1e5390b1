"""A model that is elsewhere: a small server speaks nnsight's protocol and runs what it is sent on a tiny model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nnsight.modeling.transformers import TransformersModel

from tests.stand_in import StandIn, standing_in
from tests.test_cli import Run, workbench
from tests.test_sockets import reached
from tests.tiny import save_tiny
from workbench import remote
from workbench.case import Case
from workbench.errors import Cancelled, InputError, ModelError
from workbench.loading import load
from workbench.methods.generation.continuation import ContinueRequest, ContinueResult
from workbench.methods.lens.logit_lens import LensColumn, LensRequest, LensResult
from workbench.models.store import hub
from workbench.protocol import silent
from workbench.registry import check_remote, method
from workbench.remote import NotSent, RemoteModel, reach
from workbench.reporting.as_command import as_command
from workbench.session import load_session

__all__ = ["reached", "workbench"]

CASE = Case(prompt="The capital of Australia is ", target="a", foil="b")
LENS = method("lens")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("gpt2", tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[StandIn]:
    model = TransformersModel(str(folder), task="text-generation", dispatch=True)
    with standing_in(model) as served:
        yield served


@pytest.fixture
def elsewhere(server: StandIn, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RemoteModel]:
    """The tiny model by a hub id, at the server; its description is in the hub's cache."""
    monkeypatch.setattr(hub, "cached", lambda _spec, weights=True: folder)
    monkeypatch.setenv(remote.HOST, server.address)
    monkeypatch.setenv(remote.KEY, server.key)
    for name, nothing in (("says", []), ("sends", None), ("waits", None)):
        monkeypatch.setattr(server, name, nothing)
    server.seen.clear()
    return lambda **how: reach("owner/tiny", silent, **how)


def asked(model: Any, request: LensRequest, progress: Any = silent) -> LensResult:
    assert LENS.remote is not None
    found = LENS.remote(model, request, progress)
    assert isinstance(found, LensResult)
    return found


def numbers(column: LensColumn) -> list[float]:
    """All that is no token and no rank."""
    followed = [track.probability for track in (column.target, column.foil) if track]
    rows = (*column.top_probabilities, column.entropy, column.kl, column.logit_difference or (), *followed)
    return [value for row in rows for value in row]


def test_the_lens_of_a_model_elsewhere_is_that_of_the_same_weights_here(
    elsewhere: Callable[..., RemoteModel], folder: Path, server: StandIn
) -> None:
    model = elsewhere()
    assert all(parameter.is_meta for parameter in model.hf.parameters())
    assert model.info.name == f"owner/tiny at {server.address}"
    for request in (LensRequest(case=CASE), LensRequest(case=Case(prompt=CASE.prompt), positions=(-1, 2), top_k=3)):
        there, here = asked(model, request), LENS.run(load(str(folder), device="cpu"), request, silent)
        assert isinstance(here, LensResult)
        assert there.encoded == here.encoded
        assert there.layers == here.layers
        for one, other in zip(there.columns, here.columns, strict=True):
            assert (one is None) == (other is None)
            if one and other:
                assert one.top_tokens == other.top_tokens
                assert (one.target and one.target.rank) == (other.target and other.target.rank)
                assert numbers(one) == pytest.approx(numbers(other), rel=1e-3, abs=1e-5)
        assert there.checks[0].level == "ok"
        assert there.checks[1].text == f"in float32 by {server.address}"


def test_the_continuation_of_a_model_elsewhere_is_that_of_the_same_weights_here(
    elsewhere: Callable[..., RemoteModel], folder: Path
) -> None:
    request, greedy = ContinueRequest(case=CASE, tokens=4), method("continue")
    assert greedy.remote is not None
    there, here = greedy.remote(elsewhere(), request, silent), greedy.run(load(str(folder)), request, silent)
    assert isinstance(there, ContinueResult)
    assert isinstance(here, ContinueResult)
    assert (there.text, there.ended) == (here.text, here.ended)
    for one, other in zip(there.generated, here.generated, strict=True):
        assert (one.text, one.runner_up) == (other.text, other.runner_up)
        assert one.probability == pytest.approx(other.probability, rel=1e-3)


def test_what_is_sent_names_the_model_by_its_key_and_holds_neither_weights_nor_modules_of_ours(
    elsewhere: Callable[..., RemoteModel], server: StandIn
) -> None:
    asked(elsewhere(), LensRequest(case=CASE))
    ((envelope, headers, blob),) = server.seen
    assert envelope["model_key"].endswith('{"repo_id": "owner/tiny", "revision": null, "task": "text-generation"}')
    assert headers["ndif-api-key"] == "secret"
    assert len(blob) < 20_000  # and the server has found nothing of the workbench's missing


def test_a_dry_run_shows_what_would_be_sent_and_opens_no_socket(
    elsewhere: Callable[..., RemoteModel], server: StandIn, reached: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(remote.KEY)
    with pytest.raises(NotSent) as found:
        asked(elsewhere(dry=True), LensRequest(case=CASE))
    parcel = found.value.parcel
    assert parcel.host == server.address
    assert '"repo_id": "owner/tiny"' in parcel.model
    assert 0 < parcel.bytes < 20_000
    assert "answer.save()" in parcel.code
    assert any("def row_numbers" in name for name in parcel.names)
    assert "input_ids" in parcel.inputs
    assert reached == []
    assert server.seen == []


def test_where_the_job_is_is_said_and_its_error_is_one_sentence(
    elsewhere: Callable[..., RemoteModel], server: StandIn
) -> None:
    stages: list[str] = []

    def progress(_done: int, _total: int, _partial: Any = None, *, stage: str = "") -> None:
        stages.append(stage)

    server.says = [("QUEUED", "Your job is in queue position 3."), ("RUNNING", "Your job has started.")]
    asked(elsewhere(), LensRequest(case=CASE), progress)
    at = [next(i for i, stage in enumerate(stages) if word in stage) for word in ("received", "position 3", "running")]
    assert at == sorted(at)
    server.says = [("ERROR", "Traceback (most recent call last):\n  File …\nRuntimeError: CUDA out of memory")]
    with pytest.raises(ModelError, match=r"answers: RuntimeError: CUDA out of memory$"):
        asked(elsewhere(), LensRequest(case=CASE))


def test_a_job_that_waits_is_cancelled(elsewhere: Callable[..., RemoteModel], server: StandIn) -> None:
    server.says, server.waits = [("QUEUED", "1 job is ahead")], threading.Event()

    def progress(_done: int, _total: int, _partial: Any = None, *, stage: str = "") -> None:
        if "queued" in stage:
            raise Cancelled

    with pytest.raises(Cancelled):
        asked(elsewhere(), LensRequest(case=CASE), progress)
    server.waits.set()


class Harmful:
    """What an unpickler would run."""

    def __reduce__(self) -> Any:
        return print, ("this must not be printed",)


def test_an_answer_that_is_more_than_tensors_is_refused_and_not_run(
    elsewhere: Callable[..., RemoteModel], server: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    server.sends = {"answer": Harmful()}
    with pytest.raises(ModelError, match=r"sent what is no result \(it names \S+print\)"):
        asked(elsewhere(), LensRequest(case=CASE))
    assert "must not" not in capsys.readouterr().out
    server.sends = {"other": 1}
    with pytest.raises(ModelError, match=r"sent what is no result \(it has no answer\)"):
        asked(elsewhere(), LensRequest(case=CASE))


def test_what_cannot_be_asked_elsewhere_is_one_sentence(
    elsewhere: Callable[..., RemoteModel], server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="“Causal trace” needs the weights here; --remote serves lens, continue"):
        check_remote(method("trace"))
    with pytest.raises(InputError, match="--remote reads the plain lens"):
        asked(elsewhere(), LensRequest(case=CASE, lens="ridge"))
    with pytest.raises(InputError, match="is no Hugging Face id"):
        reach("smollm2-135m", silent)
    monkeypatch.setenv(remote.KEY, "wrong")
    with pytest.raises(ModelError, match="does not accept the key in NDIF_API_KEY"):
        asked(elsewhere(), LensRequest(case=CASE))
    monkeypatch.delenv(remote.KEY)
    with pytest.raises(InputError, match="set NDIF_API_KEY to yours"):
        elsewhere()
    monkeypatch.setenv(remote.HOST, "http://example.org")
    with pytest.raises(InputError, match="unencrypted; give an https address"):
        elsewhere(dry=True)
    monkeypatch.setenv(remote.HOST, "http://127.0.0.1:9")
    monkeypatch.setenv(remote.KEY, "secret")
    with pytest.raises(ModelError, match=r"http://127.0.0.1:9 cannot be reached \("):
        asked(elsewhere(), LensRequest(case=CASE))


def test_the_command_line_sends_what_it_is_asked_to_and_refuses_what_cannot_be(
    elsewhere: Callable[..., RemoteModel], workbench: Run, server: StandIn, tmp_path: Path
) -> None:
    at = ("--remote", "--model", "owner/tiny")
    done = workbench("lens", CASE.prompt, *at, "--session", tmp_path / "s.json")
    assert done.code == 0, done.err
    assert f"owner/tiny at {server.address} · remote · float32" in " ".join(done.out.split())
    assert len(server.seen) == 1
    session = load_session(tmp_path / "s.json")
    again = as_command(session, session.steps[0])
    assert again.startswith("workbench lens --model=owner/tiny --remote ")
    dry = workbench("continue", CASE.prompt, *at, "--dry-run")
    assert dry.code == 0, dry.err
    assert f"to     {server.address}" in dry.out
    assert "nothing was sent" in dry.out
    assert workbench("lens", CASE.prompt, *at, "--dry-run", "--json").out.startswith(f'{{"host":"{server.address}"')
    for wrong, said in (
        (("trace", CASE.prompt, "--subject", "Australia", *at), "--remote serves lens, continue"),
        (("lens", CASE.prompt, "--dry-run", "--model", "owner/tiny"), "give --remote as well"),
        (("lens", CASE.prompt, *at, "--dtype", "float16"), "leave out --dtype"),
        (("lens", CASE.prompt, *at, "--apply", tmp_path / "p.safetensors"), "needs the weights here"),
        (("check", tmp_path / "s.json"), "no file or folder"),
    ):
        refused = workbench(*wrong)
        assert (refused.code, said in refused.err) == (2, True), refused.err
    assert len(server.seen) == 1
