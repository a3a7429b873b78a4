"""The command that tags a text with TOKEE, words leaving early.

.venv/bin/python -m replications.token_early_exit.tag notes.txt --task wnut-17 --data files --data-dir path/to/data

The text has a sentence a line, its words parted by blanks as in the data that were learned. What comes out is CoNLL: a
word a line with its tag and the layer at which it left, a blank line after each sentence. The model is what `make
reproduce` trained with the same options, or is trained now.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.errors import UserError, exit_without

if __name__ == "__main__":
    exit_without("torch", "replications.token_early_exit.tag")

from common.run.program import run_program
from common.run.progress import say
from common.run.runner import Request, bare_run
from common.tagging_run import TaggingRun
from common.tasks.reading import numbered_lines
from common.tasks.tagging import Sentence
from common.training.word_pieces import encode_tagged, positions_of
from replications.token_early_exit.contender import SETTINGS, Tokee
from replications.token_early_exit.method import Rule
from replications.token_early_exit.names import SPEEDS, speed_name
from replications.token_early_exit.runtime import run_token_exits
from replications.token_early_exit.systems import points_at_speeds

FULL = "1"
BATCH = 32

Tagged = tuple[str, str, int]
"""A word, its tag and the layer at which it left."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, as `reproduce` does."""
    kept = "what was trained is kept, the same command goes on from there"
    return run_program("tag", lambda: _print_tags(_parser().parse_args(arguments)), kept)


def _print_tags(options: argparse.Namespace) -> None:
    tokee, rule = chosen(options)
    for sentence in tagged(tokee, rule, sentences(options.text)):
        print("\n".join(f"{word}\t{tag}\t{layer}" for word, tag, layer in sentence) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tag", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("text", type=Path, help="a text file, plain, .gz or .xz: a sentence a line")
    parser.add_argument("--task", required=True, help="what was learned, e.g. wnut-17 or a folder of your own")
    parser.add_argument("--speed", default="2", help=f"{FULL} (nobody leaves early), {', '.join(map(str, SPEEDS))}")
    parser.add_argument("--scale", default="mini", help="smoke, mini (default), base or paper")
    parser.add_argument("--data", default="builtin", help="builtin (default), files or hub")
    parser.add_argument("--data-dir", default="", help="folder of the data sets, with --data files")
    parser.add_argument("--encoder", default="", help="a local folder or a hub id instead of the scale's encoder")
    return parser


def chosen(options: argparse.Namespace) -> tuple[Tokee, Rule]:
    """The trained model and the rule of the wanted speed.

    Raises:
        UserError: an unknown task, scale, source or speed, or missing data.
    """
    if options.speed not in (FULL, *map(str, SPEEDS)):
        raise UserError(
            f"a speed is {FULL} (nobody leaves early) or {', '.join(map(str, SPEEDS))}; got {options.speed[:20]!r}. "
            "Type --speed 2"
        )
    asked = argparse.Namespace(**{**vars(options), "seeds": "1", "tasks": options.task, "timing_device": "auto"})
    run = bare_run(Request.parse(asked), tell=say)
    (task,) = run.task_names or (options.task,)
    tokee = Tokee(TaggingRun.of(run, task, 0, SETTINGS[run.scale.name].recipe))
    if options.speed == FULL:
        return tokee, tokee.rule(1, 0.0)
    return tokee, next(s.rule for s in points_at_speeds(tokee) if s.setting == speed_name(int(options.speed)))


def sentences(path: Path) -> Iterator[Sentence]:
    """The sentences of a text; empty lines are passed over.

    Raises:
        UserError: it cannot be read, or is not UTF-8.
    """
    for number, line in numbered_lines(path):
        if words := tuple(line.split()):
            yield Sentence(words, (0,) * len(words), where=f"{path}:{number}")


def tagged(tokee: Tokee, rule: Rule, texts: Iterator[Sentence]) -> Iterator[list[Tagged]]:
    """The words of each sentence with their tags, in order, computed in batches.

    Raises:
        UserError: a sentence has more pieces than the encoder takes; the message names its line.
    """
    run = tokee.tagging_run
    model, tags = tokee.model().to(run.device), run.task.tags
    source = run.backbone
    waiting: list[Sentence] = []
    for sentence in (*texts, None):
        if sentence is not None:
            waiting.append(sentence)
        if waiting and (sentence is None or len(waiting) == BATCH):
            split = encode_tagged(source.tokenizer, waiting, positions_of(source.encoder.config))
            outcome = run_token_exits(model, split.batch(range(len(waiting))).to(run.device), rule)
            for one, answers, exits in zip(waiting, outcome.answers.tolist(), outcome.exits.tolist(), strict=True):
                yield [(word, tags[tag], layer) for word, tag, layer in zip(one.words, answers, exits, strict=False)]
            waiting = []


if __name__ == "__main__":
    sys.exit(main())
