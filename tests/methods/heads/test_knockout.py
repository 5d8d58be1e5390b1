"""Knock-outs equal complete runs with hooks, whatever the architecture; controls decide what is called a cause."""

from __future__ import annotations

import pytest
import torch

from tests.methods.heads.plain import CASE, logits_with, read_by, without_edges
from tests.tiny import ARCHITECTURES, telling, tiny_loaded
from workbench.case import Case
from workbench.errors import Cancelled, InputError
from workbench.figures import Heatmap, Lines, Table
from workbench.methods.heads import KNOCKOUT, knocking
from workbench.methods.heads.attention import AttentionRequest
from workbench.methods.heads.controls import ControlPrompt, controls_of
from workbench.methods.heads.knock_out import ControlOutcome, KnockedOut, KnockoutRequest, KnockoutResult, run
from workbench.models.forward.knockout import Edge, KnockOuts
from workbench.protocol import silent

IDS = (5, 17, 200, 3, 42, 99, 250, 8, 61)
LAST = len(IDS) - 1
MEASURED = 7

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)
five = pytest.mark.parametrize("architecture", telling())
either = pytest.mark.parametrize("ablate", ["zero", "mean"])

PASSAGE = Case(prompt="Peter lives in Berlin. Emma lives in Oslo. So Peter lives in", target="Berlin", foil="Oslo")


def measure(logits):
    return logits[:, MEASURED].double()


def knocked(loaded, request=None, **settings):
    return run(loaded, request or KnockoutRequest(**{"case": CASE, **settings}), silent)


def found(batches):
    return {place: value for batch in batches for place, value in batch.items()}


def instead(ablate, reads):
    """What stands in a head's place: nothing, or the mean over tokens."""
    return torch.zeros_like(reads[0]) if ablate == "zero" else reads.mean(dim=0)


@either
@five
def test_each_head_knocked_out_equals_a_complete_run_with_a_hook(architecture, ablate):
    loaded = tiny_loaded(architecture)
    reads = read_by(loaded, architecture, IDS)
    effects = found(KnockOuts(loaded, IDS, ablate).each_head(measure))
    assert len(effects) == loaded.info.layers * 4
    plain = []
    for (layer, head), value in effects.items():

        def change(read, layer=layer, head=head):
            read[-1, head] = instead(ablate, reads[layer])[head]
            return read

        plain.append(float(logits_with(loaded, architecture, IDS, {layer: change})[-1, MEASURED]))
        assert value == pytest.approx(plain[-1], abs=1e-5)
    assert torch.tensor(plain).std() > 1e-3  # they differ, so a mistake would show


@pytest.mark.parametrize("everywhere", [False, True])
@five
def test_heads_knocked_out_together_equal_a_complete_run_with_hooks(architecture, everywhere):
    loaded = tiny_loaded(architecture)
    reads = read_by(loaded, architecture, IDS)
    heads = [(0, 1), (0, 3), (1, 2)]
    for ablate in ("zero", "mean"):
        knock_outs = KnockOuts(loaded, IDS, ablate, everywhere=everywhere)

        def without(layer, ablate=ablate):
            own = [head for at, head in heads if at == layer]

            def change(read):
                read[0 if everywhere else -1 :, own] = instead(ablate, reads[layer])[own]
                return read

            return change

        plain = logits_with(loaded, architecture, IDS, {0: without(0), 1: without(1)})[-1]
        assert (knock_outs.without(heads, ()) - plain).abs().max() < 1e-5
        assert (knock_outs.unchanged - plain).abs().max() > 1e-3


@every_architecture
def test_edges_knocked_out_equal_complete_runs_with_hooks(architecture):
    loaded = tiny_loaded(architecture)
    knock_outs = KnockOuts(loaded, IDS, "zero")
    edges = [(0, 1, LAST, 6), (1, 0, LAST, 7), (1, 2, 5, 5), (1, 2, LAST, LAST)]
    plain = without_edges(loaded, architecture, IDS, edges)
    assert (knock_outs.without((), [Edge(*edge) for edge in edges]) - plain).abs().max() < 1e-5
    assert (knock_outs.unchanged - plain).abs().max() > 1e-4
    single = found(knock_outs.each_edge(measure))
    assert len(single) == loaded.info.layers * len(IDS)
    for layer, at in ((0, LAST), (1, 6), (1, 7)):
        of_all_heads = without_edges(loaded, architecture, IDS, [(layer, head, LAST, at) for head in range(4)])
        assert single[layer, at] == pytest.approx(float(of_all_heads[MEASURED]), abs=1e-5)


