"""One file per measure of generated images: a column of the dataset; the contract is in ../measure_registry.py."""
