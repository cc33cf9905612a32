"""States, plan actions and failure classes: the tables, plans and schemas know the members of the enums, and no other text."""

import ast
import inspect
from enum import StrEnum
from pathlib import Path

import pytest
from sqlalchemy import create_engine, insert, select
from sqlalchemy.exc import StatementError

from reconciler.ledger.schema.decision_tables import pauses
from reconciler.ledger.schema.operation_tables import copies, operation_items, operations
from reconciler.ledger.schema.tables import (
    LIVE_ATTEMPT,
    LIVE_OUTPUT,
    LOST,
    attempts,
    intents,
    metadata,
    outputs,
)
from reconciler.model import states
from reconciler.model.operations import CopyKind, OperationKind, OperationState
from reconciler.model.states import (
    CLAIMING,
    LIVE,
    AttemptState,
    FailureClass,
    IntentState,
    OutputState,
    PauseKind,
)
from schemas.json_schema.validation import load_schema

ROOT = Path(__file__).parents[3]
ENUMS = [
    value
    for value in vars(states).values()
    if isinstance(value, type) and issubclass(value, StrEnum) and value is not StrEnum
]

STATED = {
    attempts.c.state: AttemptState,
    attempts.c.failure: FailureClass,
    intents.c.state: IntentState,
    outputs.c.state: OutputState,
    pauses.c.kind: PauseKind,
    operations.c.kind: OperationKind,
    operations.c.state: OperationState,
    operation_items.c.state: OperationState,
    copies.c.kind: CopyKind,
}


KINDS = {column for column in STATED if column.name == "kind"}
"""Other tables have kinds that are free text."""


def test_every_column_of_states_holds_an_enum():
    found = {
        column
        for table in metadata.tables.values()
        for column in table.columns
        if column.name in ("state", "failure") or column in KINDS
    }
    assert found == set(STATED)
    assert {column: column.type.states for column in found} == STATED


@pytest.mark.parametrize("column", STATED, ids=str)
def test_no_table_takes_or_seeks_a_text_that_is_no_state(column):
    with create_engine("sqlite://").connect() as connection:
        metadata.create_all(connection)
        keys = {key.name: 1 for key in column.table.primary_key.columns}
        with pytest.raises(StatementError, match="'finished' is not a valid"):
            connection.execute(insert(column.table).values({**keys, column.name: "finished"}))
        with pytest.raises(StatementError, match="'finished' is not a valid"):
            connection.execute(select(column).where(column == "finished"))


def test_indices_are_of_the_states_that_the_enums_group():
    assert str(LIVE_ATTEMPT) == f"state IN ({', '.join(repr(one.value) for one in LIVE)})"
    assert str(LIVE_OUTPUT) == f"state IN ({', '.join(repr(one.value) for one in CLAIMING)})"
    assert str(LOST) == f"attempts.state = '{AttemptState.LOST}'"


def test_results_of_jobs_have_the_failure_classes_of_the_ledger():
    stated = load_schema("result")["properties"]["failure"]["properties"]["class"]["enum"]
    assert sorted(stated) == sorted(FailureClass)


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.__name__)
def test_every_member_has_a_sentence(enum):
    (tree,) = ast.parse(inspect.getsource(enum)).body
    told = [
        name.targets[0].id
        for name, text in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(name, ast.Assign) and isinstance(text, ast.Expr) and text.value.value.endswith(".")
    ]
    assert told == list(enum.__members__)


def _find_bare(tree):
    """The lines at which a state is compared with, or written as, a bare text."""
    texts = {text for enum in (AttemptState, IntentState, OutputState) for text in enum}

    def is_bare(node):
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            return any(is_bare(one) for one in node.elts)
        return isinstance(node, ast.Constant) and node.value in texts

    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=ast.Attribute(attr="state"), comparators=[right]) if is_bare(right):
                yield node.lineno
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="state"), attr="in_" | "not_in")):
                if any(is_bare(one) for one in node.args):
                    yield node.lineno
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "state" and is_bare(value):
                        yield node.lineno
            case ast.keyword(arg="state", value=value) if is_bare(value):
                yield value.lineno


def test_product_code_names_states_by_their_enums():
    files = [
        file
        for room in ("reconciler", "ci")
        for file in (ROOT / room).rglob("*.py")
        if "migrations" not in file.parts
    ]
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in files
        for line in _find_bare(ast.parse(file.read_text()))
    ]
    assert found == []
