"""The ledger as a whole: migrations, backups, checks, exports."""
