"""Checking values against JSON Schemas: what does not fit becomes findings."""
