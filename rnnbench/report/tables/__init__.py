"""One module for each table. Each gives a `Table`, whatever shows it later."""
