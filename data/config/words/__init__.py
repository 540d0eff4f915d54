"""Sections for models that answer in words: what is sent to them, and what their answers hold."""
