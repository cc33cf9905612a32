"""Announcing: the readers of an edition are told of it once, in each place where they listen."""
