"""A SentencePiece vocabulary (unigram) of the corpus that is pre-trained on, as the paper makes one of its own.

SentencePiece looks for pieces that several words share. Generated text has some eighty words and marks, which share
little, and would be cut into fragments; there the words themselves are the pieces, with their own frequencies, and a
word that was never seen is one unknown piece.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.run.artifacts import ArtifactStore
from common.tasks.corpora import Corpus, up_to

PADDING, UNKNOWN, BEGINS, ENDS, MASK = "<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"
SPECIAL = (PADDING, UNKNOWN, BEGINS, ENDS, MASK)

_PARTS = re.compile(r"\w+|[^\w\s]")

NORMALISERS = ("NFKD", "StripAccents", "Lowercase")

WORDS = 1_000_000
"""A vocabulary is made of the first documents, up to so many words: more changes few pieces and takes minutes."""

SMALLEST = 200
"""Pieces below which a vocabulary is hardly more than an alphabet."""


def trained_tokenizer(
    store: ArtifactStore, corpus: Corpus, size: int, say: Callable[[str], None], *, of_words: bool = False
) -> Any:  # noqa: ANN401
    """A fast tokenizer of transformers with at most `size` pieces, special ones included; made once for a corpus.

    Args:
        store: where it is kept.
        corpus: the text.
        size: most pieces.
        say: takes a sentence on what is made.
        of_words: whether the pieces are whole words.

    Raises:
        UserError: the size is below `SMALLEST`, or the corpus holds no text.
    """
    from transformers import PreTrainedTokenizerFast

    if size < SMALLEST:
        raise UserError(f"a vocabulary of {size} pieces is hardly more than an alphabet: expected at least {SMALLEST}")
    recipe = {
        "kind": "unigram-vocabulary",
        "corpus": corpus.fingerprint,
        "size": size,
        "words": WORDS,
        "of_words": of_words,
    }

    def make(folder: Path) -> None:
        _train(folder, corpus, size, of_words=of_words)

    folder = store.get(f"vocabulary/{corpus.name}", recipe, make, say)
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        pad_token=PADDING,
        unk_token=UNKNOWN,
        cls_token=BEGINS,
        sep_token=ENDS,
        mask_token=MASK,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def _train(folder: Path, corpus: Corpus, size: int, *, of_words: bool) -> None:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    found = (_words if of_words else _pieces)(corpus, size - len(SPECIAL))
    pieces = [*((name, 0.0) for name in SPECIAL), *found]
    tokenizer: Any = Tokenizer(models.Unigram(pieces, unk_id=SPECIAL.index(UNKNOWN)))
    tokenizer.normalizer = normalizers.Sequence([getattr(normalizers, name)() for name in NORMALISERS])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGINS} $A {ENDS}",
        pair=f"{BEGINS} $A {ENDS} $B:1 {ENDS}:1",
        special_tokens=[(name, SPECIAL.index(name)) for name in (BEGINS, ENDS)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))


def _pieces(corpus: Corpus, size: int) -> list[tuple[str, float]]:
    """Pieces with their log-probabilities, by SentencePiece; fewer than `size` where the text has no more to offer."""
    from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

    model = BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=_sentences(corpus),
        model_writer=model,
        model_type="unigram",
        vocab_size=size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        # Text is normalised by the tokenizer's own rules; the order of threads would change sums in their last digits.
        normalization_rule_name="identity",
        num_threads=1,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    found = SentencePieceProcessor(model_proto=model.getvalue())
    numbers = range(found.get_piece_size())
    return [(found.id_to_piece(i), found.get_score(i)) for i in numbers if not found.is_unknown(i)]


def _words(corpus: Corpus, size: int) -> list[tuple[str, float]]:
    """The most frequent words and marks with their log-probabilities; marks stand behind a word without a blank."""
    counts = Counter(part for sentence in _sentences(corpus) for part in _PARTS.findall(sentence))
    chosen = sorted(counts, key=lambda part: (-counts[part], part))[:size]
    total = counts.total()
    return [(f"▁{part}" if part[0].isalnum() else part, math.log(counts[part] / total)) for part in chosen]


def _sentences(corpus: Corpus) -> Iterator[str]:
    """Normalised as the tokenizer will."""
    from tokenizers import normalizers

    normalise = normalizers.Sequence([getattr(normalizers, name)() for name in NORMALISERS])
    empty = True
    for document in up_to(corpus.documents(), WORDS):
        for sentence in document:
            plain = normalise.normalize_str(sentence)
            empty = empty and not plain.strip()
            yield plain
    if empty:
        raise UserError(f"{corpus.name} holds no text to make a vocabulary of: it is empty")
