"""Operations on datasets in the ledger: what was intended, done and refused, and which datasets are protected."""
