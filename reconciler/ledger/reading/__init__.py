"""Reads the ledger; writes nothing."""
