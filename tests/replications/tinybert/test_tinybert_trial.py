"""TinyBERT on a generated toy: who starts where and learns from what, what a run measures and keeps."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kit.toy_evidence import all_right, record_of
from kit.toy_run import WORDS, picked, run_steps, small_run, toy_task
from torch.nn import functional as F

from common.costs.flops import EncoderShape, classifier_flops
from common.errors import UserError
from common.methods import Setting, find_method
from common.models.classifier import EncoderClassifier, PooledClassifier, classifier_logits
from common.records.claims import Decision
from common.records.measurements import Measurement
from common.records.predictions import Evidence, static_name
from common.run.replication import Run
from common.task_run import TaskRun
from common.tasks.task import Example
from common.training.batches import encode
from replications.tinybert import distillation as module
from replications.tinybert.claims import DECIDERS
from replications.tinybert.contender import TinyBERT
from replications.tinybert.distillation import Distillation, side_by_side
from replications.tinybert.experiments import ABLATED, trained_steps
from replications.tinybert.general import General, slug
from replications.tinybert.method import Objective, Student, TinyClassifier
from replications.tinybert.names import (
    BERT_TINY,
    BERT_TINY_TD,
    BOTTOM,
    LANGUAGE_MODEL,
    NARROW,
    TABLE_2,
    TABLE_3,
    TABLE_4,
    TABLE_7,
    TEACHER,
    TINYBERT,
    TINYBERT_GD,
    TOP,
    UNIFORM,
    WITHOUT_ATTN,
    WITHOUT_DA,
    WITHOUT_EMBD,
    WITHOUT_GD,
    WITHOUT_HIDN,
    WITHOUT_PRED,
    WITHOUT_TD,
    WITHOUT_TRM,
)
from replications.tinybert.settings import SETTINGS
from replications.tinybert.students import DIRECT, GENERAL, OBJECTIVES, VARIANTS, Variant

CPU = torch.device("cpu")
MOOD = toy_task("mood", ("sad", "happy"), lambda i: i % 3 > 0)
DEGREES = toy_task("degrees", (), lambda i: i / 3, "spearman")


def distillation_of(run: Run, task: str) -> Distillation:
    task_run = TaskRun.of(run, task, 0)
    return Distillation(task_run, General(run, task_run.backbone))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("run"), MOOD, DEGREES)


@pytest.fixture(scope="module")
def mood(run: Run) -> Distillation:
    return distillation_of(run, "mood")


# -- Who is who -------------------------------------------------------------------------------------------------------


def test_the_ablations_are_those_of_the_tables() -> None:
    assert {*TABLE_2, *TABLE_3, *TABLE_4.values(), *TABLE_7.values()} == set(VARIANTS)
    changed: dict[str, dict[str, object]] = {
        TINYBERT: {},
        WITHOUT_GD: {"start": "nothing"},
        WITHOUT_TD: {"distilled": False},
        WITHOUT_DA: {"augmented": False},
        WITHOUT_EMBD: {"objective": Objective(embedding=False)},
        WITHOUT_PRED: {"from_labels": True},
        WITHOUT_TRM: {"objective": Objective(attention=False, hidden=False)},
        WITHOUT_ATTN: {"objective": Objective(attention=False)},
        WITHOUT_HIDN: {"objective": Objective(hidden=False)},
        TOP: {"objective": Objective(mapping=TOP)},
        BOTTOM: {"objective": Objective(mapping=BOTTOM)},
        BERT_TINY: {"start": DIRECT, "distilled": False, "augmented": False},
        BERT_TINY_TD: {"start": DIRECT, "augmented": False},
        TINYBERT_GD: {"distilled": False, "augmented": False},
    }
    plain = Variant("general distillation", Objective(True, True, True, UNIFORM), True, False, True)
    assert dict(VARIANTS) == {name: replace(plain, **changes) for name, changes in changed.items()}  # type: ignore[arg-type]


def test_who_learns_side_by_side_sees_the_same_texts() -> None:
    for name, variant in VARIANTS.items():
        if not variant.distilled:
            continue
        group = side_by_side(name)
        assert {VARIANTS[other].augmented for other in group} == {variant.augmented}
        assert name in group or name == WITHOUT_PRED
    assert side_by_side(TINYBERT) == side_by_side(WITHOUT_PRED) == (TINYBERT,)
    assert side_by_side(WITHOUT_DA) == side_by_side(BERT_TINY_TD) == (WITHOUT_DA, BERT_TINY_TD)


# -- General distillation ---------------------------------------------------------------------------------------------


def test_general_students_are_the_same_for_every_seed_and_task(run: Run) -> None:
    starts = {d.general.folder(NARROW) for d in (distillation_of(run, t) for t in ("mood", "degrees"))}
    other = TaskRun.of(run, "mood", 1)
    assert starts == {General(run, other.backbone).folder(NARROW)}


def test_an_ablated_general_student_is_one_of_its_own(mood: Distillation) -> None:
    whole = Student.load(mood.general.folder(NARROW))
    for name in (WITHOUT_TRM, TOP):
        other = Student.load(mood.general.ablated_folder(name))
        assert not torch.equal(whole.encoder.word_embeddings, other.encoder.word_embeddings)
    assert set(OBJECTIVES) == {n for n, v in VARIANTS.items() if v.start == GENERAL and v.objective != Objective()}


def test_a_general_student_is_an_encoder_and_the_shared_map(mood: Distillation) -> None:
    """Nothing else is asked of it: it has no head for words, for sentences or for classes."""
    folder = mood.general.folder(NARROW)
    assert {path.name for path in folder.iterdir()} == {"encoder", "projection.safetensors"}
    assert Student.load(folder).encoder.pooler_dense is None


def test_without_plain_text_the_tasks_own_is_taken_where_it_is_offered(tmp_path: Path) -> None:
    bare = replace(small_run(tmp_path, MOOD), data="files", data_dir=tmp_path)
    source = bare.encoder("random:tiny")
    with pytest.raises(UserError, match="no plain text to pre-train on"):
        General(bare, source).steps([NARROW])
    own = General(bare, source, ["good film", "bad plot"] * 400)
    steps = own.steps([NARROW])
    assert next(step.name for step in steps) == "general distillation on the task's own texts: TinyBERT narrow"
    assert Student.load(own.folder(NARROW)).encoder.num_layers == 2


# -- Task distillation ------------------------------------------------------------------------------------------------


def test_the_teacher_has_the_relu_head_and_the_baselines_plan(mood: Distillation) -> None:
    teacher, baseline = mood.teacher(), mood.task_run.classifier()
    split = mood.task_run.splits["dev"]
    torch.testing.assert_close(mood.teacher_logits["dev"], classifier_logits(teacher, split, CPU))
    assert teacher.pooling == baseline.pooling
    assert not torch.equal(teacher.head.classifier.weight, baseline.head.classifier.weight)


def taught_by(d: Distillation, name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the second step of a student was given: its batches and its loss."""
    seen: dict[str, Any] = {}

    def trained(kind: str, facts: Any, fresh: Any, batches: Any, loss: Any, plan: Any, **more: Any) -> Path:
        if kind == f"tinybert-{NARROW}":
            seen.update(split=batches().split, loss=loss, model=fresh, facts=facts)
            return Path("not trained")
        return real(kind, facts, fresh, batches, loss, plan, **more)

    real = d.task_run.trained
    with monkeypatch.context() as patch:
        patch.setattr(d.task_run, "trained", trained)
        d.folder(name)
    return seen


