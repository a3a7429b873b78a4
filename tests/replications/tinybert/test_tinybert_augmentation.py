"""Algorithm 1: which words are exchanged, for what, how often; and GloVe's file."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import RobertaProcessing
from tokenizers.trainers import BpeTrainer
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from common.encoders.sources import load_encoder
from common.errors import UserError
from common.tasks.task import Example
from replications.tinybert.augmentation import (
    Augmenter,
    GloVe,
    MaskedLM,
    Rule,
    Word,
    changed,
    exchangeable,
    in_passes,
)


@pytest.fixture(scope="module")
def tokenizer() -> object:
    return load_encoder("random:tiny").tokenizer


GLOVE = GloVe(
    ("unhappy", "sad", "glad", "gloomy", "table"),
    np.array([[1, 0], [0.9, 0.1], [-1, 0], [0.95, 0.0], [0, 1]], dtype=np.float32),
)


class Asked:
    """A language model that likes the words with the lowest ids best, and remembers what it was shown."""

    def __init__(self, likes: list[int]) -> None:
        self.likes, self.shown = likes, []  # type: ignore[var-annotated]

    def __call__(self, ids: Tensor, mask: Tensor, places: Tensor) -> Tensor:
        self.shown.append((ids.clone(), mask.clone(), places.clone()))
        logits = torch.zeros(int(places.sum()), 30522)
        for rank, word in enumerate(self.likes):
            logits[:, word] = 100.0 - rank
        return logits


def augmenter(tokenizer: object, model: MaskedLM, rule: Rule, glove: GloVe | None = None) -> Augmenter:
    return Augmenter(tokenizer, model, rule, glove, torch.device("cpu"), lambda done, total: None)


def ids(tokenizer: object, *words: str) -> list[int]:
    return list(tokenizer.convert_tokens_to_ids(list(words)))  # type: ignore[attr-defined]


# -- Which words ------------------------------------------------------------------------------------------------------


def test_stop_words_numbers_and_punctuation_are_never_exchanged(tokenizer: object) -> None:
    text = "The film, of 1999, was not a great comedy."
    words = exchangeable(text, tokenizer(text))  # type: ignore[operator]
    assert [text[w.start : w.end] for w in words] == ["film", "great", "comedy"]


def test_a_word_of_several_pieces_has_no_place(tokenizer: object) -> None:
    text = "Great zymurgists"
    great, zymurgists = exchangeable(text, tokenizer(text))  # type: ignore[operator]
    assert (great.start, great.end, great.place) == (0, 5, 1)
    assert (zymurgists.start, zymurgists.end, zymurgists.place) == (6, 16, None)


# -- Candidates -------------------------------------------------------------------------------------------------------


def test_candidates_are_the_likeliest_whole_words(tokenizer: object) -> None:
    """Pieces that continue a word, special tokens, numbers and signs are none, however likely."""
    model = Asked(ids(tokenizer, "##ing", "[SEP]", "7", "!", "good", "##s", "bad", "long"))
    found = augmenter(tokenizer, model, Rule(copies=1, candidates=2)).candidates(["great comedy"])
    assert list(found[0].values()) == [("good", "bad"), ("good", "bad")]


def byte_level(*texts: str) -> PreTrainedTokenizerFast:
    """A vocabulary of byte-level pairs, as RoBERTa's, learned from these texts: a word's first piece has a mark."""
    special = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
    learned = Tokenizer(BPE())
    learned.pre_tokenizer, learned.decoder = ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = ByteLevel.alphabet()
    trainer = BpeTrainer(special_tokens=list(special.values()), initial_alphabet=alphabet, show_progress=False)
    learned.train_from_iterator(texts, trainer)
    learned.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = {f"{name}_token": token for name, token in special.items()}
    return PreTrainedTokenizerFast(tokenizer_object=learned, **names)


def test_of_a_byte_level_vocabulary_pieces_within_a_word_are_no_candidates_either() -> None:
    pairs = byte_level("a great comedy is good , a bad one is long")
    within = [pairs.convert_tokens_to_ids(token) for token in ("g", "ood")]
    assert pairs.unk_token_id not in within
    model = Asked([*within, *ids(pairs, "Ġ,", "<mask>", "Ġgood", "Ġbad", "Ġlong")])
    text = "a great comedy"
    (found,) = augmenter(pairs, model, Rule(copies=1, candidates=2)).candidates([text])
    assert {text[w.start : w.end]: likeliest for w, likeliest in found.items()} == {
        "great": ("good", "bad"),
        "comedy": ("good", "bad"),
    }


def test_the_model_sees_the_masked_text_alone(tokenizer: object) -> None:
    """Each word in a pass of its own; not the original beside it, as in the official code."""
    model = Asked(ids(tokenizer, "good"))
    augmenter(tokenizer, model, Rule(copies=1, candidates=1)).candidates(["great old comedy"])
    seen = torch.cat([shown[0] for shown in model.shown])
    (mask,) = ids(tokenizer, "[MASK]")
    assert seen.shape == (3, 5)
    assert ((seen == mask).sum(1) == 1).all()
    assert sorted((seen == mask).int().argmax(1).tolist()) == [1, 2, 3]
    assert (seen[:, 0] == ids(tokenizer, "[CLS]")[0]).all()


def test_in_fewer_passes_every_so_many_th_word_is_masked(tokenizer: object) -> None:
    model = Asked(ids(tokenizer, "good"))
    texts = ["great old comedy film star", "table"]
    found = augmenter(tokenizer, model, Rule(copies=1, candidates=1, passes=2)).candidates(texts)
    (mask,) = ids(tokenizer, "[MASK]")
    masked = [row.nonzero()[:, 0].tolist() for ids_, _, _ in model.shown for row in ids_ == mask]
    assert sorted(masked) == [[1], [1, 3, 5], [2, 4]]
    assert [len(words) for words in found] == [5, 1]


class Echo:
    """Likes at each masked place the word whose id is that of the token before."""

    def __call__(self, ids: Tensor, mask: Tensor, places: Tensor) -> Tensor:
        before = ids.roll(1, dims=1)[places]
        return torch.nn.functional.one_hot(before, 30522).float()


def test_every_word_gets_its_own_candidates(tokenizer: object) -> None:
    """Texts of several lengths in one batch, several masks in one pass: nothing is mixed up."""
    texts = ["movie great story long", "dog", "movie table house chair music bread"]
    found = augmenter(tokenizer, Echo(), Rule(copies=1, candidates=1, passes=3)).candidates(texts)
    for text, words in zip(texts, found, strict=True):
        split = text.split()
        for word, (candidate,) in words.items():
            place = split.index(text[word.start : word.end])
            if place:
                assert candidate == split[place - 1]


@given(st.integers(0, 12), st.one_of(st.none(), st.integers(1, 5)))
def test_passes_share_the_words_out(count: int, passes: int | None) -> None:
    words = [Word(i, i + 1, i) for i in range(count)]
    parts = in_passes(words, passes)
    assert sorted((w for part in parts for w in part), key=lambda w: w.start) == words
    assert all(parts)
    assert len(parts) == (count if passes is None else min(count, passes))


# -- GloVe ------------------------------------------------------------------------------------------------------------


def test_words_of_several_pieces_get_their_nearest_neighbours(tokenizer: object) -> None:
    glove = GloVe(("zymurgists", "brewers", "table"), np.array([[1, 0], [0.9, 0.1], [0, 1]], dtype=np.float32))
    model = Asked(ids(tokenizer, "good"))
    rule = Rule(copies=1, candidates=1)
    text = "Great Zymurgists xylophagous"
    with_glove, without = (augmenter(tokenizer, model, rule, g).candidates([text])[0] for g in (glove, None))
    assert [text[w.start : w.end] for w in with_glove] == ["Great", "Zymurgists"], "an unknown one stays as it is"
    assert list(with_glove.values()) == [("good",), ("brewers",)]
    assert list(without.values()) == [("good",)]


def test_nearest_is_by_cosine_without_the_word_itself() -> None:
    assert GLOVE.nearest("unhappy", 2) == ("gloomy", "sad")
    assert GLOVE.nearest("Unhappy", 9) == ("gloomy", "sad", "table", "glad")
    assert GLOVE.nearest("nowhere", 2) == ()


def test_gloves_file_is_read_and_found(tmp_path: Path) -> None:
    assert GloVe.find(tmp_path) is None
    folder = tmp_path / "glove6b"
    folder.mkdir()
    (folder / "glove.6B.txt").write_text("the 3 4\nof 0 1\nand 1 0\n")
    found = GloVe.find(tmp_path)
    assert found is not None
    assert found.words == ("the", "of", "and")
    np.testing.assert_allclose(found.vectors[0], [0.6, 0.8], rtol=1e-6)
    assert GloVe.read(folder / "glove.6B.txt", most=2).words == ("the", "of")
    assert len(found.fingerprint) == 64
    (folder / "glove.2.txt.gz").touch()
    with pytest.raises(UserError, match="several files of word vectors"):
        GloVe.find(tmp_path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds no word vectors"),
        ("the 1 x\n", ":1: expected a word and its vector"),
        ("the 1 2\nof 1\n", ":2: expected a word and 2 numbers as before, found 1"),
        ("the\n", ":1: expected a word and numbers, found 0"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "g.txt").write_text(text)
    with pytest.raises(UserError, match=why):
        GloVe.read(tmp_path / "g.txt")


# -- Drawing ----------------------------------------------------------------------------------------------------------

TEXT = "a great, great film"
WORDS = {Word(2, 7, 2): ("good", "bad"), Word(9, 14, 4): ("fine",), Word(15, 19, 5): ("book",)}


def test_all_or_nothing_is_exchanged_at_probability_1_or_0() -> None:
    assert changed(TEXT, WORDS, 0.0, random.Random(0)) == TEXT
    drawn = {changed(TEXT, WORDS, 1.0, random.Random(seed)) for seed in range(20)}
    assert drawn == {"a good, fine book", "a bad, fine book"}


def test_each_word_is_exchanged_with_its_own_chance() -> None:
    rng, times = random.Random(0), 4000
    texts = [changed(TEXT, WORDS, 0.4, rng) for _ in range(times)]
    assert sum(t.endswith("book") for t in texts) / times == pytest.approx(0.4, abs=0.03)
    assert sum("good" in t for t in texts) / times == pytest.approx(0.2, abs=0.03)
    both = sum(t.endswith("book") and "fine" in t for t in texts) / times
    assert both == pytest.approx(0.16, abs=0.03)


def test_variants_follow_their_example_with_its_label_and_without_repetitions(tokenizer: object) -> None:
    model = Asked(ids(tokenizer, "good"))
    rule = Rule(copies=50, probability=0.5, candidates=1)
    examples = [Example("great comedy", None, 1.0), Example("of the", None, 0.0)]
    found = augmenter(tokenizer, model, rule).augmented(examples, seed=0)
    assert found[0] == examples[0]
    assert {e.text_a for e in found[1:4]} == {"good comedy", "great good", "good good"}
    assert all(e.label == 1.0 for e in found[:4])
    assert found[4:] == [examples[1]], "nothing to exchange"


def test_of_a_pair_one_text_is_changed_while_the_other_stays(tokenizer: object) -> None:
    """The official code leaves the first text's last variant in place while it changes the second."""
    model = Asked(ids(tokenizer, "good"))
    rule = Rule(copies=3, probability=1.0, candidates=1)
    pair = Example("great comedy", "old film", 1.0)
    found = augmenter(tokenizer, model, rule).augmented([pair], seed=0)
    assert [(e.text_a, e.text_b) for e in found] == [
        ("great comedy", "old film"),
        ("good good", "old film"),
        ("great comedy", "good good"),
    ]


def test_equal_seeds_draw_alike_and_n_a_is_the_most(tokenizer: object) -> None:
    model = Asked(ids(tokenizer, *["good", "bad", "long", "short", "fine"]))
    rule = Rule(copies=4, probability=0.5, candidates=5)
    examples = [Example("great comedy film star music", None, 0.0)]
    one, same, other = (augmenter(tokenizer, model, rule).augmented(examples, seed) for seed in (0, 0, 1))
    assert one == same != other
    assert 1 < len(one) <= 1 + rule.copies
