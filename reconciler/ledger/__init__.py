"""The ledger: the database of what was asked for and what came of it."""
