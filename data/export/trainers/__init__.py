"""Configuration files of trainers, and the commands that start them, beside an export that they read."""
