"""A trained generator as one file that samples without this package."""
