"""Formats of an export, one a file: the files of a row's images, and their texts."""
