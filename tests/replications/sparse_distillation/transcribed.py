"""The tables of Sparse Distillation's paper, transcribed apart from paper.yaml, row by row."""

from collections.abc import Iterator, Sequence

Key = tuple[str, str, float | None, str, str]
"""System, setting, operating point, task, metric."""
Numbers = dict[Key, float]

SINGLE = ["IMDB", "SST-2", "TREC", "AG-News", "CivilComments", "WikiToxic"]
TASKS = [*SINGLE, "QQP"]

TABLE1 = {  # train, dev, tokens, corpus in millions
    "IMDB": (25000, 25000, 300, 75),
    "SST-2": (67349, 872, 11, 75),
    "TREC": (5452, 500, 11, 65),
    "AG-News": (120000, 7600, 55, 418),
    "CivilComments": (1804874, 97320, 67, 60),
    "WikiToxic": (159571, 63978, 92, 37),
    "QQP": (363846, 40430, 13, 10),
}
TABLE2 = {
    "DAN (from scratch)": (88.3, 79.5, 78.4, 91.1, 95.7, 92.2, 82.0),
    "DAN (KD, no task data)": (92.0, 87.0, 91.8, 90.0, 96.2, 93.9, 63.2),
    "DAN (KD)": (93.2, 86.4, 91.8, 90.6, 96.3, 94.0, 84.1),
    "DAN (KD+FT)": (93.5, 88.5, 92.6, 93.0, 96.3, 92.5, 84.2),
    "DistilBERT": (92.2, 90.8, 92.8, 94.5, 96.9, 93.1, 89.4),
    "MobileBERT": (93.6, 90.9, 91.0, 94.6, 97.0, 93.5, 90.5),
    "teacher": (96.3, 96.2, 94.8, 95.4, 96.3, 94.1, 92.1),
}
QUOTED = {  # no CivilComments, no QQP
    "Transformer-Base (quoted)": {"IMDB": 94.2, "SST-2": 92.1, "TREC": 93.6, "AG-News": 93.5, "WikiToxic": 91.5},
    "ConvNet (quoted)": {"IMDB": 93.9, "SST-2": 92.2, "TREC": 94.2, "AG-News": 93.9, "WikiToxic": 93.8},
}
TABLE3 = {  # samples per second, speed-up
    "RoBERTa-Large": [(29, 1), (298, 1), (549, 1), (147, 1), (35, 1), (72, 1), (240, 1)],
    "DistilBERT": [(176, 6), (1055, 4), (930, 2), (740, 5), (188, 5), (426, 6), (1201, 5)],
    "MobileBERT": [(158, 5), (736, 3), (402, 1), (751, 5), (187, 5), (400, 6), (943, 4)],
    "DAN": [(17557, 607), (3020, 10), (2236, 4), (24084, 164), (38024, 1091), (48133, 668), (35708, 149)],
}
TABLE4 = {  # millions of parameters: total, sparse, dense; score; GPU and CPU: samples per second, speed-up
    "RoBERTa-Large": (355, 51, 304, 96.3, (29, 1), (1, 1)),
    "DistilBERT": (66, 23, 43, 92.2, (176, 6), (11, 8)),
    "MobileBERT": (25, 4, 21, 93.6, (158, 5), (8, 6)),
    "DistilRoBERTa": (83, 39, 44, 95.9, (176, 6), (8, 6)),
    "LSTM (2l-512d)": (62, 51, 11, 95.9, (362, 12), (31, 22)),
    "LSTM (2l-256d)": (56, 51, 5, 95.8, (665, 23), (52, 37)),
    "LSTM (2l-64d)": (53, 51, 2, 95.3, (818, 28), (101, 73)),
    "LSTM (2l-4d)": (52, 51, 1, 93.1, (813, 28), (146, 105)),
    "CNN (1l-256d)": (53, 51, 2, 89.2, (3411, 109), (251, 181)),
    "DAN": (1001, 1000, 1, 93.5, (17558, 607), (923, 663)),
}
TABLE5 = {
    "pooling": {"mean": 93.2, "max": 91.8, "attentive": 93.0, "sum": 92.9},
    "dense layers": {"1000-1000-2": 93.2, "1000-1000-256-2": 93.1, "1000-1000-256-64-2": 93.0},
    "embedding initialisation": {"random": 93.2, "from RoBERTa-Large": 93.2},
    "size": {"1 GPU, 1B parameters": 93.2, "2 GPUs, 2B parameters": 93.1},
}
TABLE6 = {  # IMDB to SST-2, SST-2 to IMDB
    "DAN (from scratch, target)": (79.5, 88.3),
    "RoBERTa-Large (source)": (90.0, 94.1),
    "DAN (KD)": (81.9, 92.0),
    "DAN (KD+FT)": (88.4, 93.0),
    "DAN (KD+FT, head re-initialised)": (86.7, 92.8),
    "RoBERTa-Large (target)": (96.2, 96.3),
}
TABLE8 = {  # by budget, then millions of n-grams: dimension, score
    "500M": {1: (500, 93.0), 2: (250, 92.8), 4: (125, 92.7), 5: (100, 92.6), 10: (50, 92.3), 20: (25, 92.0)},
    "1B": {1: (1000, 93.2), 2: (500, 93.0), 4: (250, 92.9), 5: (200, 92.9), 10: (100, 92.5), 20: (50, 92.2)}
    | {40: (25, 92.0)},
    "2B": {2: (900, 93.1), 4: (500, 93.1), 5: (400, 93.1), 10: (200, 92.9), 20: (100, 92.7), 40: (50, 92.4)},
}
TABLE9 = {"BPE": 26.46, "WordPiece": 20.6, "n-gram": 16.45}
TABLE10 = {  # n-grams left, score
    1: {"IMDB": (54089, 74.86), "AG-News": (81796, 91.32)},
    2: {"IMDB": (446793, 92.09), "AG-News": (541431, 92.93)},
    3: {"IMDB": (835403, 93.33), "AG-News": (882489, 93.03)},
    4: {"IMDB": (1000000, 93.47), "AG-News": (1000000, 92.99)},
}
TABLE11 = {  # millions of parameters, MB of memory, MB on disk
    ("RoBERTa-Large", "fairseq fp16"): (355, 2199, 711),
    ("RoBERTa-Large", "HF transformers fp32"): (355, 2199, 1330),
    ("DistilBERT", "HF transformers"): (66, 1123, 256),
    ("MobileBERT", "HF transformers"): (25, 973, 140),
    ("DistilRoBERTa", "HF transformers"): (85, 1181, 316),
    ("LSTM (2l-128d)", "fairseq fp32"): (53, 1051, 212),
    ("CNN (1l-256d)", "fairseq fp32"): (53, 1119, 213),
    ("DAN", "fairseq fp32"): (1001, 4655, 3990),
}
SETTINGS12 = ["GPU fp32", "GPU fp16", "CPU fp32"]
TABLE12 = {  # score, then speed and speed-up in each setting
    ("RoBERTa-Large", "IMDB"): (96.3, 28.9, 1, 92.3, 1, 1.4, 1),
    ("RoBERTa-Large", "SST-2"): (96.2, 267.3, 1, 610.2, 1, 22.2, 1),
    ("DistilBERT", "IMDB"): (92.2, 175.8, 6, 334.7, 4, 10.7, 8),
    ("DistilBERT", "SST-2"): (90.8, 828.5, 3, 1117.3, 2, 60.6, 3),
    ("MobileBERT", "IMDB"): (93.6, 157.7, 5, 200.3, 2, 7.7, 6),
    ("MobileBERT", "SST-2"): (90.9, 574.5, 2, 545.8, 1, 89.4, 4),
    ("DistilRoBERTa", "IMDB"): (95.9, 176.4, 6, 569.8, 6, 7.8, 6),
    ("DistilRoBERTa", "SST-2"): (94.2, 636.5, 2, 771.7, 1, 185.9, 8),
    ("LSTM (2l-512d)", "IMDB"): (95.9, 361.5, 12, 594.5, 6, 30.6, 22),
    ("LSTM (2l-512d)", "SST-2"): (93.9, 4222.1, 14, 6281.4, 8, 394.3, 18),
    ("LSTM (2l-256d)", "IMDB"): (95.8, 665.2, 23, 788.0, 9, 51.9, 37),
    ("LSTM (2l-256d)", "SST-2"): (93.3, 6361.5, 21, 7080.6, 9, 678.5, 31),
    ("LSTM (2l-64d)", "IMDB"): (94.0, 818.5, 28, 808.5, 9, 101.4, 73),
    ("LSTM (2l-64d)", "SST-2"): (92.8, 7075.8, 24, 7384.1, 9, 1378.5, 62),
    ("LSTM (2l-4d)", "IMDB"): (93.1, 812.9, 28, 817.0, 9, 146.4, 105),
    ("LSTM (2l-4d)", "SST-2"): (88.3, 7026.3, 24, 7521.0, 9, 2014.6, 91),
    ("CNN (1l-256d)", "IMDB"): (89.2, 3410.7, 109, 8427.1, 91, 251.2, 181),
    ("CNN (1l-256d)", "SST-2"): (82.8, 1323.5, 5, 1563.9, 3, 3820.4, 172),
    ("DAN", "IMDB"): (93.5, 17557.9, 607, 20888.1, 226, 922.6, 663),
    ("DAN", "SST-2"): (88.5, 1745.5, 7, 1865.9, 3, 16478.6, 741),
}
METRICS13 = ["v0_vocab", "v1_train_ngrams", "v2_dev_ngrams", "v0_and_v1", "v0_and_v2", "v0_and_v1_and_v2"]
TABLE13 = {
    "IMDB": (1000000, 10109522, 9843369, 805360, 792251, 690790, 496),
    "SST-2": (1000000, 262417, 39666, 76370, 15395, 8804, 16),
    "TREC": (1000000, 89358, 5995, 31770, 3461, 1840, 17),
    "AG-News": (1000000, 7156063, 662665, 486438, 123247, 113311, 68),
    "CivilComments": (1000000, 116143462, 8987055, 983843, 740286, 739920, 103),
    "WikiToxic": (1000000, 15805923, 6958457, 828302, 671985, 638833, 144),
}


