"""SSH signatures: made and verified."""
