"""A whole run on toy settings: what is trained, what is kept, what tables say; and the pairs that models are asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from kit.toy_evidence import all_right, record_of
from kit.toy_run import picked, run_steps, small_run, toy_task

from common.errors import UserError
from common.records.measurements import Measurement
from common.run.artifacts import ArtifactStore
from common.run.replication import Run
from common.scales import find_scale
from common.tasks.corpora import Corpus, texts_as_corpus
from common.training.loop import fused_adamw
from common.training.pretraining import pretrainer
from replications.albert import pretraining, settings
from replications.albert.claims import DECIDERS
from replications.albert.distances import moved
from replications.albert.experiments import Findings, trained_steps
from replications.albert.lamb import Lamb, lamb
from replications.albert.masking import NgramMasking
from replications.albert.method import Shape
from replications.albert.names import ADAMW, INTRINSIC, LAMB, NO_TASK, NSP, OBJECTIVES, PAIR_HITS, SOP, WORD_HITS
from replications.albert.pretraining import OPTIMISERS, Laboratory, Model, Steps
from replications.albert.settings import SETTINGS
from replications.albert.vocabulary import trained_tokenizer

BASE = Shape(layers=2, hidden=12, heads=2, embedding=2, positions=32)
SMOKE = SETTINGS["smoke"]
TOY = replace(
    SMOKE,
    base=BASE,
    embeddings=(1, 2, 4, 12),
    strategies_at=(12, 2),
    depths=(replace(BASE, layers=1), BASE),
    widths=(),
    dropouts=(0.1,),
    vocabulary=300,
    words=3_000,
    pretraining=replace(SMOKE.pretraining, batch_size=8, max_length=24),
    steps=2,
    finetuning=replace(SMOKE.finetuning, epochs=1, max_length=24),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("albert")


@pytest.fixture(scope="module")
def patched() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "settings_of", lambda scale, data: TOY)
        patch.setattr(pretrainer, "matmul_rate", lambda *sizes, **how: 1e9)
        yield patch


@pytest.fixture(scope="module")
def run(folder: Path, patched: Any) -> Run:
    tasks = [toy_task(name, ("no", "yes"), lambda i: float(i % 2)) for name in ("mood", "reply")]
    return small_run(folder, *tasks, seeds=(0, 1))


@pytest.fixture(scope="module")
def rows(run: Run, folder: Path) -> list[Measurement]:
    return run_steps(trained_steps(run), run, folder / "journal")


# -- The run ----------------------------------------------------------------------------------------------------------


def test_every_table_has_its_rows_for_every_task_and_seed(rows: list[Measurement]) -> None:
    scores = picked(rows, experiment="table4", metric="score")
    for task in ("mood", "reply", "macro", "MLM", NSP, SOP):
        for seed in (0, 1):
            found = {(m.system, m.setting) for m in scores if (m.task, m.seed) == (task, seed)} - {("baseline", "")}
            assert len(found) == 8, (task, seed)
    assert {m.system for m in picked(rows, experiment="table5-intrinsic", metric="score")} == set(OBJECTIVES)
    assert {m.task for m in picked(rows, experiment="table5-intrinsic", metric="score")} == {"MLM", NSP, SOP}
    assert {m.task for m in picked(rows, experiment="table5-downstream", metric="score")} == {"mood", "reply", "macro"}
    assert {m.system for m in picked(rows, experiment="optimisers", metric="score")} >= {LAMB, ADAMW}


def test_where_a_scale_spares_other_seeds_train_sharing_and_embeddings_alone(rows: list[Measurement]) -> None:
    by_seed = {seed: {m.experiment for m in rows if m.seed == seed and m.system != "baseline"} for seed in (0, 1)}
    assert by_seed[0] - by_seed[1] == {"table5-intrinsic", "table5-downstream", "table8", "table11", "optimisers"}
    assert {"table3", "table4", "figure1", "budget"} <= by_seed[1]


def test_a_default_run_of_one_seed_leaves_out_what_a_record_has() -> None:
    def tables(*seeds: int) -> set[str]:
        run = SimpleNamespace(seeds=seeds, scale=find_scale("mini"))
        lab: Any = SimpleNamespace(run=run, settings=SETTINGS["mini"])
        return {experiment for row in Findings(lab, 0, ()).rows for experiment in row.experiments}

    assert tables(0, 1, 2) - tables(0) == {"table8", "table12", "groups", "optimisers"}
    assert tables(0) >= {"table3", "table4", "table5-downstream", "table11"}
    assert not SETTINGS["smoke"].left_to_several, "the smoke scale has one seed and trains everything"


def test_an_average_is_the_mean_over_tasks(rows: list[Measurement]) -> None:
    for m in picked(rows, experiment="table3", task="macro"):
        same = {"experiment": "table3", "system": m.system, "setting": m.setting, "seed": m.seed, "metric": "score"}
        parts = [picked(rows, task=task, **same)[0].value for task in ("mood", "reply")]
        assert m.value == pytest.approx(np.mean(parts))


def test_every_table_says_what_part_of_the_papers_budget_it_rests_on(rows: list[Measurement]) -> None:
    tokens = TOY.steps * 8 * 24
    (budget,) = picked(rows, metric="tokens", seed=0)
    assert budget.value == tokens
    (share,) = picked(rows, metric="tokens_share", seed=0)
    assert share.value == pytest.approx(tokens / (125_000 * 4096 * 512))
    scored = [m for m in rows if m.metric == "score" and m.task in ("mood", "MLM")]
    assert all("% of the paper's)" in m.backbone for m in scored)


def test_the_experiments_keep_what_the_claims_read(run: Run, rows: list[Measurement]) -> None:
    kept = [all_right(e) if e.metric else e for e in run.evidence]
    assert {(e.task, e.seed) for e in kept} == {(t, s) for t in ("mood", "reply", INTRINSIC) for s in (0, 1)}
    clean = [m.model_copy(update={"scale": "mini"}) for m in rows]
    record = record_of(*kept, measurements=clean)
    sized_or_timed = {
        "albert-large-18x-fewer",
        "albert-large-1-7x-training",
        "albert-xxlarge-slower",
        "albert-xxlarge-70pct-params",
    }
    not_at_this_depth = {"albert-depth-saturates", "albert-width-saturates"}
    of_pairs = {"albert-nsp-chance-on-sop", "albert-sop-solves-nsp"}
    for claim, decide in DECIDERS.items():
        found = decide(record)
        if claim not in sized_or_timed | not_at_this_depth | of_pairs:
            assert found is not None, claim
    hits = next(e for e in kept if e.task == INTRINSIC)
    for objective in (NSP, SOP):
        assert {f"{objective}/{name}" for name in (WORD_HITS, *PAIR_HITS.values())} <= set(hits.arrays)


def test_figure_1_is_of_shared_layers_and_of_layers_of_their_own(rows: list[Measurement]) -> None:
    found = picked(rows, experiment="figure1", metric="distance", seed=0)
    assert {(m.system, m.at) for m in found} == {(s, k) for s in ("all-shared", "not-shared") for k in (1, 2)}
    x, y = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 1.0], [0.0, 3.0]])
    torch.testing.assert_close(moved(x, y), torch.tensor([[2**0.5, 90.0], [1.0, 0.0]]), atol=1e-3, rtol=0)


# -- Pre-training -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab(run: Run) -> Laboratory:
    return Laboratory(run)


def test_all_models_see_the_same_rows_masked_alike(lab: Laboratory) -> None:
    first = [batch for objective in OBJECTIVES for batch in [next(lab.batches(objective, seed=0).epoch(0))]]
    assert first[0].order is None and first[1].order is not None
    assert torch.equal(next(lab.batches(SOP, 0).epoch(0)).input_ids, first[2].input_ids)
    assert not torch.equal(next(lab.batches(SOP, 1).epoch(0)).input_ids, first[2].input_ids)


def test_swapped_segments_are_of_one_document_and_strangers_are_not(lab: Laboratory) -> None:
    """The official code labels strangers as swapped where a chunk has one segment; here there are none."""
    documents = {tuple(document): number for number, document in enumerate(_documents(lab))}
    where = {tuple(s): number for document, number in documents.items() for s in document}
    swapped = followed = 0
    for objective in (SOP, NSP):
        batches = replace(lab.held_back(objective), masking=None)
        for batch in batches.epoch(0):
            assert batch.order is not None and batch.token_type_ids is not None
            for row, types, mask, order in zip(
                batch.input_ids,
                batch.token_type_ids,
                batch.attention_mask,
                batch.order,
                strict=True,  # type: ignore[arg-type]
            ):
                both = [row[(types == k) & (mask == 1)] for k in (0, 1)]
                texts = [tuple(t for t in part.tolist() if t not in lab.words.special) for part in both]
                found = [{n for s, n in where.items() if _within(s, text)} for text in texts]
                if objective == SOP:
                    assert found[0] & found[1], "both segments come from one document"
                    swapped += int(order)
                else:
                    followed += int(not order)
    assert swapped and followed


def _documents(lab: Laboratory) -> list[list[tuple[int, ...]]]:
    found = []
    for document in lab.corpus.documents():
        ids = lab.tokenizer(list(document), add_special_tokens=False)["input_ids"]
        found.append([tuple(s) for s in ids])
    return [d for d in found if d]  # type: ignore[misc]


def _within(sentence: Sequence[int], text: Sequence[int]) -> bool:
    return any(tuple(text[i : i + len(sentence)]) == tuple(sentence) for i in range(len(text) - len(sentence) + 1))


def test_a_budget_is_so_many_steps_over_as_many_passes_as_it_takes(lab: Laboratory) -> None:
    source = lab.batches(SOP, seed=0).source
    many = Steps(source, 2 * len(source) + 1)
    batches = list(many.epoch(0))
    assert len(batches) == len(many) == 2 * len(source) + 1
    assert not torch.equal(batches[0].input_ids, batches[len(source)].input_ids), "a second pass has another order"
    later = list(many.epoch_from(0, len(source) + 1))
    assert len(later) == len(source)
    assert torch.equal(later[0].input_ids, batches[len(source) + 1].input_ids)
    assert torch.equal(later[-1].input_ids, batches[-1].input_ids)


def test_masks_are_drawn_anew_in_every_pass(lab: Laboratory) -> None:
    source = lab.batches(NO_TASK, seed=0).source
    places = [source.batch([0], torch.Generator().manual_seed(k)).places.tolist() for k in range(8)]
    assert len({tuple(p) for p in places}) > 1


def handed(lab: Laboratory, model: Model, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the pre-training of a model is handed."""
    found = SimpleNamespace()

    def trained(_: object, name: str, facts: dict[str, Any], *__: object, **more: Any) -> Path:
        found.facts, found.make_optimizer = facts, more["make_optimizer"]
        return Path()

    with monkeypatch.context() as patch:
        patch.setattr(pretraining.Pretrainer, "trained", trained)
        lab.folder(model, 0)
    return found


