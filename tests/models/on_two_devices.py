"""A model whose weights are dealt out over two devices gives the numbers of the undivided one, in every method."""

from __future__ import annotations

import json

import pytest
import torch

from tests.models.asked import CASE, EDITORS, METHODS
from tests.second_device import second_device
from tests.tiny import LAYERS, save_tiny, telling, tiny_loaded, tiny_model, tiny_tokenizer
from workbench.editing import edit
from workbench.editing.edit import EditRequest
from workbench.errors import InputError
from workbench.events import LoadRequest
from workbench.loading import load, wrap
from workbench.models.devices import placement
from workbench.protocol import silent
from workbench.registry import method
from workbench.scripting import request

IDS = torch.tensor([[5, 17, 200, 3]])


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LM_WORKBENCH_HOME", str(tmp_path))


def divided(architecture, tmp_path):
    """Layer 1 of a model of two or three on the second device, all else on the CPU."""
    model = tiny_model(architecture)
    blocks = wrap(model, tiny_tokenizer(), "whole").anatomy.blocks
    file = tmp_path / "map.json"
    file.write_text(json.dumps({"": "cpu", f"{blocks}.1": second_device()}))
    return wrap(placement("auto", str(file)).put(tiny_model(architecture)), tiny_tokenizer(), f"tiny-{architecture}")


@pytest.mark.parametrize("architecture", [*telling(), "llama", "bloom"])
def test_a_divided_model_computes_what_the_undivided_one_does_to_the_bit(architecture, tmp_path):
    model = divided(architecture, tmp_path)
    assert model.info.device == f"cpu+{second_device()}"
    assert {each.device.type for each in model.block_modules[1].parameters()} == {"second"}
    with torch.no_grad():
        found = model.hf(input_ids=IDS, use_cache=False).logits
        assert torch.equal(found, tiny_model(architecture)(input_ids=IDS, use_cache=False).logits)
    assert found.device.type == "cpu"


def answered(model, kind, fields):
    result = method(kind).run(model, request(kind, case=CASE, **fields), silent)
    return result.model_dump(mode="json")


@pytest.mark.parametrize("kind", METHODS)
def test_a_method_finds_the_same_in_a_divided_model(kind, tmp_path):
    fields = METHODS[kind]
    found, expected = (answered(model, kind, fields) for model in (divided("gpt2", tmp_path), tiny_loaded("gpt2")))
    assert found == expected


@pytest.mark.parametrize("editor", EDITORS)
def test_an_edit_of_a_divided_layer_is_the_same_and_is_undone_to_the_bit(editor, tmp_path):
    asked = EditRequest(editor=editor, case=CASE, settings=EDITORS[editor], test=False)
    model, whole = divided("llama", tmp_path), tiny_loaded("llama")
    before = [weight.clone().cpu() for weight in model.hf.parameters()]
    found, expected = (edit.run(each, asked, silent).model_dump(mode="json") for each in (model, whole))
    assert found == expected
    assert len(model.edits.active) == 1
    model.edits.undo()
    after = [weight.cpu() for weight in model.hf.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_a_map_made_here_puts_everything_on_the_one_device_that_there_is(tmp_path):
    folder = save_tiny("llama", tmp_path / "model")
    model = load(str(folder), device_map="auto")
    whole = load(str(folder), device="cpu")
    assert (model.info.device, model.info.fingerprint) == ("cpu", whole.info.fingerprint)
    with torch.no_grad():
        assert torch.equal(model.hf(input_ids=IDS).logits, whole.hf(input_ids=IDS).logits)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[]", "is not an object of devices"),
        ('{"": "disk"}', "on the disk, and weights are read and changed in memory"),
        ('{"": "cuda:77"}', "which is no device here"),
        ('{"": true}', "which is no device here"),
        ('{"model.layers.0": "cpu"}', "says nothing of model.embed_tokens"),
        ('{"": "cpu", "model.layers.99": "cpu"}', "has no such module"),
        ('{"": "cpu", "lm_head": "SECOND"}', "have one weight together"),
    ],
)
def test_a_map_that_is_none_or_does_not_fit_is_refused_in_a_sentence(text, sentence, tmp_path):
    file = tmp_path / "map.json"
    file.write_text(text.replace("SECOND", second_device()))
    with pytest.raises(InputError) as refused:
        placement("auto", str(file)).put(tiny_model("llama"))
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_map_and_a_device_at_once_and_a_map_that_is_not_there_are_refused_in_a_sentence():
    with pytest.raises(InputError, match="leave one of them out"):
        placement("cpu", "auto")
    with pytest.raises(InputError, match="takes auto, balanced, tp or a file"):
        placement("auto", "no-such-file.json")


def test_a_request_without_a_map_is_written_as_before():
    assert "device_map" not in LoadRequest(model="tiny").model_dump()
    assert len(tiny_loaded("llama").block_modules) == LAYERS
