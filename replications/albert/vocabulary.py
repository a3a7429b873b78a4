"""A SentencePiece vocabulary (unigram) of the corpus that is pre-trained on, as the paper makes one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.run.artifacts import ArtifactStore
from common.tasks.corpora import Corpus, up_to

PADDING, UNKNOWN, BEGINS, ENDS, MASK = "<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"
SPECIAL = (PADDING, UNKNOWN, BEGINS, ENDS, MASK)

WORDS = 1_000_000
"""A vocabulary is made of the first documents, up to so many words: more changes few pieces and takes minutes."""

SMALLEST = 200
"""Pieces below which a vocabulary is hardly more than an alphabet."""


def trained_tokenizer(store: ArtifactStore, corpus: Corpus, size: int, say: Any) -> Any:  # noqa: ANN401
    """A fast tokenizer of transformers with at most `size` pieces, special ones included; made once for a corpus.

    Raises:
        UserError: the size is below `SMALLEST`, or the corpus holds no text.
    """
    from transformers import PreTrainedTokenizerFast

    if size < SMALLEST:
        raise UserError(f"a vocabulary of {size} pieces is hardly more than an alphabet: expected at least {SMALLEST}")
    recipe = {"kind": "unigram-vocabulary", "corpus": corpus.fingerprint, "size": size, "words": WORDS}
    folder = store.get(f"vocabulary/{corpus.name}", recipe, lambda folder: _train(folder, corpus, size), say)
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        pad_token=PADDING,
        unk_token=UNKNOWN,
        cls_token=BEGINS,
        sep_token=ENDS,
        mask_token=MASK,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def _train(folder: Path, corpus: Corpus, size: int) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer: Any = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=list(SPECIAL), unk_token=UNKNOWN, show_progress=False
    )
    tokenizer.train_from_iterator(_sentences(corpus), trainer)
    begins, ends = tokenizer.token_to_id(BEGINS), tokenizer.token_to_id(ENDS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGINS} $A {ENDS}",
        pair=f"{BEGINS} $A {ENDS} $B:1 {ENDS}:1",
        special_tokens=[(BEGINS, begins), (ENDS, ends)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))


def _sentences(corpus: Corpus) -> Iterator[str]:
    empty = True
    for document in up_to(corpus.documents(), WORDS):
        for sentence in document:
            empty = empty and not sentence.strip()
            yield sentence
    if empty:
        raise UserError(f"{corpus.name} holds no text to make a vocabulary of: it is empty")
