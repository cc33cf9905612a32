"""`docs/life-of-a-run.md` names existing modules, classes and functions, and new readers find the page."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "life-of-a-run.md"
LINKS = sorted(set(re.findall(r"\[`([^`]+)`\]\(([^)]+)\)", PAGE.read_text())))


def find_definition(body, name):
    """The class or function with that name in a body of code; for `Class.method`, the method of the class."""
    head, _, rest = name.partition(".")
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == head:
            return find_definition(node.body, rest) if rest else node
    return None


@pytest.mark.parametrize(("name", "link"), LINKS, ids=[name for name, _ in LINKS])
def test_what_the_page_names_is_where_it_says(name, link):
    file = (PAGE.parent / link).resolve()
    assert file.is_file()
    if name != file.name:
        assert find_definition(ast.parse(file.read_text()).body, name) is not None


def test_the_tables_name_by_links_alone():
    """A wrong name without a link would not be noticed."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "](" in line]
    assert len(rows) > 20
    for row in rows:
        _, _, rest = row.partition("|")[2].partition("|")
        bare = re.findall(r"`(\w+)`", re.sub(r"\[`[^`]+`\]\([^)]+\)", "", rest))
        assert set(bare) <= {"UNKNOWN"}


def test_the_diagram_names_classes_of_the_tables():
    diagram = PAGE.read_text().partition("```mermaid")[2].partition("```")[0]
    named = {name for text in re.findall(r'"([^"]+)"', diagram) for name in re.findall(r"\b[A-Z]\w+", text)}
    assert named <= {name for name, _ in LINKS}
    assert len(named) > 8


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_newcomers_are_shown_the_page(page):
    assert "(docs/life-of-a-run.md)" in Path(ROOT / page).read_text()
