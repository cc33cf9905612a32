"""A turn: what a plan says is done, and what came of it is recorded."""
