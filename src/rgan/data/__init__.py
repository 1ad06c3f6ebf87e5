"""Sources, files, tables, windows and splits: everything that becomes ``Sequences``."""
