"""The frame of every program: one message and an exit code, whatever happens inside."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from common.errors import UserError
from common.run.program import BEFORE_TORCH, run_program


def raising(error: BaseException) -> int:
    def work() -> int:
        raise error

    return run_program("prog", work, "all of it is kept")


def test_the_code_is_that_of_the_work_or_0() -> None:
    assert run_program("prog", lambda: 3, "") == 3
    assert run_program("prog", lambda: None, "") == 0


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("expected this, type that"), 2, "prog: expected this, type that\n"),
        (KeyboardInterrupt(), 130, "\nprog: interrupted; all of it is kept\n"),
        (OSError(28, "No space left on device", "a/file"), 2, "prog: a/file: No space left on device\n"),
        (OSError("odd"), 2, "prog: a file: odd\n"),
    ],
)
def test_what_a_user_can_mend_is_one_message(
    error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raising(error) == code
    assert capsys.readouterr() == ("", message)


def test_a_defect_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        raising(ZeroDivisionError())


def test_a_reader_who_has_seen_enough_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is still in the buffer goes nowhere, and nothing fails at the interpreter's end either."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert run_program("prog", lambda: print("x" * 100_000), "") == 0
        closed.flush()


def test_a_stream_without_a_character_for_it_shows_a_question_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
    assert run_program("prog", lambda: print("große"), "") == 0
    assert raw.getvalue() == b"gro?e\n"


def test_what_libraries_read_when_they_are_loaded_is_set_and_the_users_word_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    seen: list[str | None] = []
    run_program("prog", lambda: seen.extend(os.environ.get(name) for name in BEFORE_TORCH), "")
    assert seen == ["ACTIVE", ":4096:8"]
