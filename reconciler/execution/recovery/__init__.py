"""Making a lost ledger again from what was published."""
