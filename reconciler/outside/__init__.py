"""The only way out: requests to services over HTTP."""
