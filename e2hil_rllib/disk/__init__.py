"""Files on disk: written whole or not at all, sealed, locked; columns of Parquet."""
