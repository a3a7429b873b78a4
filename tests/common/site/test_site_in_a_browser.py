"""The page in headless Chromium: the plot is drawn, answers to what is chosen, and complains of nothing."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import pytest
from kit import chromium
from kit.fake_paper import make
from kit.toy_site import HOSTILE, METHODS, write_records

from common.site.command import write_site

pytestmark = pytest.mark.skipif(chromium.FOUND is None, reason=chromium.MISSING)

PHONE = 390
MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
SYSTEMS = 1 + len(METHODS)

CHOOSE = """
    const found = {};
    for (const currency of ["latency", "flops"]) {
        await go({ task: "mood", currency });
        found[currency] = points();
    }
    await go({ task: "mood", height: "score", method: "DeeBERT" });
    found.score = points();
    await go({ task: "mood", currency: "latency", published: "SST-2" });
    found.published = points();
    found.caption = document.getElementById("caption").textContent;
    await go({ task: "mood", method: "" });
    found.none = points();
    await go({ task: "mood" });
    const control = document.getElementById("currency");
    control.value = "layers";
    control.dispatchEvent(new Event("change"));
    found.control = points();
    found.address = location.hash;
    const box = [...document.querySelectorAll("#methods input")].find((one) => one.value === "DeeBERT");
    box.click();
    found.unticked = points();
    found.focused = document.activeElement.value;
    return found;
"""

WALK = """
    await go({ task: "mood", currency: "latency" });
    const said = [];
    document.querySelector("g.point[tabindex='0']").focus();
    for (const key of ["ArrowRight", "ArrowRight", "ArrowLeft"]) {
        said.push(document.activeElement.dataset.x);
        document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    }
    const chosen = document.querySelectorAll("#numbers tr.chosen");
    return [...said, document.getElementById("readout").textContent, chosen.length, chosen[0].textContent];
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The front page of the toy records."""
    with pytest.MonkeyPatch.context() as patch:
        fake = make(tmp_path_factory.mktemp("project"), patch)
        write_site(write_records(fake), fake.root / "build" / "site")
    return fake.root / "build" / "site" / "index.html"


def test_a_link_to_a_choice_draws_every_system_and_complains_of_nothing(index: Path, tmp_path: Path) -> None:
    """Of a task whose name is a tag: it is text everywhere."""
    seen = chromium.see(index, tmp_path, urlencode({"task": HOSTILE, "currency": "latency"}))
    assert seen.complaints == ()
    page = seen.page
    marks = [one for one in page.of("g") if one.get("class") == "point"]
    drawn = [(one["data-method"], float(one["data-x"]), float(one["data-y"])) for one in marks]
    assert len(drawn) == SYSTEMS and ("DeeBERT", 1.85, -2.0) in drawn and ("baseline", 1.0, 0.0) in drawn
    assert f"The comparison, mini-builtin, {HOSTILE}:" in page.text
    assert [one["value"] for one in page.of("option")].count(HOSTILE) == 1
    # The same numbers for whoever sees no plot: beside it, and as the points' own names.
    assert f"DeeBERT 2x 1.85 ± 0.07 {MINUS}2.0 [" in page.text
    assert any(one["aria-label"].startswith(f"DeeBERT, 2x: 1.85 ± 0.07{TIMES}, {MINUS}2.0 [") for one in marks)
    assert "Bars: one standard deviation over the seeds to either side; the 95 % interval over examples" in page.text


def test_every_choice_changes_what_is_drawn(index: Path, tmp_path: Path) -> None:
    seen = chromium.see(index, tmp_path, probe=CHOOSE)
    found = seen.said
    assert seen.complaints == ()
    latency, flops = found["latency"], found["flops"]
    assert [(m, score) for m, _, score in latency] == [(m, score) for m, _, score in flops] and len(flops) == SYSTEMS
    assert ["DeeBERT", 1.85, -2] in latency and ["DeeBERT", 5.45, -2] in flops
    assert found["score"] == [["DeeBERT", 1.85, 88.25], ["DeeBERT", 2.75, 80.25]]
    assert found["published"] == [*latency, ["DeeBERT", 1.6, -1]] and "Hollow marks" in found["caption"]
    assert found["none"] == []
    assert ["DeeBERT", 3.65, -2] in found["control"] and "currency=layers" in found["address"]
    assert {method for method, _, _ in found["unticked"]} == {"baseline", "static ladder"}
    assert found["focused"] == "DeeBERT", "whoever ticks by key stays where he was"


def test_the_points_can_be_walked_through_without_a_mouse(index: Path, tmp_path: Path) -> None:
    *speeds, readout, chosen, row = chromium.see(index, tmp_path, probe=WALK).said
    assert speeds == ["1", "1.85", "2.05"] and readout.startswith("DeeBERT, 2x: 1.85")
    assert chosen == 1 and row.startswith("DeeBERT2x1.85")


def test_a_phone_never_scrolls_sideways(index: Path, tmp_path: Path) -> None:
    names = ("index.html", "fake_paper.html", "compare.html")
    found = chromium.widths([index.with_name(name) for name in names], tmp_path, PHONE)
    assert found == {name: [PHONE, 0] for name in names}
