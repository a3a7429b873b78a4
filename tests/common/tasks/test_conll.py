"""CoNLL columns and CoNLL-U: what is read, what is converted, and what is refused with its file and line."""

import gzip
from pathlib import Path

import pytest

from common.errors import UserError
from common.run.replication import Run
from common.scales import SCALES
from common.tasks import load_task
from common.tasks.conll import bio_from_iob1, checked_spans, read_sentences, tag_names
from common.tasks.tagging_files import holds_tagging, own_tagging
from common.tasks.tagging_sources import TaggingSummary, load_tagging


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def read(path: Path) -> list[list[tuple[str, str]]]:
    return [[(w.word, w.tag) for w in sentence.words] for sentence in read_sentences(path)]


BIO = "anna\tB-PER\nsaw\tO\nnew\tB-LOC\nyork\tI-LOC\n\nit\tO\nrained\tO\n"


# -- What is read -----------------------------------------------------------------------------------------------------


def test_the_word_stands_first_and_the_tag_last(tmp_path: Path) -> None:
    text = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n\nPeter NNP B-NP B-PER\n"
    expected = [[("EU", "B-ORG"), ("rejects", "O")], [("Peter", "B-PER")]]
    assert read(write(tmp_path, "a.conll", text)) == expected


def test_blank_lines_may_hold_tabs_and_the_last_sentence_needs_none(tmp_path: Path) -> None:
    assert read(write(tmp_path, "a.conll", "a\tO\n\t\nb\tB-x\n")) == [[("a", "O")], [("b", "B-x")]]


def test_conllu_gives_the_syntactic_words(tmp_path: Path) -> None:
    """`3-4` is passed over for its parts, `8.1` says nothing."""
    rest = "\t_\t_\t_\t_\t_\t_"
    lines = ["# text = I don't", f"1\tI\ti\tPRON{rest}", f"2-3\tdon't\t_\t_{rest}", f"2\tdo\tdo\tAUX{rest}"]
    lines += [f"3\tn't\tnot\tPART{rest}", f"3.1\tgo\tgo\tVERB{rest}", ""]
    with gzip.open(tmp_path / "a.conllu.gz", "wt", encoding="utf-8") as stream:
        stream.write("\n".join(lines) + "\n")
    assert read(tmp_path / "a.conllu.gz") == [[("I", "PRON"), ("do", "AUX"), ("n't", "PART")]]


def test_iob1_is_converted(tmp_path: Path) -> None:
    iob1 = "a\tI-x\nb\tI-x\nc\tB-x\nd\tO\ne\tI-y\nf\tI-x\n"
    ((sentence,),) = checked_spans([read_sentences(write(tmp_path, "a.conll", iob1))])
    assert sentence.tags == ["B-x", "I-x", "B-x", "O", "B-y", "B-x"]
    bio = ["O", "B-x", "I-x", "B-x"]
    assert bio_from_iob1(bio) == bio


def test_a_data_set_of_ones_own(tmp_path: Path) -> None:
    write(tmp_path / "mine", "train.conll", BIO * 10)
    write(tmp_path / "mine", "dev.conll", BIO)
    task = load_tagging("Mine", "files", tmp_path)
    assert (task.name, task.metric, task.is_own) == ("mine", "span_f1", True)
    assert task.tags == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert [task.tags[t] for t in task.dev[0].tags] == ["B-PER", "O", "B-LOC", "I-LOC"]
    assert task.dev[1].where.endswith("dev.conll:6")
    assert holds_tagging("mine", tmp_path)


def test_tags_without_b_and_i_are_of_each_word(tmp_path: Path) -> None:
    write(tmp_path / "pos", "train.conll", "a DET\ndog NOUN\n")
    write(tmp_path / "pos", "dev.conll", "a DET\n")
    task = own_tagging("pos", tmp_path)
    assert (task.metric, task.tags) == ("token_accuracy", ("DET", "NOUN"))


def test_published_files_are_known_by_name_and_reported_on_test(tmp_path: Path) -> None:
    for name, count in (("wnut17train.conll", 3), ("emerging.dev.conll", 2), ("emerging.test.annotated", 1)):
        write(tmp_path / "WNUT_17", name, "x\tB-person\ny\tI-person\n\n" * count)
    task = load_tagging("wnut17", "files", tmp_path)
    assert [len(split) for split in (task.train, task.tune, task.dev)] == [3, 2, 1]
    assert task.tags[task.dev[0].tags[0]] == "B-person"


# -- What a run uses of it --------------------------------------------------------------------------------------------


def run_on(folder: Path, scale: str) -> Run:
    none = lambda *_: None  # noqa: E731
    return Run("r", SCALES[scale], "files", folder, (), (0,), None, folder, none, none)  # type: ignore[arg-type]


def test_a_run_holds_back_a_part_of_train_where_there_is_no_development_split(tmp_path: Path) -> None:
    write(tmp_path / "mine", "train.conll", "".join(f"w{i} B-x\nof O\n\n" for i in range(40)))
    write(tmp_path / "mine", "dev.conll", "a B-x\n\nb O\n")
    run = run_on(tmp_path, "mini")
    task = run.tagging("mine")
    assert (len(task.train), len(task.tune), len(task.dev)) == (35, 5, 2)
    assert not {s.words for s in task.train} & {s.words for s in task.tune}
    assert run.facts.tasks["mine"].share == 1.0
    assert run.data_fingerprints() == {"mine": task.fingerprint}
    assert any("35 to train on, 5 for choosing" in line for line in run.describe_data())


