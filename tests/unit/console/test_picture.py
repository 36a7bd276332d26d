"""The picture in the README: drawn by `make page-pictures` from the page as it is."""

import re
from xml.etree import ElementTree as ET

import pytest

from spawnai_local.paths import checkout

PAGE = checkout() / "operator" / "spawnai" / "console" / "page"
HTML = "{http://www.w3.org/1999/xhtml}"


@pytest.fixture(scope="module")
def picture() -> str:
    return (checkout() / "docs" / "page.svg").read_text()


def test_it_is_in_the_readme_with_a_description(picture):
    readme = (checkout() / "README.md").read_text()
    assert re.search(r"!\[[^\]]{40,}\]\(docs/page\.svg\)", readme)
    assert len(picture) < 40_000


def test_it_shows_nothing_of_the_machine_and_loads_nothing(picture):
    assert not re.search(r"/(home|root|tmp|work|usr)/|file:|127\.0\.0\.1|eyJ|<script", picture)
    for address in re.findall(r"""(?:src|href)="([^"]*)"|url\(([^)]*)\)""", picture):
        assert "".join(address).startswith(("#", "data:image/svg+xml,", "https://retro-board-"))


def test_no_module_of_the_page_waits_for_another_one_to_name_it():
    named = re.findall(r'rel="modulepreload" href="([^"]+)"', (PAGE / "index.html").read_text())
    assert sorted(named) == sorted(module.name for module in PAGE.glob("*.js"))


def test_its_words_are_the_pages(picture):
    shown = {
        text
        for kind in ("button", "dt", "h2", "a")
        for element in ET.fromstring(picture).iter(HTML + kind)  # noqa: S314 - our own
        if (text := (element.text or "").strip()) and not re.search(r"\d", text)
    }
    words = (PAGE / "words.js").read_text()
    assert {"Open app", "Cost so far", "Yes"} <= shown
    changed = {text for text in shown if f"'{text}'" not in words}
    assert changed == set(), "the page has changed: draw it again with `make page-pictures`"
