"""Retention: what of each dataset is to lie on disk and on tape, and which versions go."""
