"""YAML read strictly: syntax, values with their places, documents."""
