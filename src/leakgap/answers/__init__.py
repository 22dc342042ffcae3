"""What models said: the Parquet files of a grid, files that users have, and both joined by record."""
