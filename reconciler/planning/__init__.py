"""The computation of a plan from what is declared and what is observed."""
