"""Verbs of calibration's loop: what is handed over, and what comes back."""