SPEED = ["samples_per_second", "speedup"]
Row = tuple[str, str, str, float | None, str, list[str], Sequence[float]]
"""Table, system, setting, operating point, task; metrics and their numbers."""


def rows_of_the_paper() -> Iterator[Row]:
    """Tables 1 to 6 of the transcription."""
    for task, (train, dev, tokens, corpus) in TABLE1.items():
        metrics = ["train_size", "dev_size", "average_tokens", "corpus_size"]
        yield "table1", "data", "", None, task, metrics, [train, dev, tokens, corpus * 1e6]
    for system, by_task in {**QUOTED, **{s: dict(zip(TASKS, r, strict=True)) for s, r in TABLE2.items()}}.items():
        for task, score in by_task.items():
            yield "table2", system, "", None, task, ["score"], [score]
    for system, pairs in TABLE3.items():
        for task, pair in zip(TASKS, pairs, strict=True):
            yield "table3", system, "GPU", None, task, SPEED, pair
    for system, (total, sparse, dense, score, gpu, cpu) in TABLE4.items():
        metrics = ["parameters_total", "parameters_sparse", "parameters_dense", "score"]
        yield "table4", system, "", None, "IMDB", metrics, [total * 1e6, sparse * 1e6, dense * 1e6, score]
        yield "table4-speed", system, "GPU", None, "IMDB", SPEED, gpu
        yield "table4-speed", system, "CPU", None, "IMDB", SPEED, cpu
    for group, variants in TABLE5.items():
        for variant, score in variants.items():
            yield "table5", group, variant, None, "IMDB", ["score"], [score]
    for system, (to_sst, to_imdb) in TABLE6.items():
        yield "table6", system, "IMDB to SST-2", None, "SST-2", ["score"], [to_sst]
        yield "table6", system, "SST-2 to IMDB", None, "IMDB", ["score"], [to_imdb]


