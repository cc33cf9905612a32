"""The site in a browser: pages show what the ledger has, search, sort, and reach for nothing from elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.support.services import node_tools
from tests.support.services.browser import browsing, find_browser
from tests.support.worlds.command_lines import run_lines
from tests.support.worlds.site_world import HOSTILE, LINE, make_site_world

pytestmark = pytest.mark.slow

PAGES = (
    "index.html",
    "runs/index.html",
    "runs/run.html#3:1",
    "campaigns/index.html",
    "campaigns/proc7.html",
    "datasets/index.html",
    "comparisons/index.html",
    "tags/index.html",
    "luminosity/index.html",
    "software/index.html",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A site that the command wrote."""
    world = make_site_world(tmp_path_factory.mktemp("world"))
    folder = tmp_path_factory.mktemp("site") / "pages"
    (ended,) = run_lines([["report", "-o", folder]], world.root)
    assert ended.code == 0, ended.text
    return folder


@pytest.fixture(scope="module")
def browser():
    program = find_browser()
    if program is None:
        # a machine without it can try the rest; in CI a skip is a failure
        pytest.skip("there is no Chromium; install Debian's package `chromium`")
    with browsing(program) as found:
        yield found


@contextmanager
def serving(site):
    """The address of a plain web server that gives out the site, in a process of its own."""
    command = [
        sys.executable,
        "-u",
        "-m",
        "http.server",
        "0",
        "--bind",
        "127.0.0.1",
        "--directory",
        str(site),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().split()[5]}"
        finally:
            server.terminate()


@contextmanager
def opened(browser, site, page, width=1280, scheme="light", address=None):
    """A page; what goes wrong on it, or what it asks for beyond its folder, fails the test."""
    wrong, base = [], address or site.as_uri()
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=False
    )
    tab = context.new_page()
    tab.on(
        "console",
        lambda told: wrong.append(f"{told.type}: {told.text}") if told.type in ("error", "warning") else None,
    )
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("dialog", lambda dialog: (wrong.append("a dialog"), dialog.dismiss()))
    tab.on(
        "request",
        lambda asked: None if asked.url.startswith((base, "data:", "blob:")) else wrong.append(asked.url),
    )
    file, _, fragment = page.partition("#")
    tab.goto(f"{base}/{file}{'#' + fragment if fragment else ''}")
    tab.wait_for_load_state("load")
    yield tab
    assert not wrong, wrong
    context.close()


def list_runs(tab):
    return [one.inner_text() for one in tab.query_selector_all("#body [role=rowheader]")]


