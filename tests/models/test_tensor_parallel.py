"""Tensor parallel: every matrix divided over two processes, by transformers' own plan, on the CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import forked
from tests.models.divided import ASKED, found
from tests.test_cli import Run, workbench
from tests.tiny import save_tiny
from workbench.errors import InputError
from workbench.models.devices import placement
from workbench.registry import check_divided, method

__all__ = ["workbench"]

LAUNCH = """
import sys, uuid
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from tests.models.divided import main
alone = dict(rdzv_backend="c10d", rdzv_endpoint="localhost:0", run_id=str(uuid.uuid4()))
elastic_launch(LaunchConfig(1, 1, nproc_per_node=2, start_method="fork", **alone), main)(sys.argv[1])
"""
"""What `torchrun --standalone --nproc-per-node 2` does, but that both processes are forked with their imports done."""


def numbers(value: Any) -> list[float]:
    """All floats of a result, in order, without its checks, which say in words how far rounding goes."""
    if isinstance(value, dict):
        return [each for name, inner in value.items() if name != "checks" for each in numbers(inner)]
    if isinstance(value, list):
        return [each for inner in value for each in numbers(inner)]
    return [value] if isinstance(value, float) else []


def words(value: Any) -> Any:
    """The same result without its floats."""
    if isinstance(value, dict):
        return {name: words(inner) for name, inner in value.items() if name != "checks"}
    if isinstance(value, list):
        return [words(inner) for inner in value]
    return None if isinstance(value, float) else value


def test_methods_find_the_same_of_a_model_that_is_divided(tmp_path: Path) -> None:
    folder = save_tiny("llama", tmp_path / "model")
    done = forked.run("-c", LAUNCH, folder)
    assert done.returncode == 0, done.stderr
    divided, whole = json.loads(done.stdout), found(str(folder))
    assert len(divided) == len(ASKED)
    for one, other in zip(divided, whole, strict=True):
        assert words(one) == words(other)
        assert numbers(one) == pytest.approx(numbers(other), rel=1e-3, abs=1e-5)


def test_only_the_first_process_speaks(workbench: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("lens", "A prompt", "--device-map", "tp", "--model", save_tiny("llama", tmp_path / "model"))
    first = workbench(*asked)
    assert (first.code, "torchrun --standalone --nproc-per-node N" in first.err) == (2, True)
    monkeypatch.setenv("RANK", "1")
    second = workbench(*asked, "--session", tmp_path / "s.json")
    assert (second.code, second.out, second.err) == (2, "", "")
    assert not (tmp_path / "s.json").exists()


def test_what_cannot_be_divided_is_one_sentence() -> None:
    with pytest.raises(InputError, match=r"“Edit” needs whole matrices; --device-map tp serves lens, patchscope, "):
        check_divided(method("edit"))
    with pytest.raises(InputError, match="divides every matrix over several processes"):
        placement("auto", "tp")
