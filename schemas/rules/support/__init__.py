"""What the rules compute with. Nothing here checks."""
