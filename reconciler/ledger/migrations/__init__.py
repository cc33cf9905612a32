"""Migrations: what each version of the ledger's tables changed."""
