"""YAML documents whose every value knows its file, line and key path, so that errors can point at them."""
