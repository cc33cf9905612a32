"""The tables of run catalogue and ledger."""