def test_the_second_step_learns_the_teachers_answers_to_the_augmented_texts(
    mood: Distillation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else: no gold labels, no layers."""
    seen = taught_by(mood, TINYBERT, monkeypatch)
    wanted = classifier_logits(mood.teacher(), mood.shown, CPU)
    torch.testing.assert_close(seen["split"].labels, wanted)
    assert len(seen["split"]) == len(mood.augmented) > len(mood.task.train)
    model, batch = seen["model"](), seen["split"].batch([0, 1, 2])
    expected = F.cross_entropy(model.eval()(batch), torch.softmax(wanted[:3], -1))
    torch.testing.assert_close(seen["loss"](model, batch), expected)
    first = Student.load(mood.first_step(TINYBERT)).encoder
    assert torch.equal(model.encoder.word_embeddings, first.word_embeddings), "it goes on from the first step"


@pytest.mark.parametrize("name", [WITHOUT_PRED, BERT_TINY, TINYBERT_GD])
def test_students_without_the_second_step_learn_the_original_labels(
    mood: Distillation, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    seen = taught_by(mood, name, monkeypatch)
    assert seen["split"].labels.tolist() == [e.label for e in mood.task.train]


def test_without_task_distillation_the_labels_of_augmented_texts_are_learned(
    mood: Distillation, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = taught_by(mood, WITHOUT_TD, monkeypatch)
    assert seen["split"].labels.tolist() == [e.label for e in mood.augmented]
    general = Student.load(mood.general.folder(NARROW)).encoder
    assert torch.equal(seen["model"]().encoder.word_embeddings, general.word_embeddings)


def test_of_a_regression_the_teachers_values_of_the_original_texts_are_learned(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the gold scores, as in the released code."""
    degrees = distillation_of(run, "degrees")
    seen = taught_by(degrees, TINYBERT, monkeypatch)
    assert len(seen["split"]) == len(degrees.task.train)
    torch.testing.assert_close(
        seen["split"].labels, classifier_logits(degrees.teacher(), degrees.task_run.encoded.train, CPU)
    )
    assert seen["split"].labels.shape == (len(degrees.task.train), 1)
    batch = seen["split"].batch([0, 1])
    model = seen["model"]().eval()
    torch.testing.assert_close(seen["loss"](model, batch), F.mse_loss(model(batch), batch.labels))


def test_the_first_step_begins_where_general_distillation_ended(mood: Distillation) -> None:
    origins = {name: mood._start(name, NARROW) for name in (TINYBERT, WITHOUT_GD, BERT_TINY_TD, TOP)}
    whole = Student.load(mood.general.folder(NARROW)).encoder.word_embeddings
    starts = {name: load().encoder.word_embeddings for name, (_, load) in origins.items()}
    assert torch.equal(starts[TINYBERT], whole)
    for name in (WITHOUT_GD, BERT_TINY_TD, TOP):
        assert not torch.equal(starts[name], whole)
    drawn = mood.general.fresh(SETTINGS["smoke"].narrow).encoder.word_embeddings
    assert torch.equal(starts[WITHOUT_GD], drawn)
    assert len({origin for origin, _ in origins.values()}) == 4
    after = Student.load(mood.first_step(TINYBERT))
    assert not torch.equal(after.projection.weight, Student.load(mood.general.folder(NARROW)).projection.weight), (
        "the shared map goes on learning"
    )


def test_a_teacher_with_its_classes_in_another_order_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen by its score on held-back examples, before anything is distilled."""
    d = distillation_of(small_run(tmp_path, MOOD), "mood")
    labels = {name: split.labels for name, split in d.task_run.splits.items()}
    logits = {name: 5.0 * F.one_hot(1 - truth, 2).float() for name, truth in labels.items()}
    monkeypatch.setattr(Distillation, "logits_of", lambda self, folder, name: logits)
    monkeypatch.setattr(Distillation, "teacher_folder", lambda self: tmp_path)
    with pytest.raises(UserError, match="another order than the task's"):
        _ = d.teacher_logits


def test_an_ordinary_classifier_is_no_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    d = distillation_of(small_run(tmp_path, MOOD), "mood")
    usual = EncoderClassifier(d.task_run.backbone.encoder, PooledClassifier(64, 2))
    usual.save(tmp_path / "usual")
    monkeypatch.setattr(Distillation, "teacher_folder", lambda self: tmp_path / "usual")
    with pytest.raises(UserError, match="fine-tune the teacher with this head"):
        d.teacher()


# -- Augmented texts --------------------------------------------------------------------------------------------------


def test_augmented_texts_are_kept_with_their_labels(mood: Distillation) -> None:
    assert {(e.text_a, e.label) for e in mood.task.train} <= {(e.text_a, e.label) for e in mood.augmented}
    new = [e for e in mood.augmented if (e.text_a, e.label) not in {(x.text_a, x.label) for x in mood.task.train}]
    assert new
    assert any(word not in WORDS for e in new for word in e.text_a.split())
    again = distillation_of(mood.task_run.run, "mood")
    assert again.augmented == mood.augmented


def test_word_vectors_are_taken_from_the_data_folder_or_their_lack_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    run = replace(small_run(tmp_path / "cache", MOOD), say=said.append)
    examples = [Example("good", None, 0.0)]
    monkeypatch.setattr(module.Augmenter, "augmented", lambda self, train, seed: seen.append(self.glove) or examples)
    seen: list[Any] = []
    assert distillation_of(run, "mood").augmented == examples
    assert seen == [None]
    assert any("no word vectors" in line for line in said)
    vectors = tmp_path / "data" / "glove6b"
    vectors.mkdir(parents=True)
    (vectors / "glove.txt").write_text("good 1 0\n")
    with_vectors = distillation_of(replace(run, data_dir=tmp_path / "data"), "mood")
    assert with_vectors.augmented == examples
    assert seen[1].words == ("good",)


# -- The contender ----------------------------------------------------------------------------------------------------


def test_others_find_it_by_name_and_it_learns_values_too(run: Run) -> None:
    method = find_method("tinybert")
    assert isinstance(method.on(TaskRun.of(run, "mood", 0)), TinyBERT)
    assert method.regression


def test_the_contender_answers_as_its_model_after_no_layer_of_the_backbone(run: Run) -> None:
    task_run = TaskRun.of(run, "mood", 0)
    contender = TinyBERT(task_run)
    (setting,) = contender.settings
    assert setting == Setting(NARROW, 2)
    outcome = contender.outcome("dev", setting)
    assert not outcome.exit_layer.any()
    model = contender.distillation.model()
    assert isinstance(model, TinyClassifier)
    torch.testing.assert_close(outcome.logits, classifier_logits(model, task_run.splits["dev"], CPU))
    examples = task_run.task.dev[:4]
    torch.testing.assert_close(contender.answer(setting)(examples), outcome.logits[:4], rtol=1e-4, atol=1e-5)
    tokens = len(encode(task_run.backbone.tokenizer, examples[:1], regression=False, max_length=128).input_ids[0])
    shape = EncoderShape(layers=2, hidden=32, intermediate=128, heads=4, vocabulary=30522)
    assert contender.flops("dev", setting)[0] == classifier_flops(shape, tokens, 2)
    assert [step.name.split(": ")[-1] for step in contender.training_steps()][-1] == "TinyBERT narrow"


# -- The run ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Measurement], list[Evidence]]]:
    """Every step on the toy; what was trained above is found."""
    kept: list[Evidence] = []
    folder = tmp_path_factory.mktemp("whole")
    mine = replace(run, task_names=("mood", "degrees"), scratch=folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(mine), "keep", lambda self, evidence: kept.append(evidence))
        yield run_steps(trained_steps(mine), mine, folder), kept


def test_every_table_has_its_rows(measured: tuple[list[Measurement], list[Evidence]]) -> None:
    rows, _ = measured
    for table, systems in (("table2", TABLE_2), ("table3", TABLE_3), ("table4", TABLE_4), ("table7", TABLE_7)):
        found = picked(rows, experiment=table, task="mood", metric="score")
        assert [m.system for m in found] == list(systems)
    first = {(m.system, m.setting) for m in picked(rows, experiment="table1", task="degrees", metric="score")}
    assert first == {
        ("constant answer", ""),
        ("baseline", ""),
        (static_name(2), ""),
        (TEACHER, ""),
        (TINYBERT, NARROW),
        (BERT_TINY, ""),
    }
    speed = picked(rows, experiment="table1", task="mood", system=TINYBERT, metric="flops_speedup")
    assert speed[0].value > 4
    assert picked(rows, experiment="table1", task="mood", system=TINYBERT, metric="time_speedup")
    (macro,) = picked(rows, experiment="table1", task="macro", system=TEACHER, metric="score")
    each = [
        picked(rows, experiment="table1", task=t, system=TEACHER, metric="score")[0].value for t in ("mood", "degrees")
    ]
    assert macro.value == pytest.approx(np.mean(each))


def test_every_general_student_is_scored_on_text_held_back(measured: tuple[list[Measurement], list[Evidence]]) -> None:
    rows, _ = measured
    for name, setting in ((TINYBERT, NARROW), *((n, "") for n in OBJECTIVES)):
        found = picked(rows, experiment="pretraining", system=name, setting=setting)
        assert {m.metric for m in found} == {"attention_loss", "hidden_loss", "embedding_loss", "tokens"}
    masked = {m.metric: m.value for m in picked(rows, experiment="pretraining", system=LANGUAGE_MODEL)}
    assert set(masked) == {"masked_accuracy", "unigram_accuracy"}


def test_ablations_are_made_where_the_paper_makes_them_with_the_first_seed_where_a_scale_spares(tmp_path: Path) -> None:
    run = small_run(tmp_path, MOOD, DEGREES, seeds=(0, 1))
    names = [step.name for step in trained_steps(run)]
    assert [name for name in names if "13 other" in name] == ["mood seed 0: 13 other students"]
    assert {"mrpc", "cola", "mnli"} < ABLATED


def test_claims_read_what_a_run_keeps(measured: tuple[list[Measurement], list[Evidence]]) -> None:
    _, kept = measured
    trained = [all_right(e) for e in kept]
    for claim, decide in DECIDERS.items():
        found = decide(record_of(*trained))
        if claim in (
            "tinybert4-smaller",
            "tinybert4-faster",
            "tinybert4-28-params",
            "tinybert4-31-time",
            "tinybert6-on-par",
        ):
            assert found is None
        else:
            assert isinstance(found, Decision), claim
            assert "mood" in found.tasks


def test_slugs_are_names_of_folders_and_modules() -> None:
    slugs = [slug(name) for name in VARIANTS]
    assert len(set(slugs)) == len(VARIANTS)
    assert slug(BERT_TINY_TD) == "bert-tiny-td"
    assert slug(WITHOUT_TRM) == "w-o-trm"
