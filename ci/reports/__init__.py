"""Reports for people and programs: plans, comparisons, tables, progress."""
