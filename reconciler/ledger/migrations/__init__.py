"""Migrations: what each version of the ledger's tables changed in the one before."""
