"""Suites from the shipped facts, from files, and from records of edits."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest

from workbench.case import Case
from workbench.datasets.facts import relation_of, shipped_facts, shipped_ripples
from workbench.datasets.suites import (
    NEIGHBORS,
    EditRecord,
    Suite,
    SuiteFact,
    overlapping,
    read_records,
    read_suite,
    suite_for,
)
from workbench.errors import InputError

HERO = Case(prompt="The capital of Australia is", subject="Australia", target=" Canberra", foil=" Sydney")
EIFFEL = Case(prompt="The Eiffel Tower is located in the city of", subject="The Eiffel Tower", target="Rome")


def of_role(suite, role):
    return [fact for fact in suite.facts if fact.role == role]


def suite_of(case) -> Suite:
    suite = suite_for(case)
    assert suite is not None
    return suite


# --- From the shipped facts ---


def test_the_old_answer_is_the_foil_where_the_new_one_is_what_the_file_says():
    [rewrite] = of_role(suite_of(HERO), "rewrite")
    assert rewrite == SuiteFact(
        role="rewrite", prompt=HERO.prompt, subject="Australia", target="Canberra", against="Sydney"
    )


@pytest.mark.parametrize("foil", [None, "London"])
def test_the_old_answer_is_the_file_s_where_it_differs(foil):
    [rewrite] = of_role(suite_of(EIFFEL.model_copy(update={"foil": foil})), "rewrite")
    assert rewrite.against == "Paris"


def test_there_may_be_no_old_answer():
    case = Case(prompt="The capital of Narnia is", subject="Narnia", target="Cair")
    assert of_role(suite_of(case), "rewrite")[0].against is None


def test_paraphrases_are_the_other_phrasings_with_the_subject_inside():
    for case in (HERO, EIFFEL):
        paraphrases = of_role(suite_of(case), "paraphrase")
        assert len(paraphrases) == 3
        for fact in paraphrases:
            assert fact.subject in fact.prompt != case.prompt
            assert "The The" not in fact.prompt
            assert relation_of(fact.prompt, fact.subject) == relation_of(case.prompt, case.subject)


def test_a_capital_has_its_country_as_an_inverse_ripple():
    prompts = {fact.prompt: fact for fact in of_role(suite_of(HERO), "ripple")}
    inverse = prompts["The city of Canberra is the capital of"]
    assert (inverse.target, inverse.against, inverse.subject) == ("Australia", None, "Canberra")


def test_an_inverse_ripple_is_against_what_the_new_answer_belonged_to():
    ripples = of_role(suite_of(Case(prompt="The capital of France is", subject="France", target="Rome")), "ripple")
    assert ("The city of Rome is the capital of", "France", "Italy") in [
        (fact.prompt, fact.target, fact.against) for fact in ripples
    ]


def test_a_landmark_that_moves_to_rome_stands_in_italy():
    assert [(fact.prompt, fact.target, fact.against) for fact in of_role(suite_of(EIFFEL), "ripple")] == [
        ("The Eiffel Tower is located in the country of", "Italy", "France")
    ]


def test_nothing_follows_where_old_and_new_answer_have_the_same_one():
    mountain = Case(prompt="The mountain called Mount Fuji is located in the country of", subject="Mount Fuji")
    assert of_role(suite_of(mountain.model_copy(update={"target": "China"})), "ripple") == []  # both in Asia
    [ripple] = of_role(suite_of(mountain.model_copy(update={"target": "Kenya"})), "ripple")
    assert (ripple.target, ripple.against) == ("Africa", "Asia")


def test_neighbors_have_other_subjects_and_answers_and_are_spread_over_the_file():
    neighbors = of_role(suite_of(EIFFEL), "neighborhood")
    assert len(neighbors) == NEIGHBORS
    assert all(fact.against == "Rome" != fact.target and fact.subject != "Eiffel Tower" for fact in neighbors)
    relation = next(each for each in shipped_facts() if each.id == "landmark-city")
    assert neighbors[-1].subject in [fact.subject for fact in relation.facts[-3:]]


def test_unrelated_facts_are_two_of_every_other_relation_and_name_nothing_of_the_edit():
    for case, names in ((HERO, {"Australia", "Canberra", "Sydney"}), (EIFFEL, {"Eiffel Tower", "Rome", "Paris"})):
        unrelated = of_role(suite_of(case), "unrelated")
        counts = Counter(relation_of(fact.prompt, fact.subject).id for fact in unrelated)
        assert set(counts.values()) == {2}
        assert len(counts) == len(shipped_facts()) - 1
        assert all(fact.against is None and not {fact.subject, fact.target} & names for fact in unrelated)


def test_attributes_are_what_other_relations_say_of_the_subject():
    assert [(fact.prompt, fact.target) for fact in of_role(suite_of(HERO), "attribute")] == [
        ("The official language of Australia is", "English")
    ]


def test_what_an_edit_takes_along_is_a_ripple_and_no_attribute():
    paris = Case(prompt="The city of Paris is the capital of", subject="Paris", target="Italy")
    lies_in = "The city of Paris is located in the country of"
    assert [fact.target for fact in suite_of(paris).facts if fact.prompt == lies_in] == ["Italy"]
    moved = Case(prompt=lies_in, subject="Paris", target="Italy")
    assert paris.prompt not in [fact.prompt for fact in of_role(suite_of(moved), "attribute")]


def test_every_shipped_fact_has_a_suite_in_which_no_prompt_stands_twice_and_targets_are_no_contradictions():
    for relation in shipped_facts():
        objects = list(dict.fromkeys(fact.object for fact in relation.facts))
        for fact in relation.facts[:6]:
            new = next(other for other in objects if other != fact.object)
            suite = suite_of(Case(prompt=relation.prompts(fact.subject)[1], subject=fact.subject, target=new))
            prompts = [each.prompt for each in suite.facts]
            assert len(set(prompts)) == len(prompts)
            assert suite.facts[0].role == "rewrite"
            for each in suite.facts:
                assert each.target != each.against
                assert each.subject in each.prompt
            assert all("{}" not in prompt for prompt in suite.generation_prompts)


def test_text_is_generated_about_the_subject_with_its_article():
    assert all("the Eiffel Tower" in prompt for prompt in suite_of(EIFFEL).generation_prompts)
    assert all(" Australia" in prompt and "the Australia" not in prompt for prompt in suite_of(HERO).generation_prompts)


@pytest.mark.parametrize(
    "change", [{"prompt": "Australia is ruled from"}, {"subject": None}, {"target": None}, {"target": " "}]
)
def test_an_edit_of_no_shipped_relation_has_no_suite(change):
    assert suite_for(HERO.model_copy(update=change)) is None


def test_ripples_name_relations_that_exist_and_ask_about_the_subject_once():
    ids = {relation.id for relation in shipped_facts()}
    for ripple in shipped_ripples():
        assert {ripple.of, ripple.relation} <= ids
        assert (ripple.kind == "two-hop") == (ripple.phrasing is not None)
        assert ripple.phrasing is None or ripple.phrasing.count("{}") == 1
        # What a ripple says can be checked: the facts of both relations meet somewhere.
        of, other = (next(r for r in shipped_facts() if r.id == name) for name in (ripple.of, ripple.relation))
        met = {fact.subject if ripple.kind == "same" else fact.object for fact in of.facts}
        assert met & {fact.subject for fact in other.facts}


# --- From files ---


@pytest.fixture
def file(tmp_path):
    def write(content, name="file.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1), encoding="utf-8")
        return path

    return write


def test_a_suite_is_read_as_it_was_written(file):
    suite = suite_of(EIFFEL)
    assert read_suite(file(suite.model_dump_json())) == suite
    assert read_suite(file(suite.model_dump_json(indent=2))) == suite


def test_a_suite_without_a_name_has_the_file_s(file):
    suite = read_suite(file({"facts": [{"role": "rewrite", "prompt": "A is", "target": "b"}]}, "mine.json"))
    assert suite.name == "mine"
    assert suite.facts == (SuiteFact(role="rewrite", prompt="A is", target="b"),)


PUBLISHED = {
    "case_id": 7,
    "requested_rewrite": {
        "prompt": "The mother tongue of {} is",
        "relation_id": "P103",
        "target_new": {"str": "English", "id": "Q1860"},
        "target_true": {"str": "French", "id": "Q150"},
        "subject": "Ann Lee",
    },
    "paraphrase_prompts": ["Ann Lee grew up with", "She speaks"],
    "neighborhood_prompts": ["The mother tongue of Bob Ray is", "Cleo Dun's first language,"],
    "attribute_prompts": ["J. Doe speaks"],
    "generation_prompts": ["Ann Lee's mother tongue is"],
}
FLAT = {
    "case_id": 7,
    "prompt": "The mother tongue of Ann Lee is",
    "target_new": "English",
    "subject": "Ann Lee",
    "ground_truth": "French",
    "rephrase_prompt": ["Ann Lee grew up with", "She speaks"],
    "locality_prompt": ["The mother tongue of Bob Ray is", "Cleo Dun's first language,"],
    "locality_ground_truth": ["French", "French"],
}


def test_both_layouts_of_a_counterfact_record_say_the_same(file):
    [published] = read_records(file([PUBLISHED]))
    [flat] = read_records(file([FLAT]))
    assert published.case == flat.case
    assert published.suite.facts == flat.suite.facts
    assert published.id == flat.id == "7"
    assert published.suite.generation_prompts == ("Ann Lee's mother tongue is",)
    assert published.case == Case(
        prompt="The mother tongue of Ann Lee is", subject="Ann Lee", target=" English", foil=" French"
    )
    assert [(fact.role, fact.subject, fact.target, fact.against) for fact in flat.suite.facts] == [
        ("rewrite", "Ann Lee", " English", " French"),
        ("paraphrase", "Ann Lee", " English", " French"),
        ("paraphrase", None, " English", " French"),
        ("neighborhood", None, " French", " English"),
        ("neighborhood", None, " French", " English"),
    ]


def test_a_flat_record_may_hold_single_texts_and_another_answer_of_its_neighbor(file):
    record = FLAT | {
        "rephrase_prompt": "She speaks",
        "locality_prompt": "Sol is a",
        "locality_ground_truth": "star",
        "case_id": 0,
    }
    [read] = read_records(file(record))
    assert [fact.target for fact in read.suite.facts] == [" English", " English", " star"]
    assert read.id == "0"


def test_what_follows_from_a_flat_record_is_a_ripple(file):
    [read] = read_records(file(FLAT | {"portability_prompt": "They write her in", "portability_ground_truth": "York"}))
    [ripple] = [fact for fact in read.suite.facts if fact.role == "ripple"]
    assert (ripple.prompt, ripple.target, ripple.against) == ("They write her in", " York", None)


def test_a_record_without_a_subject_is_read_for_those_editors_that_need_none(file):
    without = {name: value for name, value in FLAT.items() if name != "subject"}
    [flat, short] = read_records(file([without, {"prompt": "Zorp eats", "target": "plums"}]))
    assert (flat.case.subject, short.case.subject) == (None, None)
    assert flat.suite.name == "The mother tongue of Ann Lee is → English"
    assert {fact.subject for fact in flat.suite.facts} == {None}


def test_neighbors_that_share_a_word_with_the_subject_are_told(file):
    [read] = read_records(
        file(FLAT | {"locality_prompt": ["Bruce Lee's first language is", "The tongue of a bell is"]})
    )
    assert overlapping(read.suite) == {3}


def test_a_neighbor_whose_answer_is_the_new_one_must_stay_the_first_choice(file):
    [read] = read_records(file(FLAT | {"locality_ground_truth": ["English", "French"]}))
    assert [fact.against for fact in read.suite.facts[3:]] == [None, " English"]


def test_records_are_read_from_lines_arrays_and_our_own_format(file):
    ours = EditRecord(id="own", case=HERO, suite=suite_of(HERO))
    entries = [PUBLISHED, FLAT, ours.model_dump(), {"prompt": HERO.prompt, "subject": "Australia", "target": "Sydney"}]
    lines = read_records(file("\n\n".join(map(json.dumps, entries))))
    assert [record.id for record in lines] == ["7", "7", "own", "7"]  # the last has none and stands on line 7
    array = read_records(file(entries))
    assert [record.suite for record in lines] == [record.suite for record in array]
    assert lines[2] == ours
    assert lines[3].suite == suite_for(lines[3].case)


def test_a_short_record_of_an_unknown_relation_is_a_suite_of_one_fact(file):
    [record] = read_records(file({"prompt": "Zorp eats", "subject": "Zorp", "target": "plums"}))
    assert record.suite.facts == (SuiteFact(role="rewrite", prompt="Zorp eats", subject="Zorp", target=" plums"),)


def test_a_record_alone_may_stand_for_its_suite(file):
    for layout in (PUBLISHED, FLAT):
        assert read_suite(file(json.dumps(layout))) == read_records(file(json.dumps(layout)))[0].suite
    ours = EditRecord(id="own", case=HERO, suite=suite_of(HERO))
    assert read_suite(file(ours.model_dump_json())) == ours.suite


def test_several_records_are_not_a_suite(file):
    with pytest.raises(InputError, match="holds 2 records of edits; give them as --facts"):
        read_suite(file(f"{json.dumps(FLAT)}\n{json.dumps(PUBLISHED)}"))


FACT = '{"role": "rewrite", "prompt": "A is", "target": "b"}'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            f'{{"name": "x",\n"facts": [\n{FACT},\n{{"role": "rewrote", "prompt": "A", "target": "b"}}]}}',
            "line 4.*role",
        ),
        (f'{{"name": "x",\n"facts": [\n{FACT},\n\n{{"role": "rewrite", "target": "b"}}]}}', "fact 2 .*line 5.*prompt"),
        (f'{{"nome": "x",\n"facts": [{FACT}]}}', "nome"),
        ('{"name": "x",\n"facts": []}', "no facts"),
        (f'{{"name": "x",\n"facts": [{FACT}\n', "line 3"),
        (f'{{"facts": [{FACT}],\n"generation_prompts": "text"}}', "generation_prompts"),
        ("", "holds no records"),
        ("[]", "holds no records"),
        ("3", "line 1 .*is not a record"),
        ('{"name": "x"}', "line 1 .*'prompt' is missing"),
        (f"{json.dumps(FLAT)}\n{{broken}}", "line 2"),
        (f'{json.dumps(FLAT)}\n{{"prompt": "A is"}}', "line 2 .*'target' is missing"),
        (json.dumps(FLAT | {"locality_ground_truth": ["French"]}), "line 1 .*'locality_ground_truth' is missing"),
        (json.dumps(FLAT | {"prompt": 7}), "line 1 .*is not a record"),
        (json.dumps(FLAT | {"target_new": None}), "line 1 .*is not a record"),
        (json.dumps(FLAT | {"portability_prompt": "So"}), "line 1 .*'portability_ground_truth' is missing"),
        (json.dumps(FLAT | {"target_new": ["English"]}), "line 1 .*is not a record"),
        (json.dumps(PUBLISHED | {"requested_rewrite": 3}), "line 1 .*is not a record"),
    ],
)
def test_a_bad_file_is_one_sentence_with_its_line(text, sentence, file):
    with pytest.raises(InputError, match=sentence) as caught:
        read_suite(file(text))
    assert "\n" not in str(caught.value)


def test_suites_are_read_without_torch():
    script = "import sys; import workbench.datasets.suites; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
