"""The policy by which a reconciler judges: roles, keys, statements and sites."""
