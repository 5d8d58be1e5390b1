"""Quantised checkpoints are loaded as the plain weights that they stand for; each format is packed number by number."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.models.test_adapters import adapted
from tests.tiny import save_tiny, tiny_tokenizer
from workbench.errors import ModelError
from workbench.loading import load
from workbench.models.store import unpacking
from workbench.models.store.catalog import describe

IDS = torch.tensor([[5, 17, 200, 3]])
Packed = tuple[torch.Tensor, dict[str, torch.Tensor]]
"""A weight as it should come out ``(written, read)``, and what it is stored as, by the endings of names."""


def words(rows: torch.Tensor, bits: int) -> torch.Tensor:
    """Whole numbers ``(rows, n)`` in words of 32 bits ``(rows, n · bits / 32)``, in order, lowest bits first."""
    per_word = 32 // bits
    packed = []
    for row in rows.tolist():
        row = row + [0] * (-len(row) % per_word)
        values = [
            sum(int(v) << (bits * at) for at, v in enumerate(row[i : i + per_word]))
            for i in range(0, len(row), per_word)
        ]
        packed.append([value - 2**32 if value >= 2**31 else value for value in values])
    return torch.tensor(packed, dtype=torch.int32)


def chances(seed: str) -> torch.Generator:
    return torch.Generator().manual_seed(len(seed) + sum(map(ord, seed)))


def whole(shape: tuple[int, ...], below: int, seed: str) -> torch.Tensor:
    return torch.randint(0, below, shape, generator=chances(seed))


def scales_of(*shape: int, seed: str) -> torch.Tensor:
    return (0.01 + 0.05 * torch.rand(shape, generator=chances(seed))).half()


def as_gptq(name: str, written: int, read: int, bits: int = 4, version: int = 1, ordered: bool = True) -> Packed:
    groups = read // 8
    numbers, zeros = whole((written, read), 2**bits, name), whole((groups, written), 2**bits - 1, name + "z") + 1
    scales = scales_of(groups, written, seed=name)
    group = torch.arange(read) // 8 if ordered else torch.randperm(read, generator=chances(name)) // 8
    weight = torch.empty(written, read)
    for i in range(read):
        weight[:, i] = scales[group[i]].float() * (numbers[:, i] - zeros[group[i]])
    stored = {
        ".qweight": words(numbers, bits).T.contiguous(),
        ".qzeros": words(zeros - 1 if version == 1 else zeros, bits),
        ".scales": scales,
    }
    return weight, stored if ordered else {**stored, ".g_idx": group.int()}


def as_awq(name: str, written: int, read: int) -> Packed:
    """Column 8k + order[i] lies at place i of word k."""
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    groups = read // 8
    numbers, zeros = whole((read, written), 16, name), whole((groups, written), 16, name + "z")
    scales = scales_of(groups, written, seed=name)
    places = torch.tensor([8 * (column // 8) + order[column % 8] for column in range(written)])
    weight = torch.stack([scales[i // 8].float() * (numbers[i] - zeros[i // 8]) for i in range(read)], dim=1)
    return weight, {".qweight": words(numbers[:, places], 4), ".qzeros": words(zeros[:, places], 4), ".scales": scales}


def as_bitsandbytes(name: str, written: int, read: int, nested: bool = False) -> Packed:
    table = torch.linspace(-1, 1, 16)
    numbers = whole((written * read,), 16, name)
    blocks = -(-written * read // 64)
    state: dict[str, Any] = {"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [written, read]}
    stored = {".weight": (numbers[0::2] * 16 + numbers[1::2]).to(torch.uint8)[:, None], ".weight.quant_map": table}
    if nested:
        places, finer = whole((blocks,), 256, name + "n"), torch.linspace(-1, 1, 256)
        largest = torch.tensor([0.2 + 0.1 * i for i in range(-(-blocks // 4))])
        absmax = torch.tensor([finer[places[i]] * largest[i // 4] + 0.5 for i in range(blocks)])
        state |= {"nested_blocksize": 4, "nested_dtype": "float32", "nested_offset": 0.5}
        stored |= {
            ".weight.absmax": places.to(torch.uint8),
            ".weight.nested_absmax": largest,
            ".weight.nested_quant_map": finer,
        }
    else:
        absmax = 0.1 + torch.rand(blocks, generator=chances(name))
        stored |= {".weight.absmax": absmax}
    weight = torch.tensor([table[number] * absmax[i // 64] for i, number in enumerate(numbers)]).reshape(written, read)
    text = torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)
    return weight, {**stored, ".weight.quant_state.bitsandbytes__nf4": text}


def as_int8(name: str, written: int, read: int) -> Packed:
    numbers = whole((written, read), 255, name) - 127
    largest = 0.2 + torch.rand(written, generator=chances(name))
    weight = torch.stack([numbers[row] * largest[row] / 127 for row in range(written)])
    return weight, {
        ".weight": numbers.to(torch.int8),
        ".SCB": largest,
        ".weight_format": torch.tensor(0, dtype=torch.uint8),
    }


def as_float8(name: str, written: int, read: int) -> Packed:
    """A scale for each block of 12 × 16, the last ones of an axis smaller."""
    stored = torch.randn(written, read, generator=chances(name)).to(torch.float8_e4m3fn)
    scales = scales_of(-(-written // 12), -(-read // 16), seed=name).float() * 5
    weight = torch.tensor(
        [[float(stored[i, j]) * float(scales[i // 12, j // 16]) for j in range(read)] for i in range(written)]
    )
    return weight, {".weight": stored, ".weight_scale_inv": scales, ".activation_scale": torch.tensor(1.0)}


def as_float8_rows(name: str, written: int, read: int) -> Packed:
    stored = torch.randn(written, read, generator=chances(name)).to(torch.float8_e4m3fn)
    scales = scales_of(written, 1, seed=name).float() * 5
    weight = torch.stack([stored[row].float() * scales[row] for row in range(written)])
    return weight, {".weight": stored, ".weight_scale": scales, ".input_scale": torch.tensor(1.0)}


def as_compressed(name: str, written: int, read: int, symmetric: bool = False) -> Packed:
    numbers, scales = whole((written, read), 16, name), scales_of(written, read // 8, seed=name)
    zeros = torch.full((written, read // 8), 8) if symmetric else whole((written, read // 8), 16, name + "z")
    weight = torch.stack([scales[:, i // 8].float() * (numbers[:, i] - zeros[:, i // 8]) for i in range(read)], dim=1)
    stored = {
        ".weight_packed": words(numbers, 4),
        ".weight_scale": scales,
        ".weight_shape": torch.tensor([written, read]),
    }
    return weight, stored if symmetric else {**stored, ".weight_zero_point": words(zeros.T, 4).T.contiguous()}


def settings_of_compressed(layout: str, **more: Any) -> dict[str, Any]:
    settings = {"quant_method": "compressed-tensors", "format": layout, "quantization_status": "compressed"}
    return {**settings, "config_groups": {"group_0": {"weights": {"num_bits": 4}, **more}}}


FORMATS: dict[str, tuple[Callable[[str, int, int], Packed], dict[str, Any], str]] = {
    "gptq": (as_gptq, {"quant_method": "gptq", "bits": 4, "group_size": 8}, "gptq 4-bit"),
    "gptq, 8 bits, version 2, by activations": (
        lambda *of: as_gptq(*of, bits=8, version=2, ordered=False),
        {"quant_method": "gptq", "bits": 8, "checkpoint_format": "gptq_v2"},
        "gptq 8-bit",
    ),
    "awq": (as_awq, {"quant_method": "awq", "bits": 4, "group_size": 8, "version": "gemm"}, "awq 4-bit"),
    "nf4": (
        as_bitsandbytes,
        {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        "bitsandbytes nf4",
    ),
    "nf4, nested": (
        lambda *of: as_bitsandbytes(*of, nested=True),
        {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        "bitsandbytes nf4",
    ),
    "int8": (as_int8, {"load_in_8bit": True}, "bitsandbytes int8, activations not rounded"),
    "fp8": (as_float8, {"quant_method": "fp8", "weight_block_size": [12, 16]}, "fp8, activations not rounded"),
    "fbgemm": (as_float8_rows, {"quant_method": "fbgemm_fp8"}, "fbgemm_fp8, activations not rounded"),
    "compressed": (as_compressed, settings_of_compressed("pack-quantized"), "compressed-tensors pack-quantized"),
    "compressed, symmetric": (
        lambda *of: as_compressed(*of, symmetric=True),
        settings_of_compressed("pack-quantized"),
        "compressed-tensors pack-quantized",
    ),
    "compressed, fp8": (
        as_float8_rows,
        settings_of_compressed("float-quantized", input_activations={"num_bits": 8}),
        "compressed-tensors float-quantized, activations not rounded",
    ),
}


def save_packed(folder: Path, format_name: str, architecture: str = "llama") -> torch.Tensor:
    """A tiny model whose blocks' matrices are stored packed; the logits that its weights stand for."""
    pack, settings, _ = FORMATS[format_name]
    save_tiny(architecture, folder)
    tensors, packed = load_file(folder / "model.safetensors"), {}
    matrices = [name for name in tensors if re.search(r"layers.*(proj|w\d)\.weight$", name)]
    for name in matrices:
        tensors[name], stored = pack(name, *tensors[name].shape)
        packed |= {name.removesuffix(".weight") + ending: tensor.contiguous() for ending, tensor in stored.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    rest = {name: tensor for name, tensor in tensors.items() if name not in matrices}
    save_file({**rest, **packed}, folder / "model.safetensors", metadata={"format": "pt"})
    set_settings(folder, settings)
    with torch.no_grad():
        return plain(input_ids=IDS, use_cache=False).logits


def set_settings(folder: Path, settings: dict[str, Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": settings}))


def change(folder: Path, **tensors: torch.Tensor | None) -> None:
    """Put other tensors into a folder's file; None takes one out."""
    path = folder / "model.safetensors"
    changed = {**load_file(path), **{name.replace("__", "."): tensor for name, tensor in tensors.items()}}
    save_file({name: each for name, each in changed.items() if each is not None}, path, metadata={"format": "pt"})


def loaded_from(folder: Path) -> Any:
    return load(str(folder), device="cpu")


def logits_of(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.hf(input_ids=IDS, use_cache=False).logits


@pytest.mark.parametrize("name", FORMATS)
def test_a_quantised_checkpoint_computes_what_its_packed_weights_stand_for(tmp_path: Path, name: str) -> None:
    expected = save_packed(tmp_path, name)
    model = loaded_from(tmp_path)
    assert expected.std() > 0.1
    torch.testing.assert_close(logits_of(model), expected, atol=1e-5, rtol=1e-5)
    assert model.info.origin == (f"weights dequantised from {FORMATS[name][2]}",)
    assert model.info.dtype == "float32"
    assert all(weight.is_floating_point() for weight in model.hf.parameters())


def test_experts_are_dequantised_one_by_one_and_then_joined(tmp_path: Path) -> None:
    expected = save_packed(tmp_path, "gptq", "mixtral")
    torch.testing.assert_close(logits_of(loaded_from(tmp_path)), expected, atol=1e-5, rtol=1e-5)


def test_numbers_of_two_bits_are_unpacked() -> None:
    weight, stored = as_gptq("two", 16, 32, bits=2)
    torch.testing.assert_close(unpacking.gptq({name[1:]: part for name, part in stored.items()}, {}), weight)


def test_matrices_that_are_stored_the_other_way_round_are_turned(tmp_path: Path) -> None:
    save_tiny("gpt2", tmp_path)
    plain = loaded_from(tmp_path)
    path = "transformer.h.0.mlp.c_fc"
    weight, stored = as_gptq("gpt2", 40, 16)
    plain.hf.get_submodule(path).weight.data = weight.T
    change(tmp_path, **{f"{path}.weight": None}, **{path + ending: part for ending, part in stored.items()})
    set_settings(tmp_path, FORMATS["gptq"][1])
    torch.testing.assert_close(logits_of(loaded_from(tmp_path)), logits_of(plain), atol=1e-5, rtol=1e-5)


def test_the_fingerprint_is_that_of_the_packed_bytes_and_says_nothing_of_the_dtype(tmp_path: Path) -> None:
    save_packed(tmp_path, "gptq")
    first = loaded_from(tmp_path).info.fingerprint
    assert load(str(tmp_path), "bfloat16", "cpu").info.fingerprint == first
    name = "model.layers.0.mlp.up_proj.scales"
    change(tmp_path, **{name: load_file(tmp_path / "model.safetensors")[name] * 2})
    assert loaded_from(tmp_path).info.fingerprint != first


def test_a_dequantised_model_is_saved_as_a_plain_one(tmp_path: Path) -> None:
    expected = save_packed(tmp_path / "packed", "awq")
    loaded_from(tmp_path / "packed").hf.save_pretrained(tmp_path / "saved")
    tiny_tokenizer().save_pretrained(tmp_path / "saved")
    again = loaded_from(tmp_path / "saved")
    assert "quantization_config" not in json.loads((tmp_path / "saved" / "config.json").read_text())
    assert again.info.origin == ()
    torch.testing.assert_close(logits_of(again), expected, atol=1e-5, rtol=1e-5)


def test_an_adapter_is_merged_into_the_dequantised_base(tmp_path: Path) -> None:
    save_packed(tmp_path / "packed", "nf4")
    adapted(tmp_path / "lora", tmp_path / "packed")
    loaded_from(tmp_path / "packed").hf.save_pretrained(tmp_path / "plain")
    tiny_tokenizer().save_pretrained(tmp_path / "plain")
    model = load(f"{tmp_path / 'packed'}+{tmp_path / 'lora'}", device="cpu")
    expected = logits_of(load(f"{tmp_path / 'plain'}+{tmp_path / 'lora'}", device="cpu"))
    torch.testing.assert_close(logits_of(model), expected, atol=1e-5, rtol=1e-5)
    assert model.info.origin == ("weights dequantised from bitsandbytes nf4", "adapter lora merged")


def test_where_generated_text_ends_is_read_as_for_other_models(tmp_path: Path) -> None:
    save_packed(tmp_path, "gptq")
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 7]}))
    assert loaded_from(tmp_path).hf.generation_config.eos_token_id == [0, 7]


