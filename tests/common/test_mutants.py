"""The list of mutants keeps up with the code that it breaks; the mutants themselves are tried by `make mutants`."""

import pytest

from common.run.replication import ROOT
from tests.mutants import MUTANTS, REGRESS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_changes_is_there_once_and_its_guard_exists(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.old) == 1, "stale: see tests/mutants.py"
    assert mutant.old != mutant.new
    for selected in mutant.guard.removeprefix(REGRESS).split():
        file, _, test = selected.partition("::")
        if mutant.guard.startswith(REGRESS):
            assert (ROOT / "replications" / file / "paper.yaml").exists()
        else:
            assert f"def {test}" in (ROOT / file).read_text(encoding="utf-8")
