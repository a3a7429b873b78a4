"""The command that indexes a folder of texts and answers questions on them.

.venv/bin/python -m replications.deformer.answer save LIBRARY --task squad --data files --data-dir data
.venv/bin/python -m replications.deformer.answer index LIBRARY path/to/texts
.venv/bin/python -m replications.deformer.answer ask LIBRARY "Who painted the ceiling?"
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from common.errors import UserError, exit_without
from common.run.program import run_program

if __name__ == "__main__":
    exit_without("torch", "replications.deformer.answer")

PROGRAM = "python -m replications.deformer.answer"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, as `reproduce` does."""
    kept = "what was finished is kept, the same command goes on from there"
    return run_program("answer", lambda: _carried_out(arguments), kept)


def _carried_out(arguments: Sequence[str] | None) -> None:
    options = _parser().parse_args(arguments)
    options.command(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    save = commands.add_parser("save", help="train DeFormer on a reading task, or take the one trained before")
    save.set_defaults(command=_save)
    save.add_argument("library", type=Path, help="the folder to make")
    save.add_argument("--task", default="squad", help="what it learns from (default squad)")
    save.add_argument("--scale", default="mini", help="smoke, mini (default), base or paper")
    save.add_argument("--data", default="files", help="builtin, files (default) or hub")
    save.add_argument("--data-dir", default="", help="folder of the data sets, with --data files")
    save.add_argument("--precision", default="float16", choices=("float32", "float16", "bfloat16"))
    index = commands.add_parser("index", help="add the .txt files of a folder")
    index.set_defaults(command=_index)
    index.add_argument("library", type=Path)
    index.add_argument("texts", type=Path)
    ask = commands.add_parser("ask", help="prints answer, score, file and character, parted by tabs")
    ask.set_defaults(command=_ask)
    ask.add_argument("library", type=Path)
    ask.add_argument("question")
    ask.add_argument("--passages", type=int, default=100, help="how many are asked (default 100)")
    return parser


def _save(options: argparse.Namespace) -> None:
    from common.reading_run import ReadingRun
    from common.run.progress import say
    from common.run.runner import Request, bare_run
    from common.tasks.spans import is_span_task
    from replications.deformer.library import Library
    from replications.deformer.readers import Readers
    from replications.deformer.settings import SETTINGS

    asked = {"scale": options.scale, "data": options.data, "data_dir": options.data_dir, "tasks": options.task}
    request = Request.parse(argparse.Namespace(**asked, seeds="1", encoder="", timing_device="auto"))
    if len(request.tasks) != 1 or not is_span_task(request.tasks[0], request.data, request.data_dir):
        raise UserError(f"--task is one reading task; got {options.task!r}. Type --task squad")
    run, settings = bare_run(request, say), SETTINGS[options.scale]
    readers = Readers(ReadingRun.of(run, request.tasks[0], 0, settings.recipe), settings)
    model = readers.model(readers.main).cpu()
    reading = readers.reading
    Library.make(options.library, model, reading.backbone.tokenizer, reading.layout, options.precision)
    print(f"{options.library}: saved. Type {PROGRAM} index {options.library} TEXTS")


def _index(options: argparse.Namespace) -> None:
    from replications.deformer.library import Library

    library = Library(options.library)
    new = library.index(options.texts)
    megabytes = library.cache.nbytes / 1e6
    print(f"{options.library}: {new} new passages, {len(library.passages)} in all, {megabytes:.1f} MB of states")


def _ask(options: argparse.Namespace) -> None:
    from replications.deformer.library import Library

    if options.passages < 1:
        raise UserError(f"--passages is how many passages are asked, at least 1; got {options.passages}")
    found = Library(options.library).ask(options.question, options.passages)
    print(found.answer.replace("\n", " "), f"{found.score:.4f}", found.file, found.start, sep="\t")


if __name__ == "__main__":
    sys.exit(main())
