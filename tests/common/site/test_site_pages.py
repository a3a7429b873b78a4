"""The page as files: everything is there, escaped, linked, within its size, and the same for the same records."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from kit.fake_paper import FakePaper, make
from kit.toy_site import HOSTILE, Page, finding, write_records

from common import cli
from common.errors import UserError
from common.records.measurements import write_json
from common.records.runs import RunRecord, find_runs
from common.reporting.report import comparable
from common.reporting.scoreboard import VERDICTS, best_verdict
from common.run.replication import RESULTS, TABLES, find_replications
from common.site.claims import statistic_text
from common.site.command import Records, site_files, write_site
from common.site.images import shrunk
from common.site.tables import to_html

ROOT = Path(__file__).resolve().parents[3]
LIMIT = 3_000_000
WORDS = {verdict.replace(" ", "-") for verdict in VERDICTS}
OUTSIDE = ("https://", "data:")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site") / "site"


@pytest.fixture(scope="module")
def site(place: Path) -> dict[str, bytes]:
    """The page of the committed records."""
    return site_files(Records(find_replications(), RESULTS, TABLES, ROOT), place)


@pytest.fixture(scope="module")
def pages(site: dict[str, bytes]) -> dict[str, Page]:
    return {name: Page(data.decode()) for name, data in site.items() if name.endswith(".html")}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    """The page of the toy records."""
    with pytest.MonkeyPatch.context() as patch:
        return pages_of(make(tmp_path_factory.mktemp("project"), patch))


def pages_of(fake: FakePaper, *, compared: bool = True) -> dict[str, Page]:
    files = site_files(write_records(fake, compared=compared), fake.root / "build" / "site")
    return {name: Page(data.decode()) for name, data in files.items() if name.endswith(".html")}


def dead_links(pages: dict[str, Page], files: dict[str, bytes], out: Path) -> list[str]:
    """Links of every page that lead nowhere."""
    return [
        f"{name}: {link}"
        for name, page in pages.items()
        for link in page.links
        if not leads(name, link, pages, files, out)
    ]


def leads(name: str, link: str, pages: dict[str, Page], files: dict[str, bytes], out: Path) -> bool:
    if link.startswith(OUTSIDE):
        return True
    parts = urlsplit(link)
    target, anchor = unquote(parts.path) or name, parts.fragment
    if target in pages:
        return not anchor or anchor in pages[target].ids
    if target in files:
        return not anchor
    path = (out / target).resolve()
    return path.is_file() and (not anchor or anchor in headings(path.read_text(encoding="utf-8")))


def headings(markdown: str) -> set[str]:
    """Anchors that a reader of Markdown makes of headings."""
    titles = re.findall(r"^#+ (.+)$", markdown, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


# -- The committed records --------------------------------------------------------------------------------------------


def test_every_link_of_the_project_s_own_page_resolves(
    pages: dict[str, Page], site: dict[str, bytes], place: Path
) -> None:
    assert dead_links(pages, site, place) == []
    assert sum(len(page.links) for page in pages.values()) > 100


def test_it_is_small_and_asks_nobody_for_anything(site: dict[str, bytes], pages: dict[str, Page]) -> None:
    assert sum(map(len, site.values())) < LIMIT
    loaded = [
        e[key]
        for p in pages.values()
        for tag in ("script", "img", "link")
        for e in p.of(tag)
        for key in ("src", "href")
        if key in e
    ]
    assert loaded and not [address for address in loaded if address.startswith(("http", "//"))]
    code = b"".join(data for name, data in site.items() if name.endswith((".js", ".css")))
    assert not re.search(rb"fetch\(|XMLHttpRequest|import\(|@import|url\((?!#)|innerHTML", code)


def test_every_claim_stands_under_its_verdict(pages: dict[str, Page]) -> None:
    front = pages["index.html"]
    for replication in find_replications():
        paper = replication.paper
        page = pages[f"{paper.slug}.html"]
        assert f"{paper.slug}.html" in front.links
        order = [name for name in page.ids if name.startswith("claim-") or name in WORDS]
        for claim in paper.claims:
            place = order.index(f"claim-{claim.id}")
            under = next(name for name in reversed(order[:place]) if name in WORDS)
            runs = records_of(paper.slug)
            assert under == best_verdict(claim, runs).replace(" ", "-"), claim.id
            assert f"{paper.slug}.html#{under}" in front.links


def records_of(slug: str) -> list[RunRecord]:
    return comparable(find_runs(RESULTS, slug))


def test_every_table_and_every_figure_of_a_run_that_counts_is_there(
    pages: dict[str, Page], site: dict[str, bytes]
) -> None:
    for replication in find_replications():
        slug = replication.slug
        page = pages[f"{slug}.html"]
        shown = [details for details in page.of("details") if details.get("class") == "table"]
        assert len(shown) == len(list((TABLES / slug).glob("*.md")))
        drawn = {
            f"figures/{slug}-{run.name}-{p.stem}.webp"
            for run in records_of(slug)
            for p in run.folder.glob("figures/*.png")
        }
        assert {image["src"] for image in page.of("img")} == drawn <= set(site)
        assert all(image["alt"] and image["width"] for image in page.of("img"))


def test_every_decided_claim_names_its_statistic(pages: dict[str, Page]) -> None:
    for replication in find_replications():
        for claim, decider in replication.deciders().items():
            assert len(statistic_text(decider)) > 10, f"{replication.slug}: {claim}"


# -- An invented paper ------------------------------------------------------------------------------------------------


def test_no_name_becomes_html(toy: dict[str, Page]) -> None:
    for page in toy.values():
        # The templates' own bold and italic words hold no attribute and no task.
        assert not [tag for tag, attributes in page.elements if tag in ("b", "i") and attributes]
    own = toy["fake_paper.html"]
    assert f"{HOSTILE} 0.6 0.4 to 0.8" in own.text and "a note with <i> in it" in own.text
    assert "W < V because" in own.text and "Figure <1>" in own.text and "C <d>." in own.text
    assert [plot["name"] for plot in toy["index.html"].plot["sources"][0]["tasks"]] == ["mood", HOSTILE]


def test_the_data_cannot_end_their_script(fake: FakePaper) -> None:
    records = write_records(fake)
    html = site_files(records, fake.root / "build" / "site")["index.html"].decode()
    (script,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert "<" not in script and ">" not in script and "\\u003cb\\u003e" in script


def test_a_table_s_text_is_no_html_either() -> None:
    html = to_html("| a |\n| --- |\n| <script>x</script> |\n", 'a "label" <x>')
    assert "<script>" not in html and "&lt;script&gt;" in html
    assert (
        'aria-label="a &#34;label&#34; &lt;x&gt;"' in html
        and html.count("<table>") == html.count("</table></div>") == 1
    )


def test_its_links_resolve_and_its_ids_are_unique(fake: FakePaper) -> None:
    out = fake.root / "build" / "site"
    files = site_files(write_records(fake), out)
    pages = {name: Page(data.decode()) for name, data in files.items() if name.endswith(".html")}
    assert dead_links(pages, files, out) == []
    assert all(len(set(page.ids)) == len(page.ids) for page in pages.values())
    (fake.folder / "README.md").unlink()
    assert dead_links(pages, files, out) == ["fake_paper.html: ../../replications/fake_paper/README.md#deviations"]


def test_the_same_records_give_the_same_bytes(fake: FakePaper) -> None:
    records = write_records(fake)
    first, second = (site_files(records, fake.root / "build" / "site") for _ in range(2))
    assert first == second


def test_what_an_earlier_page_left_is_removed_and_others_files_stay(fake: FakePaper) -> None:
    out = fake.root / "build" / "site"
    records = write_records(fake, compared=False)
    write_site(records, out)
    (out / "gone_paper.html").write_text("old")
    (out / "notes.txt").write_text("mine")
    paths = write_site(records, out)
    left = {path for path in out.rglob("*") if path.is_file()}
    assert left == {*paths, out / "notes.txt"}


def test_a_verdict_shows_what_it_rests_on(toy: dict[str, Page]) -> None:
    page = toy["fake_paper.html"]
    for text in (
        "published ≥ 50 %",
        "measured 60 % [40, 80]",
        "run mini-builtin , premise not met, direction yes, size unclear",
        "what the premise lacks 12 layers",
        "training seeds 2, the interval is over examples and seeds",
    ):
        assert text in page.text, text
    assert "seen-here" in page.ids and "claim-fake-claim" in page.ids


def test_two_runs_of_one_claim_each_say_their_own(fake: FakePaper) -> None:
    records = write_records(fake, compared=False)
    other = fake.run_folder("mini-files")
    (other).mkdir()
    (other / "measurements.jsonl").write_bytes((fake.run_folder("mini-builtin") / "measurements.jsonl").read_bytes())
    write_json(other / "claims.json", [finding("not seen here", "the other").model_dump()])
    page = Page(site_files(records, fake.root / "build" / "site")["fake_paper.html"].decode())
    assert "not-seen-here" in page.ids and "seen here: 60 % [40, 80], run mini-builtin" in page.text
    assert "not seen here: 60 % [40, 80], run mini-files" in page.text


def test_without_a_comparison_it_says_so_and_plots_the_papers_own(fake: FakePaper) -> None:
    page = pages_of(fake, compared=False)["index.html"]
    assert "No comparison of all methods is recorded yet" in page.text
    assert [source["key"] for source in page.plot["sources"]] == ["fake_paper/mini-builtin/table1"]
    assert [(point["system"], point["latency"], point["gained"]) for point in page.plot["printed"]] == [
        ("DeeBERT", [1.6, 0], [-1.0, 0])
    ]


def test_with_a_comparison_it_comes_first_and_has_a_page(toy: dict[str, Page]) -> None:
    assert [source["key"] for source in toy["index.html"].plot["sources"]] == [
        "compare/mini-builtin",
        "fake_paper/mini-builtin/table1",
    ]
    assert "compare.html" in toy and "compare.html" in toy["index.html"].links
    assert "No comparison" not in toy["index.html"].text


def test_a_user_s_own_results_and_toys_are_not_shown(fake: FakePaper) -> None:
    records = write_records(fake, compared=False)
    source = (fake.run_folder("mini-builtin") / "measurements.jsonl").read_text()
    for folder, text in (
        (fake.own_folder("mini-builtin"), source),
        (fake.run_folder(), source.replace("mini", "smoke")),
    ):
        folder.mkdir(parents=True)
        (folder / "measurements.jsonl").write_text(text)
    page = Page(site_files(records, fake.root / "build" / "site")["fake_paper.html"].decode())
    assert "Recorded runs: mini-builtin" in page.text and "@local" not in page.text and "smoke" not in page.text


def test_a_paper_without_a_run_says_what_to_type(fake: FakePaper) -> None:
    records = write_records(fake, compared=False)
    for path in sorted(fake.run_folder("mini-builtin").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    page = Page(site_files(records, fake.root / "build" / "site")["fake_paper.html"].decode())
    assert "No run is recorded yet: make reproduce PAPER=fake_paper" in page.text and "nothing was run yet" in page.text


def test_a_damaged_figure_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "figure.png").write_text("no picture")
    with pytest.raises(UserError, match=r"figure\.png: no picture that can be read.*make tables"):
        shrunk(tmp_path / "figure.png")


def test_the_command_says_what_to_open(
    fake: FakePaper, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from common.run import replication

    write_records(fake, compared=False)
    monkeypatch.setattr(replication, "ROOT", fake.root)
    monkeypatch.setattr(replication, "TABLES", fake.root / "tables")
    assert cli.main(["site"]) == 0
    assert re.fullmatch(
        r"build/site/index\.html \(\d+ files, \d\.\d MB\): open it in a browser\n", capsys.readouterr().out
    )
    assert (fake.root / "build" / "site" / "index.html").exists()
