"""One module for each table. Each returns a `Table`, which any format can show."""
