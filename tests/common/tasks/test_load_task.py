"""Names, sources and the errors of `load_task`; importing the package stays light."""

import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import UserError
from common.tasks import canonical_name, known_tasks, load_task


@pytest.mark.parametrize(
    ("written", "canonical"),
    [("SST2", "sst-2"), ("sst_2", "sst-2"), ("STS-B", "sts-b"), ("AG News", "ag-news"), ("CoLA", "cola"),
     ("qqp_sample", "qqp-sample"), ("Sentiment", "sentiment")],
)  # fmt: skip
def test_spellings(written: str, canonical: str) -> None:
    assert canonical_name(written) == canonical
    assert canonical_name(canonical) == canonical


def test_known_tasks() -> None:
    assert known_tasks("builtin") == ("sentiment", "entailment", "paraphrase", "mood", "reply")
    assert "qqp-sample" in known_tasks("files") and "qqp-sample" not in known_tasks("hub")
    for source in ("builtin", "files", "hub"):
        assert all(canonical_name(name) == name for name in known_tasks(source))


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no task 'sentimnet': did you mean sentiment"):
        load_task("sentimnet", "builtin")
    with pytest.raises(UserError, match=r"did you mean mrpc"):
        canonical_name("mrcp")
    with pytest.raises(UserError, match=r"unknown data source 'file': did you mean files\?.*DATA=hub"):
        load_task("sst-2", "file")
    with pytest.raises(UserError, match="unknown data source"):
        known_tasks("disk")


def test_a_task_of_another_source_is_not_taken_from_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="DATA=builtin has no task 'sst-2'.*sentiment"):
        load_task("sst-2", "builtin")
    with pytest.raises(UserError, match="DATA=hub has no task 'qqp-sample'"):
        load_task("qqp-sample", "hub")
    with pytest.raises(UserError, match="DATA=files has no task 'sentiment'"):
        load_task("sentiment", "files", tmp_path)


@pytest.mark.parametrize("data_dir", [None, Path()])
def test_files_need_a_folder(data_dir: Path | None) -> None:
    with pytest.raises(UserError, match=r"DATA_DIR=path"):
        load_task("sst-2", "files", data_dir)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no folder .*nowhere.*DATA_DIR=path"):
        load_task("sst-2", "files", tmp_path / "nowhere")


def test_importing_and_naming_tasks_loads_nothing_heavy() -> None:
    code = (
        "import sys; from common.tasks import known_tasks; known_tasks('hub'); "
        "print([m for m in ('torch', 'transformers', 'datasets', 'sklearn', 'pandas', 'numpy', 'scipy') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