def search(tab, text):
    tab.fill("#query", text)
    tab.wait_for_timeout(200)
    return list_runs(tab)


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_renders_at_any_width_without_an_error_or_a_request_to_elsewhere(
    browser, site, page, width, scheme
):
    with opened(browser, site, page, width, scheme) as tab:
        assert tab.inner_text("h1").strip()
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.inner_text("#moment").endswith(tuple("0123456789"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_can_be_read_by_everybody(browser, site, page, scheme):
    npm = node_tools.install()
    if npm is None:
        # as in `browser`
        pytest.skip("there is no npm; install Debian's packages `nodejs` and `npm`")
    rules = (npm / "node_modules/axe-core/axe.min.js").read_text()
    with opened(browser, site, page, scheme=scheme) as tab:
        tab.evaluate(rules)
        found = tab.evaluate("axe.run({preload: false}).then((told) => told.violations)")
        assert not [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]


def test_the_shift_page_says_whose_move_it_is_and_what_helps(browser, site):
    with opened(browser, site, "index.html") as tab:
        cards = [one.inner_text() for one in tab.query_selector_all(".card")]
        pause = next(one for one in cards if "paused (operator)" in one)
        assert HOSTILE in pause
        assert "shifter@example.org" in pause
        assert "b2prod resume campaign:proc7" in pause
        quarantined = next(one for one in cards if "1 unit in quarantine (3:3)" in one)
        assert "b2prod retry proc7/reco/3:3 --reason" in quarantined
        failed = next(one for one in cards if "b2prod logs proc7/reco/3:3" in one)
        assert LINE in failed
        assert "b2prod retry proc7/reco/3:3" in failed
        row = tab.inner_text("tbody tr")
        assert "proc7" in row
        assert "2 done" in row
        assert "1 in quarantine" in row
        assert "not before a person acts" in row
        tab.click("text=its runs")
        tab.wait_for_selector("#body a")
        assert list_runs(tab) == ["3:3"]


def test_runs_are_searched_and_filtered_and_the_address_is_a_link_to_them(browser, site):
    with opened(browser, site, "runs/index.html") as tab:
        assert list_runs(tab) == ["3:1", "3:2", "3:3", "3:700"]
        assert search(tab, "3:2-700") == ["3:2", "3:3", "3:700"]
        assert search(tab, "3:1, 3") == ["3:1", "3:3"]
        assert search(tab, "cosmic") == ["3:700"]
        assert search(tab, "physics good") == ["3:1", "3:2"]
        assert search(tab, "4S") == ["3:1", "3:2", "3:3"]
        assert search(tab, "in proc7") == ["3:1", "3:2", "3:3"]
        assert search(tab, "not in proc7") == ["3:3", "3:700"]
        assert search(tab, "not in proc9") == []
        assert tab.inner_text("#found") == "no campaign proc9"
        assert search(tab, "strange") == []
        assert search(tab, "3:1-2") == ["3:1", "3:2"]
        assert tab.inner_text("#found") == "2 of 4 runs"
        assert "2.251 pb⁻¹" in tab.inner_text("#summary")
        tab.select_option("#campaign", "proc7")
        tab.select_option("#state", "q")
        tab.fill("#query", "")
        tab.wait_for_timeout(200)
        assert list_runs(tab) == ["3:3"]
        link = tab.url
    with opened(browser, site, f"runs/index.html{link[link.index('#') :]}") as tab:
        assert list_runs(tab) == ["3:3"]
        tab.click("#clear")
        assert len(list_runs(tab)) == 4


def test_runs_are_sorted_and_what_is_not_known_comes_last(browser, site):
    with opened(browser, site, "runs/index.html") as tab:
        tab.click("#head >> text=Events")
        assert list_runs(tab) == ["3:1", "3:2", "3:3", "3:700"]
        tab.click("#head >> text=Events")
        assert list_runs(tab) == ["3:3", "3:2", "3:1", "3:700"]
        assert tab.get_attribute("[aria-sort]", "aria-sort") == "descending"
        assert "sort=events%2Cdown" in tab.url


def test_a_keyboard_reaches_a_run(browser, site):
    with opened(browser, site, "runs/index.html") as tab:
        tab.focus("#grid")
        tab.keyboard.press("ArrowDown")
        tab.keyboard.press("ArrowDown")
        tab.keyboard.press("Enter")
        tab.wait_for_url("**/run.html#3:2")
        tab.wait_for_selector("#details h2")
        assert tab.inner_text("h1") == "Run 3:2"


def test_the_page_of_a_run_has_everything_of_it_and_leads_to_the_next(browser, site):
    with opened(browser, site, "runs/run.html#3:1") as tab:
        tab.wait_for_selector("#details h2")
        told = tab.inner_text("#details")
        for text in (
            "physics",
            "2019-03-11 00:00:00",
            "1 h 0 min",
            "1,500 nb⁻¹",
            "detector/raw",
            "proc7/reco/mdst",
            "v1",
        ):
            assert text in told, text
        tab.goto(f"{(site / 'runs/run.html').as_uri()}#3:3")
        tab.wait_for_selector("text=in quarantine")
        assert "failed" in tab.inner_text("#details")
        tab.click("#after")  # a run of another file
        tab.wait_for_selector("text=No campaign takes this run.")
        assert tab.inner_text("h1") == "Run 3:700"
        assert tab.is_hidden("#after")
        tab.click("#before")
        tab.wait_for_selector("text=in quarantine")
    with opened(browser, site, "runs/run.html#3:4") as tab:
        tab.wait_for_selector("text=The run catalogue has no run 3:4.")


def test_plots_are_drawn_and_saved_as_data_and_as_a_figure(browser, site):
    with opened(browser, site, "campaigns/proc7.html") as tab:
        assert HOSTILE in tab.inner_text(".lead")
        assert tab.query_selector_all("figure .uplot canvas")
        with tab.expect_download() as data:
            tab.click("figure >> text=Data (CSV)")
        lines = Path(data.value.path()).read_text().splitlines()
        assert lines == ["runs,sum", "3:1,1500", "3:2,2250.5"]
        with tab.expect_download() as figure:
            tab.click("figure >> text=Figure (SVG)")
        drawn = ET.parse(figure.value.path()).getroot()
        told = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
        assert "bhabha online: 2.251 pb⁻¹ of 2 runs" in told
        assert {"3:1", "3:2", "∫L dt / pb⁻¹"} <= {*told}


def test_a_web_server_shows_the_same(browser, site):
    with serving(site) as address:
        with opened(browser, site, "runs/index.html#q=cosmic", address=address) as tab:
            assert len(list_runs(tab)) == 4
        with opened(browser, site, "runs/index.html#query=cosmic", address=address) as tab:
            assert list_runs(tab) == ["3:700"]
            tab.click("#body a")
            tab.wait_for_selector("text=No campaign takes this run.")
        with opened(browser, site, "campaigns/proc7.html", address=address) as tab:
            assert tab.query_selector_all("figure .uplot canvas")


def test_the_first_page_is_small(site):
    needed = ("index.html", "assets/site.css", "assets/site.js", "data/site.js")
    assert sum((site / one).stat().st_size for one in needed) < 300_000


def test_no_page_has_scripts_or_styles_of_its_own(site):
    for file in site.rglob("*.html"):
        text = file.read_text()
        assert "Content-Security-Policy" in text
        assert "<style" not in text
        assert " style=" not in text
        assert "<script>" not in text
        assert "onerror=alert(1)>" not in text


def test_files_for_software_name_their_schemas(site):
    index = json.loads((site / "api/v1/index.json").read_text())
    for name, schema in index["files"].items():
        assert json.loads((site / "api/v1" / name).read_text())["schema"] == schema
