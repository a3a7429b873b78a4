"""The command that takes a student home, and labels texts with it.

.venv/bin/python -m replications.sparse_distillation.predictor save FOLDER --task sst-2 --data files --data-dir data
.venv/bin/python -m replications.sparse_distillation.predictor predict FOLDER "what a film"
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.errors import UserError, exit_without

if __name__ == "__main__":
    exit_without("torch", "replications.sparse_distillation.predictor")

from replications.sparse_distillation.home import BATCH, PROGRAM, Predictor, Text, batches
from replications.sparse_distillation.storage import check_free

__all__ = ["Predictor", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, as `reproduce` does."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # A terminal without a character for it shows a question mark.
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
        sys.stdout.flush()
        return 0
    except UserError as error:
        print(f"predictor: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "\npredictor: interrupted; what was trained is kept, the same command goes on from there", file=sys.stderr
        )
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter's own flush must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"predictor: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    predict = commands.add_parser("predict", help="label texts: prints label, probability and text, parted by tabs")
    predict.set_defaults(command=_predict)
    predict.add_argument("folder", type=Path, help="the folder of a saved student")
    predict.add_argument("text", nargs="*", help="texts; without any, one a line from standard input; pairs with a tab")
    save = commands.add_parser("save", help="train the student of a task, or take the one trained before, and save it")
    save.set_defaults(command=_save)
    save.add_argument("folder", type=Path, help="the folder to make")
    save.add_argument("--task", required=True, help="what it is to label, e.g. sst-2")
    save.add_argument("--scale", default="mini", help="smoke, mini (default), base or paper")
    save.add_argument("--data", default="builtin", help="builtin (default) or files")
    save.add_argument("--data-dir", default="", help="folder of the data sets, with --data files")
    save.add_argument("--seed", default="0", help="training seed (default 0)")
    return parser


def _predict(options: argparse.Namespace) -> None:
    predictor = Predictor.load(options.folder)
    if options.text:
        texts = (_parse(predictor, text, f"text {number}") for number, text in enumerate(options.text, 1))
    else:
        texts = (_parse(predictor, line, f"standard input, line {number}") for number, line in _lines())
    # Whoever types wants each answer at once.
    at_once = 1 if sys.stdin.isatty() else BATCH
    for batch in batches(texts, at_once):
        for text, prediction in zip(batch, predictor.predict(batch), strict=True):
            shown = "\t".join(text) if isinstance(text, tuple) else text
            print(prediction.label, f"{prediction.probability:.4f}", shown.replace("\n", " "), sep="\t")


def _lines() -> Iterator[tuple[int, str]]:
    """The lines of standard input with their numbers."""
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield number, line.decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UserError(
                f"standard input, line {number}: expected UTF-8, found the byte {line[error.start]:#04x} at column "
                f"{error.start + 1}. Convert it, for instance: iconv -f latin1 -t utf-8"
            ) from error


def _parse(predictor: Predictor, line: str, where: str) -> Text:
    """One line of input as what `predictor` labels."""
    parts = tuple(line.split("\t"))
    if predictor.is_pair and len(parts) == 2:
        return parts
    if not predictor.is_pair and len(parts) == 1:
        return line
    expected = "two texts with one tab between them" if predictor.is_pair else "one text without tabs"
    raise UserError(
        f"{where}: expected {expected}, for the student of {predictor.about.task}, found {len(parts) - 1} tabs"
    )


def _save(options: argparse.Namespace) -> None:
    check_free(options.folder)  # First of all: the imports take seconds, the training hours.
    from common.run.progress import say
    from replications.sparse_distillation.take_home import trained

    trained(options, say).save(options.folder)
    print(f"{options.folder}: saved. Type {PROGRAM} predict {options.folder} TEXT")


if __name__ == "__main__":
    sys.exit(main())
