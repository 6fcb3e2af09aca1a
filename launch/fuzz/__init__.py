"""Damaged and odd inputs for everything that reads a file or a value."""