def test_a_development_split_takes_nothing_from_train(tmp_path: Path) -> None:
    for name, count in (("wnut17train.conll", 3000), ("emerging.dev.conll", 50), ("emerging.test.annotated", 20)):
        write(tmp_path / "wnut17", name, "x\tB-person\n\n" * count)
    cut, whole = run_on(tmp_path, "mini"), run_on(tmp_path, "base")
    assert (len(cut.tagging("wnut-17").train), len(cut.tagging("wnut-17").tune)) == (2500, 50)
    assert cut.facts.tasks["wnut-17"].share == pytest.approx(2500 / 3000)
    assert len(whole.tagging("wnut-17").train) == 3000
    assert whole.facts.tasks["wnut-17"].share == 1.0


def test_equal_sentences_in_train_and_dev_are_told(tmp_path: Path) -> None:
    write(tmp_path / "mine", "train.conll", BIO * 10)
    write(tmp_path / "mine", "dev.conll", BIO)
    task = own_tagging("mine", tmp_path)
    assert "2 of 2 sentences to score by stand in train too" in "\n".join(TaggingSummary(task, task, "").lines())


# -- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tO\nb\n", r"a.conll:2: expected 2 columns as in the lines above, parted by tabs, found 1"),
        ("a x O\nb O\n", r"a.conll:2: expected 3 columns"),
        ("a\n", r"a.conll:1: expected a word and its tag"),
        ("a\tO\n\tO\n", r"a.conll:2: the word is missing"),
        ("a\tO\nb\t\n", r"a.conll:2: the tag is missing"),
        ("\n\n", r"a.conll holds no sentences"),
        ("", r"a.conll holds no sentences"),
    ],
)
def test_malformed_columns_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_sentences(write(tmp_path, "a.conll", text))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1\tI\ti\tPRON", "expected the 10 fields"),
        ("x\tI" + "\t_" * 8, "expected a number"),
        ("1\t " + "\t_" * 8, "missing"),
    ],
)
def test_malformed_conllu_names_the_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"a.conllu:2: .*{message}"):
        read_sentences(write(tmp_path, "a.conllu", f"# text\n{line}\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a B-x\nb x\n", r"a.conll:2: unknown tag 'x': expected O, B-x or I-x\."),
        ("a B-x\nb E-x\n", r"a.conll:2: unknown tag 'E-x'.* Convert BIOES to BIO first"),
        ("a O\nb I-x\nc O\nd B-x\n", r"a.conll:2: 'I-x' continues no x: a span begins with B-x"),
        ("a B-x\nb I-y\n", r"a.conll:2: 'I-y' continues no y"),
    ],
)
def test_illegal_spans_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked_spans([read_sentences(write(tmp_path, "a.conll", text))])


def test_the_scheme_is_one_for_all_files(tmp_path: Path) -> None:
    """A dev file that alone would read as IOB1 is illegal beside a train file in BIO."""
    write(tmp_path / "mine", "train.conll", BIO)
    write(tmp_path / "mine", "dev.conll", "a I-LOC\n")
    with pytest.raises(UserError, match=r"dev.conll:1: 'I-LOC' continues no LOC"):
        own_tagging("mine", tmp_path)


def test_a_tag_that_train_does_not_have_names_the_line(tmp_path: Path) -> None:
    write(tmp_path / "mine", "train.conll", BIO)
    write(tmp_path / "mine", "dev.conll", "a O\nb B-ORG\n")
    with pytest.raises(UserError, match=r"dev.conll:2: unknown tag 'B-ORG'.*known: O, B-LOC"):
        own_tagging("mine", tmp_path)


def test_one_tag_alone_is_nothing_to_learn(tmp_path: Path) -> None:
    write(tmp_path / "mine", "train.conll", "a O\n")
    write(tmp_path / "mine", "dev.conll", "a O\n")
    with pytest.raises(UserError, match="every word has the tag 'O'"):
        own_tagging("mine", tmp_path)


def test_missing_files_and_wrong_kinds_of_task_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "mine", "train.csv", "text,label\n")
    with pytest.raises(UserError, match=r"no train file of tagged words in .*files found: train.csv"):
        load_tagging("mine", "files", tmp_path)
    with pytest.raises(UserError, match="has no task 'min'"):
        load_tagging("min", "files", tmp_path)
    with pytest.raises(UserError, match="sst-2 labels whole texts.*wnut-17"):
        load_tagging("SST2", "files", tmp_path)
    for source in ("builtin", "hub"):
        with pytest.raises(UserError, match="wnut-17 labels the words of a sentence one by one"):
            load_task("wnut17", source)
    with pytest.raises(UserError, match="wnut-17 labels the words"):
        load_task("wnut17", "files", tmp_path)
    with pytest.raises(UserError, match="DATA_DIR"):
        load_tagging("wnut-17", "files", None)
    with pytest.raises(UserError, match="DATA=builtin has no task 'wnut-17'"):
        load_tagging("wnut-17", "builtin")


def test_names_of_tags_are_in_a_fixed_order(tmp_path: Path) -> None:
    sentences = read_sentences(write(tmp_path, "a.conll", "a B-y\nb O\nc B-x\n"))
    assert tag_names(sentences) == ("O", "B-x", "I-x", "B-y", "I-y")