@every_architecture
def test_without_all_its_edges_a_head_writes_nothing(architecture):
    loaded = tiny_loaded(architecture)
    knock_outs = KnockOuts(loaded, IDS, "zero")
    edges = [Edge(1, 2, LAST, at) for at in range(len(IDS))]
    assert (knock_outs.without((), edges) - knock_outs.without([(1, 2)], ())).abs().max() < 1e-5


def test_the_mean_in_an_edges_place_is_that_of_the_values_up_to_the_token_that_looks():
    loaded = tiny_loaded("llama")
    knock_outs = KnockOuts(loaded, IDS, "mean")
    attended = knock_outs.attending.layer(1, LAST)
    weight, values = attended.weights[2, 0, 3], attended.values[2]

    def change(read):
        read[-1, 2] += weight * (values.mean(dim=0) - values[3])
        return read

    plain = logits_with(loaded, "llama", IDS, {1: change})[-1]
    assert (knock_outs.without((), [Edge(1, 2, LAST, 3)]) - plain).abs().max() < 1e-5


def test_each_head_everywhere_equals_a_complete_run_with_a_hook():
    loaded = tiny_loaded("gemma2")
    effects = found(KnockOuts(loaded, IDS, "zero", everywhere=True).each_head(measure))

    def change(read):
        read[:, 1] = 0
        return read

    for layer in range(loaded.info.layers):
        plain = float(logits_with(loaded, "gemma2", IDS, {layer: change})[-1, MEASURED])
        assert effects[layer, 1] == pytest.approx(plain, abs=1e-5)


@pytest.mark.parametrize("architecture", ["gpt2", "gptj", "gemma2", "mixtral", "opt_norm_after"])
def test_the_result_is_what_single_runs_say(architecture):
    loaded = tiny_loaded(architecture)
    result = knocked(loaded, position=3)
    ids = result.encoded.ids[:4]
    target, foil = result.encoded.target.id, result.encoded.foil.id
    logits = loaded.hf(torch.tensor([ids])).logits[0, -1].detach()
    assert result.difference == pytest.approx(float(logits[target] - logits[foil]), abs=1e-5)
    assert result.p_target == pytest.approx(float(logits.softmax(-1)[target]), abs=1e-6)

    def change(read):
        read[-1, 2] = 0
        return read

    without = logits_with(loaded, architecture, ids, {1: change})[-1]
    assert result.effects[1][2] == pytest.approx(float(without[target] - without[foil]) - result.difference, abs=1e-4)
    assert (result.agreement is None) == (architecture == "opt_norm_after")
    assert result.controls == ()  # they are asked after their last token
    assert result.checks[0].name == "resumed"


def test_the_best_together_are_the_largest_effects_until_the_answer_turns():
    loaded = tiny_loaded("gpt2")
    for foil in (".", "?", " the"):
        result = knocked(loaded, case=CASE.model_copy(update={"foil": foil}), best=8)
        best = [each for each in result.tried if each.what == "best"]
        assert not any(map(result.turns, best[:-1]))
        away = -1 if result.difference > 0 else 1
        cells = {(layer, head): away * result.effects[layer][head] for layer in range(3) for head in range(4)}
        order = [f"L{layer}H{head}" for (layer, head), by in sorted(cells.items(), key=lambda cell: -cell[1]) if by > 0]
        for size, each in enumerate(best, 2):
            assert each.heads == tuple(order[:size])
        random = [each for each in result.tried if each.what == "random"]
        assert len(random) == (knocking.RANDOM_SETS if best and result.turns(best[-1]) else 0)
        for each in random:
            assert len(set(each.heads)) == len(best[-1].heads)
        singles = {each.heads[0]: each.difference for each in result.tried if each.what == "single"}
        for name, difference in singles.items():
            layer, head = int(name[1]), int(name[3])
            assert difference == pytest.approx(result.difference + result.effects[layer][head], abs=1e-4)


def test_controls_are_the_passage_reordered_and_asked_about_the_other_owner():
    made = {each.how: each for each in controls_of(PASSAGE)}
    assert made["reordered"].prompt == "Emma lives in Oslo. Peter lives in Berlin. So Peter lives in"
    assert made["other owner"].prompt == "Peter lives in Berlin. Emma lives in Oslo. So Emma lives in"
    assert made["reordered, other owner"].prompt == "Emma lives in Oslo. Peter lives in Berlin. So Emma lives in"
    assert [each.right for each in made.values()] == ["target", "foil", "foil"]