def test_the_description_of_a_quantised_model_counts_no_packed_numbers(tmp_path: Path) -> None:
    save_packed(tmp_path, "gptq")
    found = describe(str(tmp_path))
    assert (found.state, found.parameters, found.dtype) == ("ready", None, "F16, F32, I32, quantised")


def test_biases_that_packers_add_are_left_out_where_they_are_zero(tmp_path: Path) -> None:
    expected = save_packed(tmp_path, "gptq")
    change(tmp_path, **{"model.layers.1.mlp.up_proj.bias": torch.zeros(40)})
    torch.testing.assert_close(logits_of(loaded_from(tmp_path)), expected, atol=1e-5, rtol=1e-5)
    change(tmp_path, **{"model.layers.1.mlp.up_proj.bias": torch.ones(40)})
    with pytest.raises(ModelError, match=r"up_proj\.bias\), so it would compute something else"):
        loaded_from(tmp_path)


@pytest.mark.parametrize(
    ("ending", "value", "why"),
    [
        ("g_idx", torch.full((16,), 9, dtype=torch.int32), "cannot be unpacked as gptq 4-bit"),
        ("scales", None, "cannot be unpacked as gptq 4-bit"),
        ("qzeros", torch.zeros(2, 3, dtype=torch.int32), "cannot be unpacked as gptq 4-bit"),
        ("qweight", None, "tensors that the model needs|have no place"),
        ("qweight", torch.zeros(2, 48, dtype=torch.int32), "cannot be"),
        ("scales", torch.full((2, 40), torch.nan), "NaN or infinite"),
    ],
)
def test_packed_weights_that_do_not_fit_are_refused_by_name(
    tmp_path: Path, ending: str, value: torch.Tensor | None, why: str
) -> None:
    save_packed(tmp_path, "gptq")
    change(tmp_path, **{f"model.layers.0.mlp.up_proj.{ending}": value})
    with pytest.raises(ModelError, match=why):
        loaded_from(tmp_path)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"quant_method": "hqq"}, r"quantised by hqq, which are not unpacked here \(gptq, awq, bitsandbytes, .* are\)"),
        (["gptq"], "holds weights quantised, which are not unpacked here"),
        ({"quant_method": "gptq", "bits": 3}, "gptq with 3 bits"),
        ({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}, "in the layout marlin"),
        ({"quant_method": "awq", "bits": 4, "version": "gemv"}, "awq in the version gemv"),
        (settings_of_compressed("marlin-24"), "in the layout marlin-24"),
        ({**settings_of_compressed("pack-quantized"), "quantization_status": "frozen"}, "stored unpacked"),
        ({**settings_of_compressed("pack-quantized"), "transform_config": {"a": 1}}, "transforms of the activations"),
        ({**settings_of_compressed("dense"), "sparsity_config": {"format": "sparse-bitmask"}}, "sparse as well"),
    ],
)
def test_other_formats_are_refused_before_anything_is_read(tmp_path: Path, settings: Any, why: str) -> None:
    save_tiny("llama", tmp_path)
    set_settings(tmp_path, settings)
    with pytest.raises(ModelError, match=why) as refused:
        loaded_from(tmp_path)
    assert re.search("use the unquantised model, or a GGUF file of it, which is converted", str(refused.value))


