"""Where the ledger's database is, and how it is opened."""