@pytest.mark.parametrize(
    ("changed", "how"),
    [
        ({"prompt": "Peter has moved to Berlin. Emma lives in Oslo. So Peter lives in"}, ["reordered"]),
        ({"prompt": "Peter lives in Berlin and Emma lives in Oslo. So Peter lives in"}, []),
        ({"prompt": "The capital of Germany is"}, []),
        ({"foil": None}, []),
        ({"chat": True}, []),
    ],
)
def test_of_other_prompts_fewer_controls_are_made_or_none(changed, how):
    assert [each.how for each in controls_of(PASSAGE.model_copy(update=changed))] == how


def test_what_turns_an_answer_is_tried_on_every_control_prompt():
    loaded = tiny_loaded("gpt2")
    given = ControlPrompt(prompt="The capital of France is")
    heads = ("L0", "L1H0", "L2H1")
    result = knocked(loaded, heads=heads, controls=(given,))
    (each,) = result.tried
    assert each.heads == ("L0H0", "L0H1", "L0H2", "L0H3", "L1H0", "L2H1")
    runs = KnockOuts(loaded, loaded.encode(Case(prompt=given.prompt)).ids, "zero")
    target, foil = result.encoded.target.id, result.encoded.foil.id
    there = runs.without([(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (2, 1)], ())
    assert result.controls[0].difference == pytest.approx(
        float(runs.unchanged[target] - runs.unchanged[foil]), abs=1e-5
    )
    if result.turns(each):
        assert each.controls == pytest.approx([float(there[target] - there[foil])], abs=1e-5)
    else:
        assert each.controls == ()


def _judged(difference, controls, after):
    """A result in which one set of heads leaves ``difference``, and control prompts as they are and after it."""
    plain = knocked(tiny_loaded("llama"), heads=("L0H0",), made=False)
    each = KnockedOut(
        what="chosen",
        heads=("L0H0",),
        difference=difference,
        p_target=0.1,
        p_foil=0.1,
        top="x",
        controls=after,
    )
    outcomes = tuple(
        ControlOutcome(control=ControlPrompt(prompt="x", right=right), difference=d) for right, d in controls
    )
    return plain.model_copy(update={"difference": -1.0, "controls": outcomes, "tried": (each,)})


@pytest.mark.parametrize(
    ("difference", "controls", "after", "verdict"),
    [
        (-0.5, [("target", 2.0)], (), "stays"),
        (0.5, [("target", 2.0), ("foil", -1.0)], (1.0, -2.0), "cause"),
        (0.5, [("target", 2.0), ("foil", -1.0)], (1.0, 0.2), "breaks controls"),
        (0.5, [(None, 2.0)], (-1.0,), "breaks controls"),
        (0.5, [("foil", 2.0)], (-1.0,), "untested"),  # answered wrongly to begin with
        (0.5, [("target", 2.0)], (None,), "untested"),
        (0.5, [], (), "untested"),
    ],
)
def test_it_is_called_a_cause_only_where_control_prompts_keep_their_right_answers(difference, controls, after, verdict):
    result = _judged(difference, controls, after)
    assert result.verdict(result.tried[0]) == verdict
    (lines, *_) = KNOCKOUT.figures(result)
    assert isinstance(lines, Lines)
    said = lines.lines[-1].text
    assert (": a cause" in said) == (verdict == "cause")
    assert ("not called a cause" in said) == (verdict in ("breaks controls", "untested"))


def test_the_trust_strip_says_where_attribution_and_knock_out_disagree():
    result = knocked(tiny_loaded("gpt2"))
    (check,) = [check for check in result.checks if check.name == "attribution"]
    effects, added = torch.tensor(result.effects).flatten(), torch.tensor(result.added).flatten()
    correlation = float(torch.corrcoef(torch.stack([effects, -added]))[0, 1])
    assert result.agreement == pytest.approx(correlation, abs=1e-4)
    first = [f"L{int(of.abs().argmax()) // 4}H{int(of.abs().argmax()) % 4}" for of in (added, effects)]
    agree = correlation >= 0.5 and first[0] == first[1]
    assert check.level == ("ok" if agree else "warn")
    assert check.text.endswith(f"first {first[0]} and {first[1]}")


def test_a_place_of_the_map_opens_the_heads_attention_or_the_edge_by_itself():
    loaded = tiny_loaded("gpt2")
    request = KnockoutRequest(case=CASE)
    result = knocked(loaded, request)
    (heatmap,) = [figure for figure in KNOCKOUT.figures(result) if isinstance(figure, Heatmap)]
    assert KNOCKOUT.opens(request, result, heatmap, (0, 3)) == AttentionRequest(
        case=CASE, position=result.position, head="L2H3"
    )
    request = KnockoutRequest(case=CASE, each="edges")
    result = knocked(loaded, request)
    (heatmap,) = [figure for figure in KNOCKOUT.figures(result) if isinstance(figure, Heatmap)]
    assert heatmap.columns.labels == result.encoded.texts
    opened = KNOCKOUT.opens(request, result, heatmap, (2, 1))
    assert opened.edges == (f"L0:{result.position}>1",)
    alone = knocked(loaded, opened)
    assert alone.tried[0].difference == pytest.approx(result.difference + result.effects[0][1], abs=1e-4)
    assert any(isinstance(figure, Table) for figure in KNOCKOUT.figures(alone))


def test_without_target_and_foil_the_two_best_tokens_are_compared():
    loaded = tiny_loaded("llama")
    result = knocked(loaded, case=Case(prompt=CASE.prompt), heads=("L1H1",))
    logits = loaded.hf(torch.tensor([result.encoded.ids])).logits[0, -1].detach()
    first, second = logits.topk(2).values.tolist()
    assert result.difference == pytest.approx(first - second, abs=1e-5)
    assert result.target == result.top


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"heads": ("L9H0",)}, "there is no layer 9: the model has 3"),
        ({"heads": ("L0H7",)}, "there is no head 7 in layer 0: each has 4"),
        ({"heads": ("four",)}, "does not name a head"),
        ({"heads": ("all",)}, "knocks out all 12 heads"),
        ({"heads": ("L0", "L1", "L2")}, "knocks out all 12 heads"),
        ({"edges": ("99",)}, "there is no edge"),
        ({"edges": ("1>2",)}, "there is no edge 1>2"),
        ({"edges": ("L0-2",)}, "does not name an edge"),
        ({"edges": ("L4:0",)}, "there is no layer 4"),
        ({"position": 99}, "there is no token 99"),
    ],
)
def test_what_cannot_be_knocked_out_is_refused_in_a_sentence(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        knocked(tiny_loaded("llama"), **settings)


def test_all_attention_of_the_last_token_is_refused_in_a_sentence():
    loaded = tiny_loaded("llama")
    every = tuple(map(str, range(len(loaded.encode(CASE).ids))))
    with pytest.raises(InputError, match="knocks out all attention of the token that answers"):
        knocked(loaded, edges=every)
    knocked(loaded, edges=every[:-1])


def test_it_can_be_cancelled_and_what_is_found_until_then_can_be_drawn():
    partial = []

    def cancelled(done, _total, found=None, *, stage=""):
        if found is not None:
            partial.append(found)
            if done:
                raise Cancelled

    with pytest.raises(Cancelled):
        run(tiny_loaded("llama"), KnockoutRequest(case=CASE), cancelled)
    assert any(effect is not None for row in partial[-1].effects for effect in row)
    assert KNOCKOUT.figures(partial[-1])


def test_nothing_of_the_model_is_changed_afterwards():
    loaded = tiny_loaded("llama")
    before = loaded.hf(torch.tensor([IDS])).logits
    knocked(loaded)
    knocked(loaded, heads=("L0H0",), edges=("1",), everywhere=True)
    assert torch.equal(loaded.hf(torch.tensor([IDS])).logits, before)
    assert loaded.hf.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"effects": [[0.0] * 4]}, "there are 1 of effects and 3 of layers"),
        ({"effects": [[0.0]] * 3}, "there are 1 of effects and 4 of columns"),
        ({"position": 99}, "position is 99"),
        ({"agreement": 2.0}, "less than or equal to 1"),
    ],
)
def test_a_result_in_a_file_that_does_not_hold_together_is_refused(changed, sentence):
    written = knocked(tiny_loaded("llama")).model_dump(mode="json")
    assert KnockoutResult.model_validate(written).model_dump(mode="json") == written
    with pytest.raises(ValueError, match=sentence):
        KnockoutResult.model_validate(written | changed)
