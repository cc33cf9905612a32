"""Every field that anything reads is in a digest, or in nothing that is launched; a new one is in the table, or fails here."""

from __future__ import annotations

import pytest

from schemas.files.tree import read_tree
from schemas.policy.policy import REVOKED, ROLES, SIGNERS, SITES, read_policy
from schemas.policy.retention import RETENTION
from schemas.policy.validation import VALIDATIONS
from tests.support.tables.covered_fields import COVERS, NOT_DECIDED, PAGE, TOLD, list_kinds, write_page
from tests.support.tables.field_places import ROOT, find_place, list_words

KINDS = list_kinds()
FIELDS = [(kind, path) for kind, paths in KINDS.items() for path in paths]


@pytest.mark.parametrize(("kind", "path"), FIELDS)
def test_a_field_is_in_a_digest_or_is_told_to_people_alone(kind, path):
    covered = COVERS[kind](path)
    assert bool(covered) != ((kind, path) in TOLD), covered


@pytest.mark.parametrize(("kind", "path"), [one for one in FIELDS if one not in TOLD])
def test_a_field_that_is_covered_is_used_where_the_table_says(kind, path):
    place = find_place(kind, path)
    assert place is not None, f"say in PLACES where {path} of {kind} is used"
    module, name = place
    assert (ROOT / module).is_file()
    assert not name or name in list_words(module), f"{module} does not read {name}"


def test_the_table_has_nothing_that_no_reader_takes():
    assert TOLD.keys() <= set(FIELDS)
    known = {file.name.partition(".")[0] for file in (ROOT / "schemas").glob("*.schema.json")}
    assert known == (KINDS.keys() & known) | NOT_DECIDED.keys()
    assert not KINDS.keys() & NOT_DECIDED.keys()
    assert COVERS.keys() == KINDS.keys()


def test_the_page_is_the_table():
    assert PAGE.read_text() == write_page(), "run `python -m tests.support.tables.covered_fields`"


def test_every_byte_of_sites_roles_keys_and_validations_is_in_the_trust_root():
    tree, _ = read_tree(ROOT)
    before = read_policy(tree)[0].root
    own = (f"{SITES}/local.yaml", f"{SITES}/kekcc.yaml", f"{VALIDATIONS}/production.yaml", RETENTION)
    for file in (ROLES, SIGNERS, REVOKED, *own):
        assert read_policy({**tree, file: tree[file] + b"# x\n"})[0].root != before
