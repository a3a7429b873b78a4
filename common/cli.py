"""The command `reproduce`: list, plan, run, record, doctor, new, report, site, paper, regress, bench, take, predict.

Every command imports only what it needs, so that `reproduce list` answers at once. Whatever a user can mend ends in
one message and exit code 2, an interruption in exit code 130.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from common.errors import UserError
from common.run.program import run_program

INTERRUPTED = "a run keeps what was finished, the same command goes on from there"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_program("reproduce", lambda: _carried_out(arguments), INTERRUPTED)


def _carried_out(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    code: int = options.command(options)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reproduce", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], help_: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_)
        sub.set_defaults(command=command)
        return sub

    for name, command, help_ in (
        ("run", _run, "run a paper's experiments and lay your results beside the recorded and the published ones"),
        ("record", _record, "the same, written to the committed record, with tables, figures and verdicts"),
        ("plan", _plan, "what `run` would do, with estimated cost"),
    ):
        sub = add(name, command, help_)
        sub.add_argument("paper", help="a paper, in any case, with or without - or _; or all")
        _add_run_options(sub)
    compare = add("compare", _compare, "every method on some tasks: which one wins where")
    compare.add_argument("--methods", default="", help="comma-separated methods instead of all")
    compare.add_argument("--record", action="store_true", help="write the committed record")
    _add_run_options(compare)
    best = add("best", _best, "which system to take for a task of yours, at what loss and speed, and its folder")
    best.add_argument("--max-loss", default="1", help="points that may be lost against the baseline (default 1)")
    best.add_argument("--max-ms", default="", help="milliseconds that a text may take, median; default: however long")
    best.add_argument("--batch", default="1", help="texts at once at which speed counts (default 1)")
    best.add_argument("--methods", default="", help="comma-separated methods instead of all that are not dear")
    best.add_argument("--to", default="", help="a new folder for the system (default results/best/<task>@local)")
    _add_run_options(best)
    tune = add("tune", _tune, "search the recipe of the baseline and the static ladder on held-back data")
    _add_run_options(tune)
    doctor = add("doctor", _doctor, "why a number may be off: the machine, what is asked of it, what was run")
    doctor.add_argument("paper", nargs="?", default="", help="a paper, or all; without one the machine and every run")
    _add_run_options(doctor)
    new = add("new", _new, "lay down the folder of a new paper, which runs at once")
    new.add_argument("paper", help="its name, e.g. FastTagger")
    add("paper", _paper, "one PDF of all tables, figures and the ledger, from the records")
    add("list", _list, "papers, their tables and figures, what has been run, verdicts")
    add("report", _report, "tables, figures, verdicts and the README summary from the records")
    add("site", _site, "a page to look at, from the records: build/site/index.html")
    regress = add("regress", _regress, "fresh smoke metrics against the committed baselines")
    regress.add_argument("--update", action="store_true", help="accept the fresh metrics as the new baselines")
    regress.add_argument("--paper", default="all", help="one paper instead of all")
    add("bench", _bench, "time the parts with pytest-benchmark and compare with the last entry")
    take = add("take", _take, "train a method on a task, or take what was trained before, and save it to a folder")
    take.add_argument("method", help="a method, e.g. DeeBERT, DAN or baseline")
    take.add_argument("folder", help="the folder to make; `reproduce predict` and common.serve.load read it")
    take.add_argument("--setting", default="", help="the setting's name; by default the one nearest to --speed")
    take.add_argument("--speed", default="2", help="FLOPs of the baseline over the model's, on held-back texts")
    _add_run_options(take)
    predict = add("predict", _predict, "answer texts with a saved model, as JSON Lines")
    predict.add_argument("folder", help="the folder of a saved model")
    predict.add_argument("file", nargs="?", default="", help="texts, plain, .gz or .xz; by default standard input")
    predict.add_argument("--format", default="", help="lines, csv, tsv or jsonl; by default by the file's name")
    predict.add_argument("--columns", default="", help="names of the text's column, or of both, e.g. question,answer")
    return parser


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scale", default="mini", help="smoke, mini (default), base or paper")
    parser.add_argument("--data", default="builtin", help="builtin (default), files or hub")
    parser.add_argument("--data-dir", default="", help="folder of the data sets, with --data files")
    parser.add_argument("--seeds", default="1", help="how many training seeds (default 1)")
    parser.add_argument("--tasks", default="", help="comma-separated tasks instead of the paper's own")
    parser.add_argument("--encoder", default="", help="a local folder or a hub id instead of the scale's encoder")
    parser.add_argument("--timing-device", default="auto", help="auto (default: where it is trained) or cpu")


def _run(options: argparse.Namespace) -> int:
    from common.run.command import reproduce, run_command
    from common.run.replication import choose
    from common.run.runner import Request

    return run_command(choose(options.paper), Request.parse(options), reproduce)


def _record(options: argparse.Namespace) -> int:
    from common.run.command import record, run_command
    from common.run.replication import choose
    from common.run.runner import Request

    return run_command(choose(options.paper), Request.parse(options).for_the_record(), record)


def _compare(options: argparse.Namespace) -> int:
    from common.compare.command import compare, comparison, record_comparison
    from common.run.command import run_command
    from common.run.runner import Request

    names, request = _names(options.methods), Request.parse(options)
    if options.record:
        return run_command([comparison(names)], request.for_the_record(), record_comparison)
    return run_command([comparison(names)], request, compare)


def _best(options: argparse.Namespace) -> int:
    from functools import partial

    from common.best.command import Best, Wish, best
    from common.best.limits import Limits
    from common.compare.command import FOLDER
    from common.run.command import run_command
    from common.run.runner import Request

    limits, request = Limits.parse(options.max_loss, options.max_ms, options.batch), Request.parse(options)
    wish = Wish.of(request, options.to)
    chosen = Best("best", FOLDER, tuple(_names(options.methods)), limits)
    return run_command([chosen], request, partial(best, wish=wish))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _tune(options: argparse.Namespace) -> int:
    from common.run.replication import RESULTS, ROOT
    from common.run.runner import Request, bare_run
    from common.tuning import kind_of, search, write_table

    run = bare_run(Request.parse(options))
    tasks = run.tasks_or({"builtin": ("sentiment", "entailment", "paraphrase"), "files": (), "hub": ()})
    path = RESULTS / "baselines" / f"{run.name}{kind_of(run, tasks).suffix}.md"
    write_table(path, run, tasks, list(search(run, tasks)))
    print(path.relative_to(ROOT))
    return 0


def _plan(options: argparse.Namespace) -> int:
    from common.run.replication import choose
    from common.run.runner import Request, describe_plan

    chosen, request = choose(options.paper), Request.parse(options)
    if len(chosen) == 1:
        print(describe_plan(chosen[0], request))
        return 0
    refused = False
    for replication in chosen:
        try:
            print(describe_plan(replication, request))
        except UserError as error:
            print(f"{replication.slug}: would not run: {error}")
            refused = True
    return 2 if refused else 0


def _doctor(options: argparse.Namespace) -> int:
    from common.doctor.command import doctor
    from common.run.replication import choose
    from common.run.runner import Request

    return doctor(choose(options.paper) if options.paper.strip() else (), Request.parse(options))


def _new(options: argparse.Namespace) -> int:
    from common.new.command import lay_down, welcome

    print(welcome(lay_down(options.paper)))
    return 0


def _paper(_: argparse.Namespace) -> int:
    from common.compare.command import comparison
    from common.reporting.book import write_book
    from common.reporting.typeset import typeset
    from common.run.replication import RESULTS, ROOT, TABLES, find_replications

    papers = [replication.paper for replication in (comparison(), *find_replications())]
    print(typeset(write_book(papers, RESULTS, TABLES, ROOT / "build")).relative_to(ROOT))
    return 0


def _list(_: argparse.Namespace) -> int:
    from common.reporting.overview import overview
    from common.run.replication import RESULTS, find_replications

    print(overview([replication.paper for replication in find_replications()], RESULTS))
    return 0


def _report(_: argparse.Namespace) -> int:
    from common.reporting.made import Made
    from common.reporting.report import report
    from common.run.artifacts import default_root
    from common.run.replication import README, RESULTS, ROOT, TABLES, find_replications

    for path in report(find_replications(), RESULTS, TABLES, README, Made.under(default_root())):
        print(path.relative_to(ROOT))
    return 0


def _site(_: argparse.Namespace) -> int:
    from common.run.replication import RESULTS, ROOT, TABLES, find_replications
    from common.site.command import Records, make

    print(make(ROOT / "build" / "site", Records(find_replications(), RESULTS, TABLES, ROOT)))
    return 0


def _regress(options: argparse.Namespace) -> int:
    from common.regress import regress

    return regress(update=options.update, paper=options.paper)


def _bench(_: argparse.Namespace) -> int:
    from common.benchmarks import run_benchmarks
    from common.run.replication import RESULTS

    return run_benchmarks(RESULTS)


def _take(options: argparse.Namespace) -> int:
    from common.serve.take import take

    take(options)
    return 0


def _predict(options: argparse.Namespace) -> int:
    from common.serve.predict import predict

    predict(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
