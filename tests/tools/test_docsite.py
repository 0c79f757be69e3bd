"""The site of the documentation is built, says what it should, and looks as it should in a browser.

Built once, by the command of CONTRIBUTING.md. What needs the extra `docs`, or a browser, is skipped without it.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.browser import Browser, find_browser

for _package in ("mkdocs", "material", "mkdocstrings", "griffe"):
    if importlib.util.find_spec(_package) is None:
        pytest.skip(f"{_package} is not installed, which comes with the extra 'docs'", allow_module_level=True)

# The site takes ten seconds, and more on a busy machine.
pytestmark = [pytest.mark.checkout, pytest.mark.once, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]

DESKTOP = (1300, 900)
PHONE = (390, 844)

SCHEMES = {"light": "default", "dark": "slate"}
"""What a reader may prefer, and Material's name of it."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the site."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and does not talk about it."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    """The site's address, with a slash at the end."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def opened(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        pytest.skip("there is no Chromium, which Debian's package 'chromium' has")
    with Browser(program, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(opened: Browser, url: str) -> Iterator[Browser]:
    """A browser that has seen nothing yet, and finds nothing to complain of."""
    opened.begin_anew()
    opened.resize(*DESKTOP)
    yield opened
    assert opened.complaints == []
    # Everything comes from the site itself.
    assert {address for address in opened.requests if not address.startswith((url, "data:"))} == set()


# -- what is in it


def text_of(page: Path) -> str:
    """Return what is to be read on a page, with single spaces."""
    article = page.read_text(encoding="utf-8").partition("<article")[2].partition("</article>")[0]
    return " ".join(unescape(re.sub(r"<[^>]+>", "", article)).split())


def test_it_has_every_page(site: Path) -> None:
    pages = {path.stem for path in site.glob("*.html")}
    assert pages >= {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages >= {"readme", "changelog", "contributing", "releasing", "licence", "examples"}


def test_nothing_is_asked_of_other_hosts(site: Path) -> None:
    """Links may lead there, but no page loads anything from there."""
    loads = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*>")
    assert {path.name: found for path in site.rglob("*.html") if (found := loads.findall(path.read_text()))} == {}


def test_links_out_of_the_folder_lead_to_pages(site: Path) -> None:
    start = (site / "index.html").read_text(encoding="utf-8")
    for link in ("changelog.html", "contributing.html", "examples.html#web-events", "tutorial.html"):
        assert f'href="{link}"' in start
    assert 'href="benchmarks.html#before-and-after-a-change"' in (site / "contributing.html").read_text()


def test_names_lead_to_the_reference(site: Path) -> None:
    page = (site / "notifications.html").read_text(encoding="utf-8")
    assert re.search(r'href="reference/notifications.html#anyq.listen"[^>]*><code>anyq.listen\(\)</code>', page)
    assert "<autoref" not in "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.html"))


