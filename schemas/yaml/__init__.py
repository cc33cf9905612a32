"""A strict YAML reader: syntax, values with their places, documents."""
