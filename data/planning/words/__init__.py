"""Columns that language models write: a record's words are settled before its rows are made."""
