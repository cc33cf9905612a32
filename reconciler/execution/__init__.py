"""Turns: they do what a plan says, and record the result."""
