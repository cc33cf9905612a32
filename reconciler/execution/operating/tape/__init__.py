"""Copies on tape: made, read back, brought back, and the disk copies that are released for them."""
