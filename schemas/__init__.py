"""What manifests may say: the JSON Schemas, and the readers that turn files into checked, frozen values."""
