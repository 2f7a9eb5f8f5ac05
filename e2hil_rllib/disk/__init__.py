"""Files that are whole or absent, sealed, locked, or columns of Parquet."""