def test_fp8_is_what_transformers_itself_makes_of_it(tmp_path: Path) -> None:
    save_packed(tmp_path, "fp8")
    change(tmp_path, **{"model.layers.0.self_attn.q_proj.activation_scale": None})
    settings = {"quant_method": "fp8", "weight_block_size": [8, 8], "dequantize": True}
    tensors = load_file(tmp_path / "model.safetensors")
    for name in [name for name in tensors if name.endswith("_scale_inv")]:
        written, read = tensors[name.removesuffix("_scale_inv")].shape
        tensors[name] = scales_of(written // 8, read // 8, seed=name).float() * 5
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith("activation_scale")}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    set_settings(tmp_path, settings)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    with torch.no_grad():
        expected = theirs(input_ids=IDS, use_cache=False).logits
    torch.testing.assert_close(logits_of(loaded_from(tmp_path)), expected, atol=1e-5, rtol=1e-5)


def test_mxfp4_is_what_transformers_itself_makes_of_it() -> None:
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    blocks, scales = whole((2, 6, 3, 16), 256, "b").to(torch.uint8), (whole((2, 6, 3), 8, "s") + 120).to(torch.uint8)
    expected = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    torch.testing.assert_close(unpacking.mxfp4({"_blocks": blocks, "_scales": scales}, {}), expected, atol=0, rtol=0)


