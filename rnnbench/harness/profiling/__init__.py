"""Take a call apart: where its time goes, what of its work is needless, and what it would take in other libraries."""
