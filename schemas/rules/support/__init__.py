"""Calculations for the rules; there are no checks here."""
