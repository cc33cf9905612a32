"""Compares a dataset with another one by declared criteria. What is measured, by which test: docs/validation.md."""
