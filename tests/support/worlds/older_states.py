"""States of older versions of the ledger's tables, made by the migrations."""

from __future__ import annotations

from sqlalchemy import text

from reconciler.ledger.store.database import migrating
from reconciler.ledger.store.privacy import close_state
from reconciler.ledger.store.schema_versions import upgrade_tables

ONE_PRODUCT = """
insert into ledger values('first', 7, 3);
insert into plans(digest, content, begun, serial) values('p', '', 't', 1);
insert into recipes(id, digest, content) values(1, 'r', '');
insert into intents(id, plan, campaign, step, experiment, run, state) values(1, 'p', 'c', 's', 1, 1, 'produced');
insert into outputs(id, intent, campaign, step, experiment, run, output, fingerprint, recipe, input, state, version,
                    storage, folder) values(1, 1, 'c', 's', 1, 1, 'o', '', 1, 'i', 'produced', 1, '/d', 'f');
insert into jobs(id, intent, key, failures) values(1, 1, 'k', 0);
insert into attempts(id, job, number, name, nonce, site, state, begun) values(1, 1, 1, 'a', 'n', 'local', 'verified', 't');
insert into products(output, path, attempt, size, checksum) values(1, 'f.root', 1, 1, 'sha256:0');
"""
"""The output of one attempt, with columns that every version has."""


def make_state(state, version, rows=ONE_PRODUCT):
    """A state of that version; on SQLite, foreign keys are enforced as before."""
    close_state(state)
    with migrating(state) as connection:
        upgrade_tables(connection, "0001")
        for line in rows.split(";\n"):
            if line.strip():
                connection.execute(text(line))
        upgrade_tables(connection, version)
