"""What `fastest` found, kept in a folder, and loaded from it in another process without a compiler."""
