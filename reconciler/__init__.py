"""What is missing: plan, ledger, run catalogue, engines, apply."""
