"""What stages of schemes hand over to calibration, computed from what is declared and made."""