def test_the_gallery_has_every_example(site: Path) -> None:
    page = text_of(site / "examples.html")
    for path in sorted((ROOT / "examples").rglob("*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert docstring is not None
        lead = " ".join(docstring.partition("\n\n")[0].replace("`", "").split())
        assert lead in page
        assert f"{path.name}, " in page


PUBLIC: list[ModuleType] = [
    importlib.import_module(name)
    for name in (
        *("anyq", "anyq.abc", "anyq.adapt", "anyq.conninfo", "anyq.errors", "anyq.pool", "anyq.pq", "anyq.sql"),
        *("anyq.sync", "anyq.tracing", "anyq.contrib.psycopg"),
        *(f"anyq.types.{name}" for name in ("composite", "enum", "geometric", "hstore", "infinity", "interval")),
        *(f"anyq.types.{name}" for name in ("json", "multirange", "numeric", "range")),
    )
]


ELSEWHERE = {
    "anyq": {"Date", "Time", "Timestamp", "__impl__", "__version__", "adapt", "postgres", "types"},
    "anyq.abc": {"ConnMapping"},
    "anyq.adapt": {"global_adapters", "global_types"},
    "anyq.conninfo": {"KEYWORDS"},
    "anyq.types.hstore": {"Hstore"},
}
"""Public names without a docstring of their own, by module: modules whose names are shown, plain synonyms, tables."""

_ADAPTERS = re.compile(r"\w+(?:Dumper|Loader)|register_default_adapters")
"""Names of families of types that are for the map of adapters, and not for users."""


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_every_public_name_has_a_place(site: Path, module: ModuleType) -> None:
    pages = [path.read_text(encoding="utf-8") for path in (site / "reference").glob("*.html")]
    found = {name for page in pages for name in re.findall(r'\bid="anyq\.([\w.]+)"', page)}
    last = {name.rpartition(".")[2] for name in found}
    names = set(module.__all__)
    if module.__name__.startswith("anyq.types"):
        names = {name for name in names if not _ADAPTERS.fullmatch(name)}
    assert names - last == ELSEWHERE.get(module.__name__, set())


def test_docstrings_are_read_as_they_are_meant(site: Path) -> None:
    for path in (site / "reference").glob("*.html"):
        text = text_of(path)
        assert re.findall(r":(?:class|meth|func|mod|attr|exc|data|param \w+|raises \w+|returns?):", text) == [], path
        assert "Must not know" not in text, path
        assert re.findall(r"For this package|For the compiled", text) == [], path


# -- how it looks


def test_the_start_page(browser: Browser, url: str) -> None:
    browser.open(url)
    assert browser.run("document.querySelector('h1').firstChild.textContent") == "anyq"
    browser.follow("[...document.querySelectorAll('article a')].find(a => a.textContent == 'Tutorial')")
    assert browser.run("location.pathname") == "/tutorial.html"
    assert browser.run("document.querySelector('h1').firstChild.textContent") == "Tutorial"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("page", ["index.html", "reference/connections.html"])
def test_both_colour_schemes(browser: Browser, url: str, page: str, scheme: str) -> None:
    browser.prefer(scheme)
    browser.open(url + page)
    # The reader's system decides ...
    assert shown_scheme(browser) == SCHEMES[scheme]
    assert is_dark(browser, "background-color") is (scheme == "dark")
    assert is_dark(browser, "color") is (scheme == "light")
    # ... until the reader does, by the button that offers the next one.
    browser.run("document.querySelector('label[title=\"Light colours\"]').click()")
    assert shown_scheme(browser) == "default"
    browser.run("document.querySelector('label[title=\"Dark colours\"]').click()")
    assert shown_scheme(browser) == "slate"
    assert is_dark(browser, "background-color")


def shown_scheme(browser: Browser) -> object:
    return browser.run("document.body.getAttribute('data-md-color-scheme')")


def is_dark(browser: Browser, what: str) -> bool:
    """Return whether a colour of the page is; one that is mixed with what is below it counts by what it is of."""
    red, green, blue = browser.run(
        f"getComputedStyle(document.body).getPropertyValue('{what}').match(/[\\d.]+/g).slice(0, 3).map(Number)"
    )
    return bool(red + green + blue < 3 * 128)


@pytest.mark.parametrize(("words", "page"), [("savepoint", "tutorial.html"), ("AsyncConnection.connect", "reference/")])
def test_search_finds_something(browser: Browser, url: str, words: str, page: str) -> None:
    browser.open(url)
    browser.run("document.querySelector('[data-md-component=search-query]').focus()")
    browser.type(words)
    browser.wait_for("document.querySelector('.md-search-result__item a')")
    links = browser.run("[...document.querySelectorAll('.md-search-result__item a')].map(a => a.href)")
    assert any(link.startswith(url + page) for link in links), links


def test_a_page_of_the_reference(browser: Browser, url: str) -> None:
    """It has what a newcomer looks for: parameters, errors, what a cancellation leaves behind."""
    browser.open(f"{url}reference/connections.html#anyq.AsyncConnection.connect")
    heading = "document.getElementById('anyq.AsyncConnection.connect')"
    assert browser.run(f"{heading}.getBoundingClientRect().top < innerHeight")
    contents = f"{heading}.parentElement"
    text = browser.run(f"{contents}.innerText")
    assert "A cancellation leaves nothing behind" in text
    assert "none let us in; the message has every attempt" in text
    parameters = browser.run(
        f"[...{contents}.querySelectorAll('table')].map("
        "table => [...table.rows].slice(1).map(row => row.cells[0].innerText.trim()))"
    )
    assert parameters[0][:2] == ["conninfo", "autocommit"]
    assert parameters[1] == ["ProgrammingError, TypeError, ValueError", "OperationalError"]
    browser.follow(f"[...{contents}.querySelectorAll('a')].find(a => a.textContent == 'HostSpec')")
    anchor = browser.run("location.hash.slice(1)")
    assert anchor.endswith(".HostSpec")
    assert "HostSpec" in browser.run(f"document.getElementById('{anchor}').innerText")


@pytest.mark.parametrize("page", ["index", "examples", "benchmarks", "tutorial", "reference/connections"])
def test_it_fits_on_a_phone(browser: Browser, url: str, page: str) -> None:
    browser.resize(*PHONE)
    browser.open(f"{url}{page}.html")
    assert browser.run("document.documentElement.scrollWidth") <= PHONE[0]


def test_the_chart_is_there(browser: Browser, url: str) -> None:
    browser.open(f"{url}benchmarks.html")
    assert browser.run("document.querySelector('article img[src$=\"benchmarks.svg\"]').naturalWidth > 0")
