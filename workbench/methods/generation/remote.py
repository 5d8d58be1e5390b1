"""The greedy continuation of a model that is elsewhere: one job, of which token ids and probabilities come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.methods.generation.continuation import ContinuedToken, ContinueRequest, ContinueResult, room_for, text_of
from workbench.models.forward.stopping import stop_ids
from workbench.models.tokens import token_text
from workbench.numbers import significant
from workbench.protocol import Check, Progress

if TYPE_CHECKING:
    from workbench.remote import RemoteModel


def run(model: RemoteModel, request: ContinueRequest, progress: Progress) -> ContinueResult:
    """All tokens at once, as the model generates them where nothing is sampled and no repetition is penalised.

    Raises what `workbench.methods.generation.continuation.run` and `workbench.remote.RemoteModel.sending` raise.
    """
    encoded, total = room_for(model, request)
    nn, ids, start = model.nn, [list(encoded.ids)], len(encoded.ids)
    how = {"max_new_tokens": total, "do_sample": False, "num_beams": 1, "repetition_penalty": 1.0}
    shape = {"return_dict_in_generate": True, "output_logits": True}
    with nn.generate(input_ids=ids, **how, **shape, backend=model.sending(progress)) as tracer:
        made = tracer.result
        top = [logits[0].float().softmax(dim=-1).topk(2) for logits in made.logits]
        answer = {
            "ids": made.sequences[0, start:].tolist(),
            "top": [(each.indices.tolist(), each.values.cpu()) for each in top],
            "dtype": str(made.logits[0].dtype),
        }
        answer.save()  # type: ignore[attr-defined]
    generated = []
    for chosen, (best, values) in zip(answer["ids"], answer["top"], strict=True):
        p, second_p = significant(values)
        generated.append(
            ContinuedToken(
                text=token_text(model.tokenizer, chosen),
                probability=p,
                runner_up=token_text(model.tokenizer, best[1]),
                runner_up_probability=second_p,
            )
        )
    ended = len(generated) < total or answer["ids"][-1] in stop_ids(model)
    served = Check(name="served", text=f"in {answer['dtype'].removeprefix('torch.')} by {model.host}")
    text = text_of(model, answer["ids"])
    return ContinueResult(encoded=encoded, generated=tuple(generated), text=text, ended=ended, checks=(served,))
