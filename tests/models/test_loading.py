"""Opening model folders: what loads, what is refused and in which words, and how weights are identified."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.tiny import ARCHITECTURES, save_tiny, tiny_loaded, tiny_model, tiny_tokenizer
from workbench.case import Case
from workbench.errors import Cancelled, InputError, ModelError, OutOfMemory
from workbench.loading import load, wrap
from workbench.models.forward import unembedding
from workbench.models.store.checkpoint import fingerprint, stored_tensors
from workbench.models.tokens import encode

IDS = torch.tensor([[5, 17, 200, 3]])


@pytest.fixture
def folder(tmp_path):
    return save_tiny("llama", tmp_path / "model")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_model_is_loaded_with_the_same_logits(architecture, tmp_path):
    saved = save_tiny(architecture, tmp_path / "model")
    loaded = load(str(saved), device="cpu")
    with torch.no_grad():
        expected = tiny_model(architecture)(input_ids=IDS, use_cache=False).logits
        found = loaded.hf(input_ids=IDS, use_cache=False).logits
    assert torch.equal(found, expected)
    assert not loaded.hf.training
    assert not any(parameter.requires_grad for parameter in loaded.hf.parameters())
    assert loaded.info.attention_kernel == loaded.hf.config._attn_implementation
    assert loaded.info.parameters == sum(parameter.numel() for parameter in loaded.hf.parameters())


def test_info_says_what_was_loaded(folder):
    info = load(str(folder), device="cpu").info
    assert (info.name, info.architecture, info.layers, info.d_model) == (str(folder), "llama", 3, 16)
    assert (info.vocabulary, info.context, info.dtype, info.device) == (300, 64, "float32", "cpu")
    assert info.chat_template is False
    assert info.attention_kernel == "sdpa"


def test_gemma_2_runs_with_the_eager_kernel_because_it_refuses_sdpa(tmp_path):
    assert load(str(save_tiny("gemma2", tmp_path / "model")), device="cpu").info.attention_kernel == "eager"


def test_the_loaded_tokenizer_is_the_saved_one(folder):
    tokenizer = load(str(folder), device="cpu").tokenizer
    text = "The capital of Australia is Canberra…"
    found, expected = (each(text, return_offsets_mapping=True) for each in (tokenizer, tiny_tokenizer()))
    assert found["input_ids"] == expected["input_ids"]
    assert found["offset_mapping"] == expected["offset_mapping"]
    assert tokenizer.eos_token_id == 0


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
def test_a_dtype_is_taken_by_name(folder, name):
    loaded = load(str(folder), dtype=name, device="cpu")
    assert loaded.info.dtype == name
    assert loaded.hf.dtype == getattr(torch, name)
    states = torch.ones(2, 16, dtype=loaded.hf.dtype)
    assert loaded.unembed(states).dtype == loaded.hf.dtype


def test_auto_is_float32_on_a_cpu_whatever_was_saved(folder):
    _change_config(folder, dtype="bfloat16")
    assert load(str(folder), device="cpu").info.dtype == "float32"


@pytest.mark.parametrize("name", ["float64", "int8", "half", ""])
def test_another_dtype_is_an_input_error(folder, name):
    with pytest.raises(InputError, match="is not a dtype for a model; use auto, float32, float16, bfloat16"):
        load(str(folder), dtype=name, device="cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", ""])
def test_a_device_that_is_not_there_is_an_input_error(folder, name):
    with pytest.raises(InputError, match=r"there is no device .* here; use auto, cpu, cuda"):
        load(str(folder), device=name)


def test_progress_tells_the_stages_in_order(folder):
    told = []
    load(
        str(folder),
        device="cpu",
        progress=lambda done, total, partial=None, *, stage="": told.append((done, stage)),
    )
    stages = ["checking the model's files", "reading the tokenizer", "loading the weights"]
    assert list(dict.fromkeys(stage for _, stage in told if stage in stages)) == stages


def test_loading_prints_nothing_and_puts_the_settings_back(folder, capfd):
    log = transformers.logging
    before = (log.get_verbosity(), log.is_progress_bar_enabled())
    log.set_verbosity_info()
    log.enable_progress_bar()
    try:
        load(str(folder), device="cpu")
        captured = capfd.readouterr()
        assert (captured.out, captured.err) == ("", "")
        assert (log.get_verbosity(), log.is_progress_bar_enabled()) == (log.INFO, True)
        (folder / "model.safetensors").unlink()
        with pytest.raises(ModelError):
            load(str(folder), device="cpu")
        assert (log.get_verbosity(), log.is_progress_bar_enabled()) == (log.INFO, True)
    finally:
        log.set_verbosity(before[0])
        if not before[1]:
            log.disable_progress_bar()


def test_importing_the_loader_imports_no_torch():
    code = "import sys, workbench.loading; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# What is refused


def test_a_folder_without_a_config_is_not_a_model(folder):
    (folder / "config.json").unlink()
    _refused(folder, "is not a model: it has no config.json")


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_config_that_is_not_an_object_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    _refused(folder, "config.json (is not valid JSON|does not hold a JSON object)")


@pytest.mark.parametrize(
    ("model_type", "kind"), [("bert", "an encoder"), ("t5", "not a causal language model"), ("vit", "not a causal")]
)
def test_a_model_that_does_not_read_left_to_right_is_refused(folder, model_type, kind):
    _change_config(folder, model_type=model_type)
    _refused(folder, rf"is {kind}.*\({model_type}\); the workbench needs a decoder that reads left to right")


def test_an_encoder_decoder_that_also_has_a_causal_class_is_refused(folder):
    _change_config(folder, model_type="bart", is_encoder_decoder=True)
    _refused(folder, r"not a causal language model \(bart\)")


def test_custom_code_is_refused_and_not_run(folder):
    _change_config(folder, model_type="homemade", auto_map={"AutoModelForCausalLM": "modeling.Homemade"})
    (folder / "modeling.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    _refused(folder, "brings its own code for the architecture homemade, which is never run")
    assert not (folder / "ran").exists()


def test_an_architecture_nobody_knows_is_refused(folder):
    _change_config(folder, model_type="homemade")
    _refused(folder, "names the architecture homemade, which the transformers library does not know")


def test_a_configuration_that_calls_plain_weights_quantised_is_refused(folder):
    _change_config(folder, quantization_config={"quant_method": "gptq", "bits": 4})
    _refused(
        folder, r"says that it is quantised \(gptq 4-bit\), and none of its weights is; take the quantization_config"
    )


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth"])
def test_pickled_weights_are_refused_with_the_way_to_convert_them(folder, name):
    (folder / "model.safetensors").unlink()
    torch.save(tiny_model("llama").state_dict(), folder / name)
    _refused(folder, rf"has its weights in {name}, a pickle, which is refused because .* save_pretrained")


def test_missing_weights_are_refused(folder):
    (folder / "model.safetensors").unlink()
    _refused(folder, r"has no model\.safetensors")


@pytest.mark.parametrize("kept", [-1, 0.5, 200, 4, 0])
def test_truncated_weights_are_refused_before_loading(folder, kept):
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    _refused(folder, r"model\.safetensors is truncated or not a safetensors file")


def test_weights_with_bytes_after_the_last_tensor_are_refused(folder):
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    _refused(folder, r"model\.safetensors is truncated or not a safetensors file")


def test_a_file_that_only_has_the_name_of_safetensors_is_refused(folder):
    (folder / "model.safetensors").write_bytes((4).to_bytes(8, "little") + b"[{}]")
    _refused(folder, "is truncated or not a safetensors file")


def test_weights_that_lack_a_tensor_are_refused_rather_than_made_up(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.1.mlp.down_proj.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    _refused(folder, r"lack 1 tensors that the model needs, model\.layers\.1\.mlp\.down_proj\.weight first")


def test_tensors_without_a_place_in_the_model_are_refused_by_name(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    biases = {f"model.layers.{layer}.mlp.down_proj.bias": torch.ones(16) for layer in range(3)}
    save_file({**tensors, **biases, "model.layers.2.extra": torch.ones(2)}, path, metadata={"format": "pt"})
    _refused(folder, r"4 tensors .* have no place in the model .*\(model\.layers\.0\.mlp\.down_proj\.bias, .*, …\)")


def test_what_the_library_computes_by_itself_may_stand_in_the_file(folder):
    path = folder / "model.safetensors"
    extra = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(2)}
    save_file({**load_file(path), **extra}, path, metadata={"format": "pt"})
    assert load(str(folder), device="cpu").info.layers == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(folder, value):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["model.layers.1.mlp.down_proj.weight"][0, :2] = value
    save_file(tensors, path, metadata={"format": "pt"})
    _refused(folder, r"2 numbers of model\.layers\.1\.mlp\.down_proj\.weight .* are NaN or infinite, so the file is")


def test_weights_too_large_for_float16_are_refused_with_a_dtype_that_holds_them(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["model.layers.1.mlp.down_proj.weight"][0, 0] = 1e6
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="too large for float16; load the model with --dtype bfloat16 or float32"):
        load(str(folder), "float16", "cpu")
    assert load(str(folder), "bfloat16", "cpu").info.dtype == "bfloat16"


def test_what_to_do_about_numbers_that_are_not_finite_is_never_what_was_done_already():
    said = str(tiny_loaded("llama").not_finite("the logits are"))
    assert "float32;" in said
    assert "--dtype" not in said
    assert "use another checkpoint" in said
    said = str(tiny_loaded("llama", dtype=torch.float16).not_finite("the loss is", "use a smaller rate"))
    assert said == "the loss is not finite in float16; use a smaller rate, or load the model with --dtype float32"


def test_weights_of_another_size_are_refused(folder):
    _change_config(folder, intermediate_size=48)
    _refused(folder, "cannot be loaded")


def test_a_missing_shard_is_named(tmp_path):
    sharded = _sharded(tmp_path / "sharded")
    lost = sorted(sharded.glob("model-*.safetensors"))[1]
    lost.unlink()
    _refused(sharded, f"lacks {lost.name}, which model.safetensors.index.json names")


@pytest.mark.parametrize(
    "shard", ["../other/model.safetensors", "/etc/passwd", {"kind": "rome"}, "a\nb.safetensors", 7]
)
def test_an_index_that_names_no_file_beside_it_is_refused(tmp_path, shard):
    sharded = _sharded(tmp_path / "sharded")
    save_tiny("llama", tmp_path / "other")
    index = sharded / "model.safetensors.index.json"
    named = json.loads(index.read_text())
    named["weight_map"][min(named["weight_map"])] = shard
    index.write_text(json.dumps(named))
    _refused(sharded, "does not say for every tensor which safetensors file beside it holds it")


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"a":' * 200_000, "[]", '{"model_type": ["llama"]}', '{"model_type": 3}']
)
def test_a_config_that_is_no_configuration_is_one_sentence(folder, text):
    (folder / "config.json").write_text(text)
    _refused(folder, "fetch the model again")


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 10**30]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": ["2"], "data_offsets": [0, 8]},
        {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
    ],
)
def test_a_header_that_describes_no_tensor_is_refused(folder, entry):
    header = json.dumps({"w": entry}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    _refused(folder, "is truncated or not a safetensors file")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("attn_implementation", "owner/kernel"),
        ("_attn_implementation", "owner/kernel@main:run"),
        ("_attn_implementation_internal", "kernels-community/flash-attn"),
        ("_attn_implementation", {"text_config": "owner/kernel"}),
        ("text_config", {"_attn_implementation": "owner/kernel"}),
        ("kernel_config", {"RMSNorm": "owner/kernel"}),
    ],
)
def test_a_kernel_from_elsewhere_is_refused(folder, key, value):
    _change_config(folder, **{key: value})
    _refused(folder, "asks for the attention kernel .*, code from elsewhere that is never fetched or run")


def test_a_truncated_shard_is_named(tmp_path):
    sharded = _sharded(tmp_path / "sharded")
    short = sorted(sharded.glob("model-*.safetensors"))[0]
    short.write_bytes(short.read_bytes()[:-1])
    _refused(sharded, f"{short.name} is truncated")


def test_a_missing_tokenizer_is_refused(folder):
    (folder / "tokenizer.json").unlink()
    _refused(folder, "has no tokenizer; copy the tokenizer.json")


def test_a_broken_tokenizer_is_refused(folder):
    (folder / "tokenizer.json").write_text("{}")
    _refused(folder, "the tokenizer in .* cannot be read")


def test_a_tokenizer_without_offsets_is_refused(folder):
    transformers.ByT5Tokenizer().save_pretrained(folder)
    _refused(folder, r"\(ByT5Tokenizer\) does not say where in the text its tokens lie")


def test_a_token_without_an_embedding_is_a_sentence_where_it_is_used(folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["Zorpland"] + [f"<{number}>" for number in range(300 - len(tokenizer))])
    tokenizer.save_pretrained(folder)
    model = load(str(folder))
    assert encode(model.tokenizer, Case(prompt="The capital", target="of")).ids
    tokenizer.add_tokens([f"<more {number}>" for number in range(300)])
    tokenizer.save_pretrained(folder)
    model = load(str(folder))
    for case in (Case(prompt="The <more 299>"), Case(prompt="The capital", target="<more 299>")):
        with pytest.raises(InputError, match=r'no embedding for the token "<more 299>".*of 300 embedded'):
            encode(model.tokenizer, case)
    with pytest.raises(InputError, match="no embedding"):
        model.hf(torch.tensor([[599]]))
    assert encode(model.tokenizer, Case(prompt="The capital", target="of")).ids


def test_an_architecture_with_several_streams_is_refused_by_name(tmp_path):
    config = transformers.AutoConfig.for_model(
        "gemma3n_text",
        vocab_size=300,
        vocab_size_per_layer_input=300,
        hidden_size=16,
        hidden_size_per_layer_input=8,
        intermediate_size=[40] * 3,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=4,
        num_kv_shared_layers=1,
        layer_types=["sliding_attention", "full_attention", "full_attention"],
        activation_sparsity_pattern=[0.0] * 3,
        laurel_rank=4,
        altup_num_inputs=2,
        altup_active_idx=0,
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    _refused(tmp_path, "the architecture gemma3n_text keeps 2 streams of states beside one another")


def test_a_job_can_stop_before_each_piece_of_logits(monkeypatch):
    model = tiny_loaded("llama")
    monkeypatch.setattr(unembedding, "LOGITS_BUDGET", 4 * model.info.vocabulary)  # a position at a time
    read = []

    def look(*_):
        if len(read) == 2:
            raise Cancelled

    for module in model.checkpoints:
        module.register_forward_pre_hook(look)
    rows = [unembedding.TextRow(ids=(5, 17, 200, 3), positions=(0, 1, 2, 3))]
    with pytest.raises(Cancelled):
        list(unembedding.read_predictions(model, rows, lambda places, _log_p: read.extend(places)))
    assert len(read) == 2


def test_a_load_that_is_cancelled_while_a_library_reads_the_weights_stops_at_once(folder, monkeypatch):
    began, goes_on = threading.Event(), threading.Event()
    real = transformers.AutoModelForCausalLM.from_pretrained

    def slow(*arguments, **options):
        began.set()
        assert goes_on.wait(300)
        return real(*arguments, **options)

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", slow)

    def cancelling(done, total, partial=None, *, stage=""):
        if began.is_set():
            raise Cancelled

    with pytest.raises(Cancelled):
        load(str(folder), progress=cancelling)
    assert not goes_on.is_set(), "it did not wait for the library"
    goes_on.set()
    assert load(str(folder)).info.layers == 3


def test_a_model_that_does_not_fit_on_the_device_says_how_large_it_is(folder, monkeypatch):
    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(transformers.PreTrainedModel, "to", full)
    with pytest.raises(OutOfMemory, match=r"the model needs 0\.0 GiB on cpu; use --dtype bfloat16, --device cpu"):
        load(str(folder), device="cpu")


# Fingerprints


def test_one_changed_weight_anywhere_changes_the_fingerprint(folder):
    path = folder / "model.safetensors"
    before = _fingerprint(folder)
    for name in load_file(path):
        tensors = load_file(path)
        weight = tensors[name].view(-1)
        middle = len(weight) // 2
        weight[middle] = torch.nextafter(weight[middle], torch.tensor(torch.inf))
        changed = folder.parent / "changed"
        changed.mkdir(exist_ok=True)
        save_file(tensors, changed / "model.safetensors")
        assert _fingerprint(changed) != before, name


def test_two_tensors_that_change_places_change_the_fingerprint(folder):
    path = folder / "model.safetensors"
    before = _fingerprint(folder)
    tensors = load_file(path)
    first, second = (f"model.layers.{layer}.mlp.up_proj.weight" for layer in (0, 1))
    tensors[first], tensors[second] = tensors[second], tensors[first]
    save_file(tensors, path)
    assert _fingerprint(folder) != before


def test_the_fingerprint_knows_no_path_dtype_or_shards(folder, tmp_path):
    plain = load(str(folder), device="cpu").info.fingerprint
    assert len(plain) == 16
    assert int(plain, 16) > 0
    assert plain == load(str(folder), dtype="bfloat16", device="cpu").info.fingerprint
    assert plain == load(str(_sharded(tmp_path / "sharded")), device="cpu").info.fingerprint
    assert plain == load(str(folder.rename(tmp_path / "moved")), device="cpu").info.fingerprint


def test_a_live_model_is_identified_by_its_weights():
    first, again, other = tiny_loaded("gpt2"), tiny_loaded("gpt2"), tiny_loaded("gpt2", seed=1)
    assert first.info.fingerprint == again.info.fingerprint != other.info.fingerprint
    half = tiny_loaded("gpt2", dtype=torch.bfloat16)  # its live bytes are all that is known of it
    assert half.info.fingerprint != first.info.fingerprint
    with torch.no_grad():
        first.down_projection(1).weight[3, 5] += 1e-3
    assert wrap(first.hf, first.tokenizer, "edited").info.fingerprint != again.info.fingerprint


def test_changing_loaded_weights_leaves_the_file_alone(folder):
    before = _fingerprint(folder)
    loaded = load(str(folder), device="cpu")
    with torch.no_grad():
        for parameter in loaded.hf.parameters():
            parameter += 1.0
    assert _fingerprint(folder) == before


def test_a_model_can_be_wrapped_twice():
    first = tiny_loaded("falcon")
    second = wrap(first.hf, first.tokenizer, "again")
    with torch.no_grad():
        assert torch.equal(first.hf(IDS).logits, tiny_model("falcon")(IDS).logits)
        with second.nn.trace(input_ids=IDS, use_cache=False):
            logits = second.nn.output.logits.save()
        assert torch.equal(logits, tiny_model("falcon")(IDS).logits)


def _refused(folder, message):
    with pytest.raises(ModelError, match=message) as refusal:
        load(str(folder), device="cpu")
    assert "\n" not in str(refusal.value)


def _change_config(folder, **settings):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def _sharded(folder):
    tiny_model("llama").save_pretrained(folder, max_shard_size="10KB")
    tiny_tokenizer().save_pretrained(folder)
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    return folder


def _fingerprint(folder):
    return fingerprint(stored_tensors(folder))