def test_spans_are_of_one_to_three_words_and_another_length_is_another_model(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lab.masking.longest == 3
    for objective in OBJECTIVES:
        for batches in (lab.batches(objective, seed=0).source, lab.held_back(objective)):
            assert isinstance(batches.masking, NgramMasking) and batches.masking.longest == 3
    facts = handed(lab, Model(BASE), monkeypatch).facts
    assert (facts["longest"], facts["share"], facts["most"]) == (3, 0.15, TOY.most)


def test_each_model_is_trained_by_the_optimiser_that_it_names_or_by_the_scales(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TOY.optimiser == ADAMW and SETTINGS["base"].optimiser == SETTINGS["paper"].optimiser == LAMB
    by_lamb, own = (handed(lab, model, monkeypatch) for model in (Model(BASE, optimiser=LAMB), Model(BASE)))
    assert (by_lamb.make_optimizer, by_lamb.facts["optimiser"]) == (lamb, LAMB)
    assert (own.make_optimizer, own.facts["optimiser"]) == (fused_adamw, ADAMW)
    larger = Laboratory(lab.run)
    larger.__dict__.update(lab.__dict__, settings=replace(TOY, optimiser=LAMB))
    assert handed(larger, Model(BASE), monkeypatch).make_optimizer is lamb


def test_optimisers_are_the_papers_and_the_suites(lab: Laboratory) -> None:
    assert OPTIMISERS[ADAMW] is fused_adamw
    module = torch.nn.Linear(2, 2)
    assert isinstance(OPTIMISERS[LAMB](module, TOY.pretraining), Lamb)
    own, other = Model(BASE), Model(BASE, optimiser=LAMB)
    assert lab.plan(own, 3).learning_rate == TOY.pretraining.learning_rate
    assert lab.plan(other, 3).learning_rate == TOY.other_rate
    assert lab.plan(other, 3).seed == 3


def test_fine_tuning_has_the_settings_dropout_whatever_pre_training_had(lab: Laboratory) -> None:
    dropped = lab.pretrained(Model(replace(BASE, dropout=0.1)), 0)
    plain = lab.pretrained(Model(BASE), 0)
    assert dropped.encoder.shape.dropout == plain.encoder.shape.dropout == TOY.tuning_dropout


def test_steps_are_planned_without_training(lab: Laboratory) -> None:
    findings = Findings(lab, 0, ("mood",))
    assert all(step.seconds > 0 for step in findings.pretraining_steps())
    assert len({model.label for model in findings.models}) == len(findings.models)


# -- The vocabulary ---------------------------------------------------------------------------------------------------


def tokenizer_of(folder: Path, corpus: Corpus, size: int = 300, **how: bool) -> Any:
    return trained_tokenizer(ArtifactStore(folder), corpus, size, lambda line: None, **how)


def test_a_vocabulary_is_the_same_from_training_to_training(tmp_path: Path) -> None:
    corpus = texts_as_corpus("toy", [f"the {a} cat and a {b} dog sat still." for a in "abcdefgh" for b in "klmnop"])
    states = [tokenizer_of(tmp_path / name, corpus).backend_tokenizer.to_str() for name in "ab"]
    assert states[0] == states[1]


def test_two_texts_are_framed_as_in_the_paper(lab: Laboratory) -> None:
    tokenizer, words = lab.tokenizer, lab.words
    pieces = tokenizer.convert_ids_to_tokens(tokenizer("Peter", "Sad")["input_ids"])
    assert pieces[0] == "[CLS]" and pieces.count("[SEP]") == 2 and pieces[-1] == "[SEP]"
    types = tokenizer("Peter", "Sad")["token_type_ids"]
    assert types == [0] * (pieces.index("[SEP]") + 1) + [1] * (len(pieces) - pieces.index("[SEP]") - 1)
    begins, ends = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]"])
    assert (words.before, words.between, words.after) == ((begins,), (ends,), (ends,))
    assert tokenizer.tokenize("PÉTER") == tokenizer.tokenize("peter")


def test_generated_words_are_pieces_of_their_own(lab: Laboratory, tmp_path: Path) -> None:
    """Left to itself, SentencePiece cuts words that share nothing with others into fragments."""
    assert lab.tokenizer.tokenize("Peter, on strike.") == ["▁peter", ",", "▁on", "▁strike", "."]
    unknown = lab.tokenizer.unk_token_id
    assert lab.tokenizer("strike peter", add_special_tokens=False)["input_ids"][0] == unknown
    assert len(tokenizer_of(tmp_path, lab.corpus).tokenize("peter")) > 1


def test_a_vocabulary_of_nothing_or_of_hardly_anything_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="hardly more than an alphabet: expected at least 200"):
        tokenizer_of(tmp_path, texts_as_corpus("toy", ["a b"]), 100)
    with pytest.raises(UserError, match="empty holds no text to make a vocabulary of"):
        tokenizer_of(tmp_path, Corpus("empty", "none", lambda: iter([])))


def test_real_text_has_settings_of_its_own_at_mini_alone() -> None:
    assert settings.settings_of("mini", "files") == settings.settings_of("mini", "hub") != SETTINGS["mini"]
    assert settings.settings_of("mini", "builtin") == SETTINGS["mini"]
    assert settings.settings_of("base", "files") == SETTINGS["base"]
