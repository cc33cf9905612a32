"""The conditions database as values: intervals of validity, snapshots of global tags, local databases."""
