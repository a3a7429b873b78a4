"""Pre-training as a whole: it learns, it resumes in mid-epoch bit for bit, and says how fast it went."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from kit.toy_text import documents, text_of, tokenizer, words
from torch import Tensor

from common.costs.flops import EncoderShape
from common.encoders.shapes import random_encoder
from common.encoders.sources import load_encoder
from common.run.artifacts import ArtifactStore
from common.tasks.corpora import find_corpus
from common.training.loop import TrainingPlan
from common.training.pretraining.batches import MaskedBatch, MaskedBatches
from common.training.pretraining.encoded import encoded_text
from common.training.pretraining.language_model import LanguageHead, MaskedLanguageModel, language_loss
from common.training.pretraining.masking import Uniform
from common.training.pretraining.pretrainer import Pretrainer, Work, encoder_work
from common.training.pretraining.scoring import masked_score
from common.training.pretraining.teacher import LanguageTeacher, Reading

PLAN = TrainingPlan(3e-3, epochs=1, batch_size=16, seed=0, max_length=32, precision="float32")


def quiet(done: int, total: int) -> None:
    pass


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    """Text of the smoke scale."""
    store = ArtifactStore(tmp_path_factory.mktemp("text"))
    text = encoded_text(store, find_corpus("builtin", None, 4000, smoke=True), tokenizer(), lambda line: None)
    return Reading(text, words(), 32)


@dataclass(frozen=True)
class Interrupted:
    """The same batches until the given one, then Ctrl-C; counts what it was asked for."""

    source: MaskedBatches
    at: int
    made: list[int]

    def __len__(self) -> int:
        return len(self.source)

    def epoch(self, number: int) -> Iterator[MaskedBatch]:
        return self.epoch_from(number, 0)

    def epoch_from(self, number: int, first: int) -> Iterator[MaskedBatch]:
        for index, batch in enumerate(self.source.epoch_from(number, first), first):
            self.made.append(index)
            if index == self.at:
                raise KeyboardInterrupt
            yield batch


def fresh() -> MaskedLanguageModel:
    encoder = random_encoder("tiny", seed=0)
    return MaskedLanguageModel(encoder, LanguageHead.fresh(encoder, 0))


def train(folder: Path, batches: Callable[[], object], said: list[str], plan: TrainingPlan = PLAN) -> Path:
    shape = EncoderShape.from_config(random_encoder("tiny").config)
    pretrainer = Pretrainer(ArtifactStore(folder), said.append, quiet)
    work = Work(encoder_work(shape, 32, trained=True), shape)
    return pretrainer.trained("toy", {}, fresh, batches, language_loss, plan, work)  # type: ignore[arg-type]


def test_a_training_that_was_interrupted_in_mid_epoch_ends_as_one_that_was_not(
    reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.training.loop.fit.__kwdefaults__", {**_kwdefaults(), "checkpoint_every_s": 0.0})
    source = reading.batches(Uniform(), PLAN.batch_size, seed=1)
    assert len(source) > 4
    whole = train(tmp_path / "whole", lambda: source, [])
    made: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "again", lambda: Interrupted(source, 3, made), [])
    made.clear()
    again = train(tmp_path / "again", lambda: Interrupted(source, 10_000, made), [])
    assert made[0] == 3, "no batch before the interruption is made again"
    ours, theirs = (MaskedLanguageModel.load(folder).state_dict() for folder in (again, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def _kwdefaults() -> dict[str, object]:
    from common.training.loop import fit

    return dict(fit.__kwdefaults__)


def test_pre_training_from_nothing_beats_word_counts_on_text_held_back(reading: Reading, tmp_path: Path) -> None:
    said: list[str] = []
    plan = replace(PLAN, epochs=12)
    folder = train(tmp_path, lambda: reading.batches(Uniform(), plan.batch_size, 0), said, plan)
    model = MaskedLanguageModel.load(folder)
    score = reading.score(model)
    assert score.n > 50
    assert score.loss < score.unigram_loss - 0.5
    assert reading.score(fresh().eval()).loss > score.unigram_loss
    (speed,) = said
    assert "tokens/s" in speed and "of the ceiling of matrix products" in speed
    kept = (folder / "training.json").read_text()
    assert "ceiling_share" in kept and "tokens_per_second" in kept


def test_scores_are_of_the_masked_tokens_alone(reading: Reading) -> None:
    def knows(batch: MaskedBatch) -> Tensor:
        return 50.0 * torch.nn.functional.one_hot(batch.targets, words().size).float()

    score = reading.score(knows)
    assert (score.accuracy, score.loss) == (1.0, pytest.approx(0.0, abs=1e-6))
    assert score.unigram_accuracy < 0.5
    assert f"{score.unigram_accuracy:.1%}" in score.sentence
    batches = list(reading.held_back().epoch(0))
    assert score.n == sum(len(b.targets) for b in batches)
    counts = torch.log(torch.from_numpy(reading.text.counts).double() + 0.5).float()
    unigram = masked_score(
        lambda b: counts.expand(len(b.targets), -1), batches, reading.text.counts, torch.device("cpu")
    )
    assert unigram.loss == pytest.approx(score.unigram_loss, rel=1e-4)
    assert unigram.accuracy == pytest.approx(score.unigram_accuracy)


def test_the_teacher_learns_and_the_encoder_that_it_starts_from_stays_as_it_was(
    reading: Reading, tmp_path: Path
) -> None:
    source, said = load_encoder("random:tiny"), []
    before = {name: tensor.clone() for name, tensor in source.encoder.state_dict().items()}
    pretrainer = Pretrainer(ArtifactStore(tmp_path), said.append, quiet)
    teacher = LanguageTeacher(source, reading, replace(PLAN, epochs=6), pretrainer)
    model = teacher.model()
    assert all(torch.equal(tensor, before[name]) for name, tensor in source.encoder.state_dict().items())
    assert not any(p.requires_grad for p in model.parameters()) and not model.training
    assert model.encoder is not source.encoder, "a copy: whoever trains on may change it"
    assert teacher.score == reading.score(model)
    assert teacher.score.loss < teacher.score.unigram_loss - 0.2
    assert not torch.equal(model.table, source.encoder.word_embeddings)
    assert any("as a masked-language model guesses" in line for line in said)
    count = len(said)
    assert teacher.model().head.bias.equal(model.head.bias) and len(said) == count, "trained once"
    assert teacher.folder().name in teacher.fingerprint


def test_a_checkpoint_with_a_head_brings_its_own(reading: Reading, tmp_path: Path) -> None:
    from safetensors.torch import save_file
    from transformers import BertForMaskedLM

    from common.encoders.shapes import find_shape

    torch.manual_seed(1)
    theirs = BertForMaskedLM(find_shape("tiny").config())
    state = {k: v.clone().contiguous() for k, v in theirs.state_dict().items() if k != "cls.predictions.decoder.weight"}
    state.pop("cls.predictions.decoder.bias", None)
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    theirs.config.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    source = load_encoder(str(tmp_path))
    teacher = LanguageTeacher(source, reading, PLAN, Pretrainer(ArtifactStore(tmp_path / "store"), print, quiet))
    assert torch.equal(teacher.model().head.dense.weight, theirs.cls.predictions.transform.dense.weight)
    assert teacher.fingerprint.endswith("own head")
    assert not (tmp_path / "store").exists(), "nothing is trained"
    assert teacher.score.n > 0


def test_text_of_a_mapped_corpus_is_never_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are cut from the map; a batch reads its own windows."""
    text = text_of(tmp_path, documents(40), shard_tokens=200)
    reading = Reading(text, words(), 16)
    batch = next(reading.batches(Uniform(), 4, 0).epoch(0))
    assert batch.input_ids.shape == (4, 16)
    assert all(type(shard.tokens).__name__ == "memmap" for shard in text.shards)
