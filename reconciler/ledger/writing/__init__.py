"""Writes the ledger: under a lease, in transactions that the journal records."""
