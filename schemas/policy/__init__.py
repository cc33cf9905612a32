"""The policy: roles, keys, statements and sites, by which a reconciler judges."""
