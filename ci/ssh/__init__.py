"""Makes and verifies SSH signatures."""
