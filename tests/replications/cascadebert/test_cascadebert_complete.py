"""Complete small encoders: what they read, what they learn."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from common.encoders.layered import LayeredEncoder
from common.encoders.sources import load_encoder
from common.errors import UserError
from common.models.classifier import EncoderClassifier, PooledClassifier
from common.run.artifacts import ArtifactStore
from common.run.replication import Run
from common.scales import SCALES
from common.tasks.builtin import builtin_task
from common.training.batches import BucketedBatches
from common.training.finetune import classification_loss
from common.training.loop import TrainingPlan, fit
from replications.cascadebert.complete import (
    CompleteEncoders,
    Pretraining,
    Students,
    encode_texts,
    imitation_loss,
    plain_texts,
    with_kept_embeddings,
)
from replications.cascadebert.experiments import trained_steps

CPU = torch.device("cpu")
PLAN = TrainingPlan(learning_rate=2e-3, epochs=4, batch_size=8, seed=0, max_length=32)
TEXTS = [f"the {a} {b} is {c}" for a in ("old", "new", "red") for b in ("car", "dog", "sea") for c in ("far", "wet")]


def run_on(data: str, tmp_path: Path, data_dir: Path | None = None) -> Run:
    store = ArtifactStore(tmp_path)
    return Run("r", SCALES["smoke"], data, data_dir, (), (0,), store, tmp_path, lambda *_: None, lambda line: None)


# -- Plain text -------------------------------------------------------------------------------------------------------


def test_generated_text_has_the_asked_size_and_none_of_the_reported_texts(tmp_path: Path) -> None:
    texts = plain_texts(run_on("builtin", tmp_path), 800)
    assert 800 <= sum(len(t.split()) for t in texts) < 850
    assert len(set(texts)) == len(texts)
    assert texts == plain_texts(run_on("builtin", tmp_path), 800)
    for name in ("sentiment", "entailment", "paraphrase"):
        dev = builtin_task(name, train_size=120, dev_size=1200, test_size=120).dev
        assert not set(texts) & {text for e in dev for text in (e.text_a, e.text_b)}


def test_files_give_sentences_of_wikipedia(tmp_path: Path) -> None:
    folder = tmp_path / "wiki_en_2021"
    folder.mkdir()
    lines = [f"Here is the sentence number {i}. Too short. And one more sentence about {i}!" for i in range(50)]
    (folder / "train.txt").write_text("\n\n".join(lines), encoding="utf-8")
    texts = plain_texts(run_on("files", tmp_path, tmp_path), 100)
    assert 100 <= sum(len(t.split()) for t in texts) < 120
    assert "Too short." not in texts
    assert all(t.endswith((".", "!")) for t in texts)


def test_without_plain_text_the_user_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="DATA=builtin or DATA=files; at SCALE=paper"):
        plain_texts(run_on("hub", tmp_path), 100)
    with pytest.raises(UserError, match="wiki_en_2021"):
        plain_texts(run_on("files", tmp_path, tmp_path), 100)


def test_a_plan_says_that_plain_text_is_wanted_and_why(tmp_path: Path) -> None:
    run = replace(run_on("files", tmp_path, tmp_path), task_names=("mine",))
    with pytest.raises(UserError, match="made from plain text, whatever the task.*train.txt in the folder wiki"):
        trained_steps(run)


def test_texts_come_alone_and_in_pairs() -> None:
    split = encode_texts(load_encoder("random:tiny").tokenizer, TEXTS, 32)
    assert len(split) == len(TEXTS) // 3 + len(TEXTS) - 2 * (len(TEXTS) // 3)
    assert split.token_type_ids is not None
    paired = sum(1 in types for types in split.token_type_ids)
    assert paired == len(TEXTS) // 3


# -- Distillation -----------------------------------------------------------------------------------------------------


def test_students_approach_the_teachers_last_states_and_keep_its_embeddings(tmp_path: Path) -> None:
    source = load_encoder("random:tiny")
    for layer in (3, 4):
        # As drawn, layers are near the identity and there is nothing to learn from the last ones.
        for parameter in source.encoder.layer_module(layer).parameters():
            parameter.data *= 5
    students = Students.of(source.encoder, (1, 2))
    batches = BucketedBatches(encode_texts(source.tokenizer, TEXTS, 32), 8, 0)
    loss, plan = imitation_loss(source.encoder), replace(PLAN, epochs=25)
    with torch.no_grad():
        before = sum(loss(students.eval(), b).item() for b in batches.epoch(0))
    teacher = {k: v.clone() for k, v in source.encoder.state_dict().items()}
    fit(students, batches, loss, plan, checkpoint=tmp_path / "c", progress=lambda *_: None)
    with torch.no_grad():
        after = sum(loss(students.eval(), b).item() for b in batches.epoch(0))
    assert after < 0.85 * before
    for student in students:
        assert isinstance(student, LayeredEncoder)
        assert torch.equal(student.word_embeddings, source.encoder.word_embeddings)
        assert not torch.equal(
            student.layer_module(1).attention.self.query.weight,  # type: ignore[union-attr,arg-type]
            source.encoder.layer_module(1).attention.self.query.weight,  # type: ignore[union-attr,arg-type]
        )
    assert all(torch.equal(v, teacher[k]) for k, v in source.encoder.state_dict().items()), "the teacher is frozen"


def test_padding_is_not_learned() -> None:
    source = load_encoder("random:tiny")
    students, split = Students.of(source.encoder, (1,)).eval(), encode_texts(source.tokenizer, TEXTS[:6], 32)
    loss = imitation_loss(source.encoder)
    together = loss(students, split.batch(range(len(split)))).item()
    tokens = split.lengths
    alone = [loss(students, split.batch([row])).item() for row in range(len(split))]
    assert len(set(tokens)) > 1
    assert together == pytest.approx(sum(a * n for a, n in zip(alone, tokens, strict=True)) / sum(tokens), rel=1e-4)


def test_one_artifact_holds_all_depths_and_is_shared(tmp_path: Path) -> None:
    run = run_on("builtin", tmp_path)
    encoders = CompleteEncoders(run, "random:tiny", (1, 2), {}, Pretraining(60, replace(PLAN, epochs=1)))
    assert encoders.estimate > 0
    first, second = encoders.source(1), encoders.source(2)
    assert (first.encoder.num_layers, second.encoder.num_layers) == (1, 2)
    assert first.fingerprint != second.fingerprint
    again = CompleteEncoders(run, "random:tiny", (1, 2), {}, Pretraining(60, replace(PLAN, epochs=1)))
    assert again.source(1).fingerprint == first.fingerprint
    assert [path.name for path in (run.store.root / "objects").iterdir()] == [encoders.folder().name]


def test_published_encoders_are_not_made_again() -> None:
    asked: list[str] = []

    def found(name: str) -> str:
        asked.append(name)
        return name

    run: Any = SimpleNamespace(encoder=found)
    encoders = CompleteEncoders(run, "big", (2,), {2: "published-2L"}, Pretraining(0, PLAN))
    assert encoders.source(2) == "published-2L"  # type: ignore[comparison-overlap]
    assert (encoders.estimate, asked) == (0.0, ["published-2L"])


def test_kept_embeddings_are_not_moved_by_fine_tuning(tmp_path: Path) -> None:
    source = load_encoder("random:tiny")
    kept = with_kept_embeddings(source)
    assert kept.fingerprint != source.fingerprint
    assert all(p.requires_grad for p in source.encoder.parameters())
    model = EncoderClassifier(kept.encoder.first_layers(2), PooledClassifier(kept.encoder.hidden_size, 2))
    before = {name: p.clone() for name, p in model.named_parameters()}
    batches = BucketedBatches(encode_texts(source.tokenizer, TEXTS, 32), 8, 0)
    fit(model, batches, classification_loss, PLAN, checkpoint=tmp_path / "c", progress=lambda *_: None)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved and not any("embeddings" in name for name in moved)
