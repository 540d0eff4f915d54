"""Formats of an export, one a file: where the images of a row lie, and what is said of them."""
