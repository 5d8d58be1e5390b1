"""Adapters of the peft library: alone, beside their base, unmerged in one file; merged as peft itself computes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.test_edits import digest, weight_edit
from tests.tiny import save_tiny, tiny_loaded, tiny_model
from workbench.editing import operations
from workbench.editing.operations import QueueRequest, QueueResult
from workbench.editing.patches import load_patch
from workbench.errors import ModelError, WorkbenchError
from workbench.loading import load
from workbench.models import adapters
from workbench.protocol import silent

IDS = torch.tensor([[5, 17, 200, 3]])


def adapted(folder: Path, base: Path, architecture: str = "llama", **settings: Any) -> torch.Tensor:
    """Save a random adapter of the base to a folder, and return the logits with it."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(**{"r": 2, "lora_alpha": 6, "target_modules": ["q_proj", "down_proj"], **settings})
    model = peft.get_peft_model(tiny_model(architecture), config)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)
    stated = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**stated, "base_model_name_or_path": str(base)}))
    torch.save(model.state_dict(), folder / "whole.pt")
    with torch.no_grad():
        return model.eval()(input_ids=IDS, use_cache=False).logits


def asked(loaded: Any, **fields: Any) -> QueueResult:
    return operations.run(loaded, QueueRequest(**fields), silent)


def logits_of(spec: str) -> torch.Tensor:
    with torch.no_grad():
        return load(spec, device="cpu").hf(input_ids=IDS, use_cache=False).logits


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return save_tiny("llama", tmp_path / "base")


@pytest.mark.parametrize(
    "settings", [{}, {"use_rslora": True}, {"use_dora": True}, {"modules_to_save": ["lm_head"]}], ids=str
)
def test_an_adapter_alone_is_merged_into_the_base_that_it_names(tmp_path: Path, base: Path, settings: Any) -> None:
    expected = adapted(tmp_path / "lora", base, **settings)
    plain = logits_of(str(base))
    assert (expected - plain).abs().max() > 0.01  # or this test shows nothing
    torch.testing.assert_close(logits_of(str(tmp_path / "lora")), expected, atol=1e-5, rtol=1e-4)


def test_another_base_can_be_named_and_both_are_in_name_and_fingerprint(tmp_path: Path, base: Path) -> None:
    expected = adapted(tmp_path / "lora", tmp_path / "nowhere")
    with pytest.raises(ModelError, match="nowhere"):
        load(str(tmp_path / "lora"), device="cpu")
    spec = f"{base}+{tmp_path / 'lora'}"
    loaded = load(spec, device="cpu")
    torch.testing.assert_close(loaded.hf(IDS, use_cache=False).logits, expected, atol=1e-5, rtol=1e-4)
    assert loaded.info.name == spec
    assert loaded.info.adapter == "lora"
    assert loaded.info.fingerprint != load(str(base), device="cpu").info.fingerprint
    scaled = tmp_path / "lora" / "adapter_config.json"
    scaled.write_text(scaled.read_text().replace('"lora_alpha": 6', '"lora_alpha": 7'))
    assert load(spec, device="cpu").info.fingerprint != loaded.info.fingerprint


