"""Reading the ledger. Nothing here writes."""
