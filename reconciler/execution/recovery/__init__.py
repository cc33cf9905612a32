"""Rebuilding a lost ledger from published outputs."""