def test_an_adapter_beside_its_base_is_merged(tmp_path: Path, base: Path) -> None:
    expected = adapted(tmp_path / "lora", base)
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(tmp_path / "lora" / file, base / file)
    torch.testing.assert_close(logits_of(str(base)), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("settings", [{}, {"use_dora": True}], ids=str)
def test_an_adapter_unmerged_in_the_file_of_the_weights_is_merged(tmp_path: Path, base: Path, settings: Any) -> None:
    expected = adapted(tmp_path / "lora", base, **settings)
    whole = torch.load(tmp_path / "lora" / "whole.pt")
    whole = {name: tensor.clone() for name, tensor in whole.items() if "lm_head" not in name}  # tied
    save_file(whole, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"only its adapter_config\.json says at which scale"):
        load(str(base), device="cpu")
    shutil.copy(tmp_path / "lora" / "adapter_config.json", base)
    torch.testing.assert_close(logits_of(str(base)), expected, atol=1e-5, rtol=1e-4)


def test_input_first_matrices_are_merged_the_right_way_round(tmp_path: Path) -> None:
    base = save_tiny("gpt2", tmp_path / "base")
    expected = adapted(tmp_path / "lora", base, "gpt2", target_modules=["c_proj"], fan_in_fan_out=True)
    torch.testing.assert_close(logits_of(str(tmp_path / "lora")), expected, atol=1e-5, rtol=1e-4)


def test_an_adapter_that_does_not_fit_is_refused_in_a_sentence(tmp_path: Path, base: Path) -> None:
    adapted(tmp_path / "lora", base)
    file = tmp_path / "lora" / "adapter_model.safetensors"
    tensors = load_file(file)
    first = next(iter(tensors))
    save_file({name: tensor for name, tensor in tensors.items() if name != first}, file)
    with pytest.raises(ModelError, match=r"1 tensors of the adapter .* do not match"):
        load(str(tmp_path / "lora"), device="cpu")
    save_file({**tensors, first: torch.ones(3, 3)}, file)
    with pytest.raises(ModelError, match="does not fit the model"):
        load(str(tmp_path / "lora"), device="cpu")
    file.unlink()
    with pytest.raises(ModelError, match=r"has a adapter_config\.json and no|has a .* and no"):
        load(str(tmp_path / "lora"), device="cpu")
    (tmp_path / "lora" / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match="is a pickle"):
        load(str(tmp_path / "lora"), device="cpu")


def test_what_prepends_states_is_no_change_of_weights(tmp_path: Path, base: Path) -> None:
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(
        tiny_model("llama"), peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    )
    model.save_pretrained(tmp_path / "prompt")
    with pytest.raises(ModelError, match=r"\(PROMPT_TUNING\) is no change of weights"):
        load(f"{base}+{tmp_path / 'prompt'}", device="cpu")


def test_an_adapter_whose_file_would_import_a_library_is_refused(tmp_path: Path, base: Path) -> None:
    adapted(tmp_path / "lora", base)
    config = tmp_path / "lora" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "megatron_config": {}, "megatron_core": "this"}))
    config.write_text(config.read_text().replace('"megatron_config": {}', '"megatron_config": {"a": 1}'))
    with pytest.raises(ModelError, match="names a library of its own to import"):
        load(str(tmp_path / "lora"), device="cpu")


def test_without_the_library_the_sentence_says_how_to_install_it(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (base / "adapter_config.json").write_text("{}")
    monkeypatch.setattr(adapters, "find_spec", lambda _name: None)
    with pytest.raises(ModelError, match=r"pip install 'lm-workbench\[peft\]'"):
        load(str(base), device="cpu")


def test_a_spec_is_a_base_and_an_adapter_only_where_there_is_one(tmp_path: Path) -> None:
    folder = tmp_path / "a+b"
    folder.mkdir()
    assert adapters.split(str(folder)) == (None, str(folder))
    assert adapters.split(f"smollm2-135m+{tmp_path}") == (None, f"smollm2-135m+{tmp_path}")
    (folder / "adapter_config.json").write_text("{}")
    assert adapters.split(f"smollm2-135m+{folder}") == ("smollm2-135m", str(folder))


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [("llama", {"use_rslora": True}), ("gpt2", {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True})],
    ids=["llama", "gpt2"],
)
def test_an_adapter_is_an_edit_that_is_on_and_off_beside_others_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, settings: Any
) -> None:
    monkeypatch.setenv("LM_WORKBENCH_HOME", str(tmp_path / "home"))
    expected = adapted(tmp_path / "lora", tmp_path / "base", architecture, **settings)
    loaded = tiny_loaded(architecture)
    original = digest(loaded)

    def logits() -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = loaded.hf(input_ids=IDS, use_cache=False).logits
        return found

    plain = logits()
    done = asked(loaded, action="apply", path=str(tmp_path / "lora"))
    (entry,) = done.queue.entries
    assert entry.info.method == "adapter"
    torch.testing.assert_close(logits(), expected, atol=1e-5, rtol=1e-4)
    with_adapter = digest(loaded)
    loaded.edits.add(weight_edit(loaded, "000000cd", layer=1))  # of a matrix that the adapter changes too
    loaded.edits.switch(entry.info.id, False)
    loaded.edits.switch("000000cd", False)
    assert digest(loaded) == original
    assert torch.equal(logits(), plain)
    loaded.edits.switch(entry.info.id, True)
    assert digest(loaded) == with_adapter
    again = tiny_loaded(architecture)  # and a session that is continued has it from the cache
    asked(again, action="restore", entries=loaded.edits.entries[:1])
    assert digest(again) == with_adapter


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"use_dora": True}, r"does more than add products of low rank \(use_dora\)"),
        ({"modules_to_save": ["lm_head"]}, r"does more than add products of low rank \(modules_to_save\)"),
        ({"target_modules": ["lm_head", "q_proj"]}, "holds .*lm_head.*, which is of no product"),
    ],
    ids=["dora", "saved", "outside"],
)
def test_an_adapter_that_is_no_sum_of_products_in_the_layers_is_refused_as_an_edit(
    tmp_path: Path, settings: Any, sentence: str
) -> None:
    adapted(tmp_path / "lora", tmp_path / "base", **settings)
    with pytest.raises(WorkbenchError, match=sentence):
        load_patch(tmp_path / "lora", tiny_loaded("llama"))
