"""The conditions database: reading global tags from where they are kept, comparing and checking them."""
