"""The text that ships for the default model's statistics is the model's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from workbench.models.forward.ordinary_text import PER_DIMENSION, sampled_text, text_length
from workbench.models.forward.sampling import sample

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

pytestmark = pytest.mark.real


def test_it_begins_as_the_model_goes_on_with_the_same_random_numbers(
    default_model: LoadedModel, own_home: Path
) -> None:
    shipped = sampled_text(default_model, PER_DIMENSION * default_model.anatomy.d_mlp, "0", 0)
    assert shipped.shape == (48, 1 + text_length(default_model))
    assert not list(own_home.rglob("*.safetensors")), "it was sampled anew"
    assert sample(default_model, len(shipped), 3, 0).tolist() == shipped[:, :4].tolist()
