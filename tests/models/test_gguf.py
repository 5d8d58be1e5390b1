"""Conversion of GGUF files, on a tiny one whose weights and tokens are known."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import transformers

from tests.forked import fork_children
from tests.models.tiny_gguf import write_tiny_gguf
from tests.tiny import tiny_tokenizer
from workbench.errors import Cancelled, ModelError
from workbench.models.store import gguf
from workbench.protocol import Result, silent

SENTENCE = "The Colosseum is located in the city of Rome, é [7]"


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, list[tuple[int, int]]]:
    """The tiny model, the folder its GGUF file was converted to, and what was reported meanwhile."""
    folder = tmp_path_factory.mktemp("gguf")
    model = write_tiny_gguf(folder / "tiny model.gguf")
    reports: list[tuple[int, int]] = []

    def note(done: int, total: int, partial: Result | None = None, *, stage: str = "") -> None:
        assert stage == "converting tiny"
        reports.append((done, total))

    gguf.convert(folder / "tiny model.gguf", folder / "converted", note, "converting tiny")
    return model, folder / "converted", reports


def test_every_weight_of_the_file_comes_out_exactly_as_it_was(converted: Any) -> None:
    model, folder, _ = converted
    loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    expected = model.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    for name, weight in loaded.state_dict().items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=0, msg=name)


def test_the_converted_model_computes_the_same_logits(converted: Any) -> None:
    model, folder, _ = converted
    loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokens = torch.tensor([[5, 250, 17, 99, 3]])
    with torch.no_grad():
        torch.testing.assert_close(loaded(tokens).logits, model(tokens).logits)


def test_the_converted_tokenizer_cuts_text_into_the_same_tokens(converted: Any) -> None:
    _, folder, _ = converted
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer(SENTENCE)["input_ids"] == tiny_tokenizer()(SENTENCE)["input_ids"]
    assert tokenizer.decode(tokenizer(SENTENCE)["input_ids"]) == SENTENCE


def test_progress_counts_the_bytes_of_the_file_up_to_all_of_them(converted: Any) -> None:
    _, folder, reports = converted
    size = (folder.parent / "tiny model.gguf").stat().st_size
    assert {total for _, total in reports} == {size}
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)
    assert reports[-1][0] == size


def test_a_file_that_is_no_gguf_is_an_error_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "letter.gguf"
    file.write_text("Dear model, " * 50)
    with pytest.raises(ModelError, match=r"letter\.gguf is not a GGUF file"):
        gguf.convert(file, tmp_path / "out", silent, "")
    assert not (tmp_path / "out").exists()


def test_an_architecture_that_is_not_known_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork_children(monkeypatch, "workbench.models.store.child")
    write_tiny_gguf(tmp_path / "odd.gguf", architecture="llama-of-mars")
    with pytest.raises(ModelError, match="llama-of-mars"):
        gguf.convert(tmp_path / "odd.gguf", tmp_path / "out", silent, "")


def test_a_cancelled_conversion_leaves_no_process_after(tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "tiny.gguf")
    asked = threading.Event()

    def cancelling(done: int, total: int, partial: Result | None = None, *, stage: str = "") -> None:
        running = [child for child in psutil.Process().children() if "workbench.models.store.gguf" in child.cmdline()]
        assert running, "there was something to cancel"
        asked.set()
        raise Cancelled

    with pytest.raises(Cancelled):
        gguf.convert(tmp_path / "tiny.gguf", tmp_path / "out", cancelling, "")
    assert asked.is_set()
    assert not [child for child in psutil.Process().children() if "workbench.models.store.gguf" in child.cmdline()]
