"""The ledger: the database of what was asked for and what came of it, who may write it, and what is written."""
