"""What is a product; readers of JSON, JSONL, CSV and Parquet."""
