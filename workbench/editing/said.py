"""What the model says to the prompt of an edit, as the case has it and after BOS or separator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.case import Case, Prepend
from workbench.models.forward.unembedding import TextRow, read_predictions
from workbench.models.tokens import EncodedCase, token_text
from workbench.numbers import rounded
from workbench.protocol import Check, Frozen

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel


class Said(Frozen):
    """What the model says to the prompt: probabilities of target and foil, and its first choice."""

    prepend: Prepend
    target: float
    foil: float | None
    top: str
    top_probability: float


def said(model: LoadedModel, case: Case) -> tuple[Said, ...]:
    """What the model says to the prompt as it stands and after BOS or separator, where that is another prompt."""
    encoded = model.encode(case)
    cases = [(case.prepend, encoded)]
    if not case.chat and case.prepend != "separator":
        after = model.encode(case.model_copy(update={"prepend": "separator"}))
        if after.ids != encoded.ids:
            cases.append(("separator", after))
    found: dict[int, Said] = {}

    def read(places: object, log_p: Tensor) -> None:
        for (row, _), values in zip(places, log_p.exp(), strict=True):  # type: ignore[call-overload]
            prepend, one = cases[row]
            top = int(values.argmax())
            found[row] = Said(
                prepend=prepend,
                target=rounded(float(values[one.target.id])) if one.target else 0.0,
                foil=rounded(float(values[one.foil.id])) if one.foil else None,
                top=token_text(model.tokenizer, top),
                top_probability=rounded(float(values[top])),
            )

    rows = [TextRow(ids=one.ids, positions=(len(one.ids) - 1,)) for _, one in cases]
    for _ in read_predictions(model, rows, read):
        pass
    return tuple(found[row] for row in range(len(rows)))


def success(now: Said, encoded: EncodedCase) -> Check:
    """Whether the model says the target now, and if not, whether the first position is why."""
    wanted = encoded.target.text if encoded.target else ""
    text = f"“{now.top}” {now.top_probability:.2f}"
    if now.top == wanted:
        return Check(name="rewrite", text=text, level="ok")
    first = encoded.subject is not None and encoded.subject[1] == 1 and encoded.starts_bare
    why = "; the subject stands in the model's first position, which no edit reaches" if first else ""
    return Check(name="rewrite", text=f"{text}, not “{wanted}”{why}", level="warn")