@pytest.mark.parametrize(("kind", "nested"), [("nf4", False), ("nf4", True), ("fp4", False)])
def test_bitsandbytes_itself_gives_the_same_weights(kind: str, nested: bool) -> None:
    functional = pytest.importorskip("bitsandbytes").functional
    weight = torch.randn(96, 128, generator=chances(kind))
    packed, state = functional.quantize_4bit(weight, quant_type=kind, compress_statistics=nested)
    parts = {"weight": packed, **{f"weight.{name}": part for name, part in state.as_dict(packed=True).items()}}
    expected = functional.dequantize_4bit(packed, state)
    torch.testing.assert_close(unpacking.bitsandbytes_4bit(parts, {}), expected, atol=1e-6, rtol=1e-6)
    assert (expected - weight).abs().max() < 0.7  # it is the weight that was packed


def test_bitsandbytes_itself_gives_the_same_weights_of_eight_bits() -> None:
    functional = pytest.importorskip("bitsandbytes").functional
    weight = torch.randn(96, 128, generator=chances("int8"))
    packed, largest, _ = functional.int8_vectorwise_quant(weight.half())
    expected = functional.int8_vectorwise_dequant(packed, largest)
    found = unpacking.bitsandbytes_8bit({"weight": packed, "SCB": largest}, {})
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("Packed", {"num_bits": 4, "strategy": "group", "group_size": 16, "symmetric": True}),
        ("Packed", {"num_bits": 4, "strategy": "group", "group_size": 16, "symmetric": False}),
        ("Packed", {"num_bits": 8, "strategy": "channel", "symmetric": True}),
        ("Int", {"num_bits": 8, "strategy": "tensor", "symmetric": False}),
        ("Float", {"num_bits": 8, "type": "float", "strategy": "channel"}),
        ("Float", {"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [16, 32]}),
        ("MXFP4Packed", {"num_bits": 4, "type": "float", "strategy": "group", "group_size": 32}),
        ("MXFP8", {"num_bits": 8, "type": "float", "strategy": "group", "group_size": 32}),
    ],
    ids=str,
)
def test_compressed_tensors_itself_gives_the_same_weights(kind: str, how: dict[str, Any]) -> None:
    compressors = pytest.importorskip("compressed_tensors.compressors")
    library = pytest.importorskip("compressed_tensors.quantization")
    how = {**how, "scale_dtype": torch.uint8} if "MX" in kind else how
    scheme = library.QuantizationScheme(targets=["Linear"], weights=library.QuantizationArgs(**how))
    names = (f"{kind}QuantizationCompressor", f"{kind}Compressor")
    compressor = next(getattr(compressors, name) for name in names if hasattr(compressors, name))
    weight = torch.randn(40, 64, generator=chances(kind))
    rows, columns = how.get("block_structure", (1, how.get("group_size", 64)))
    blocks = weight.split(rows) if how["strategy"] != "tensor" else [weight]
    parts = [part for block in blocks for part in block.split(columns, dim=1)]
    lowest, highest = (
        torch.stack([getattr(part, end)() for part in parts]).reshape(len(blocks), -1) for end in ("min", "max")
    )
    scale, zero = library.utils.calculate_qparams(lowest, highest, scheme.weights)
    packed = compressor.compress({"weight": weight, "weight_scale": scale, "weight_zero_point": zero}, scheme)
    expected = compressor.decompress(packed, scheme)["weight"].float()
    settings = {"config_groups": {"group_0": {"weights": {"block_structure": how.get("block_structure")}}}}
    torch.testing.assert_close(unpacking.compressed(packed, settings), expected, atol=1e-6, rtol=1e-6)
    assert (expected - weight).abs().max() < 0.7  # it is the weight that was packed
