"""Faults of a recipe in messages: the field, its value, and the values that are allowed."""