def rows_of_the_appendix() -> Iterator[Row]:
    """Tables 8 to 13 of the transcription."""
    for budget, sizes in TABLE8.items():
        for millions, numbers in sizes.items():
            at = f"|V| = {millions}M", millions * 1e6
            yield "table8", f"DAN ({budget})", *at, "IMDB", ["dimension", "score"], numbers
    for tokenizer, seconds in TABLE9.items():
        yield "table9", tokenizer, "", None, "IMDB", ["seconds"], [seconds]
    for n, by_task in TABLE10.items():
        for task, numbers in by_task.items():
            yield "table10", "DAN (KD+FT)", f"n <= {n}", n, task, ["vocabulary_size", "score"], numbers
    for (system, source), millions_of in TABLE11.items():
        metrics = ["parameters_total", "memory", "disk"]
        yield "table11", system, source, None, "", metrics, [number * 1e6 for number in millions_of]
    for (system, task), (score, *pairs) in TABLE12.items():
        yield "table12", system, "", None, task, ["score"], [score]
        for i, setting in enumerate(SETTINGS12):
            yield "table12", system, setting, None, task, SPEED, pairs[2 * i : 2 * i + 2]
    for task, counts in TABLE13.items():
        yield "table13", "data", "", None, task, [*METRICS13, "activated_per_example"], counts


def printed(wanted: str) -> Numbers:
    """The cells of a table by the transcription."""
    cells: Numbers = {}
    for table, system, setting, at, task, metrics, numbers in (*rows_of_the_paper(), *rows_of_the_appendix()):
        for metric, number in zip(metrics, numbers, strict=True):
            if table == wanted:
                cells[system, setting, at, task, metric] = number
    return cells
