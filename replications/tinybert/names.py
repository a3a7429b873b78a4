"""What systems and settings are called, wherever a number of theirs is kept."""

from __future__ import annotations

TINYBERT = "TinyBERT"
NARROW, WIDE = "narrow", "wide"
"""The students: a third of the teacher's layers, and narrower (TinyBERT4); half of them, as wide (TinyBERT6)."""

TEACHER = "TinyBERT's teacher"
"""The backbone, fine-tuned with the paper's head; the common baseline stands beside it."""

LANGUAGE_MODEL = "language model"
"""What proposes words for augmentation."""

BERT_TINY = "BERT-tiny"
"""The narrow student's architecture, pre-trained directly on masked words and fine-tuned on labels."""

WITHOUT_GD, WITHOUT_TD, WITHOUT_DA = "w/o GD", "w/o TD", "w/o DA"
"""Table 2: general distillation, task distillation, data augmentation."""

WITHOUT_EMBD, WITHOUT_PRED, WITHOUT_TRM = "w/o Embd", "w/o Pred", "w/o Trm"
WITHOUT_ATTN, WITHOUT_HIDN = "w/o Attn", "w/o Hidn"
"""Table 3: what is not imitated."""

UNIFORM, TOP, BOTTOM = "Uniform", "Top", "Bottom"
"""Table 4: which of the teacher's layers are imitated. Uniform is TinyBERT itself."""

BERT_TINY_TD, TINYBERT_GD, TINYBERT_GD_TD = "BERT-tiny (+TD)", "TinyBERT (GD)", "TinyBERT (GD+TD)"
"""Table 7, all without augmentation. The last one is `WITHOUT_DA`."""

REFERENCE = TINYBERT
"""In the ablations the narrow student, as it is, goes by the method's name alone."""

TABLE_2 = (TINYBERT, WITHOUT_GD, WITHOUT_TD, WITHOUT_DA)
TABLE_3 = (TINYBERT, WITHOUT_EMBD, WITHOUT_PRED, WITHOUT_TRM, WITHOUT_ATTN, WITHOUT_HIDN)
TABLE_4 = {UNIFORM: TINYBERT, TOP: TOP, BOTTOM: BOTTOM}
"""By the name in the table the student."""

TABLE_7 = {
    BERT_TINY: BERT_TINY,
    BERT_TINY_TD: BERT_TINY_TD,
    TINYBERT_GD: TINYBERT_GD,
    TINYBERT_GD_TD: WITHOUT_DA,
}

BERT_BASE, BERT_SMALL, FOUR_LAYERS = "bert-base", "bert-small", "bert-base-4-layers"
TINYBERT_4, TINYBERT_6 = "tinybert-4", "tinybert-6"
"""Architectures at full size. BERT4-PKD and DistilBERT4 are BERT-base with four layers, six-layer ones TinyBERT6."""
